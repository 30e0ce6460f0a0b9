"""Escaping, phases and the clock of the access log."""

import time

import pytest

from pyrox.exchange import Exchange
from pyrox.http.message import Request
from pyrox.log_values import MARK_SPECIAL, Clock, asked, client_address, escape, phases, request_id


def make_exchange(**marks):
    exchange = Exchange("192.0.2.1", started=1.0)
    for name, value in marks.items():
        setattr(exchange, name, value)
    return exchange


@pytest.fixture
def zone(monkeypatch):
    """Call with a TZ rule to make it the local time zone of the test."""

    def use(rule):
        monkeypatch.setenv("TZ", rule)
        time.tzset()

    yield use
    monkeypatch.undo()
    time.tzset()


# --- escaping ---


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain/text?a=b c", "plain/text?a=b c"),
        ('a"b', r"a\x22b"),
        ("a\\b", r"a\x5Cb"),
        ("a\r\nb", r"a\x0D\x0Ab"),
        ("\x00\x1b[31m\x7f", r"\x00\x1B[31m\x7F"),
        ("caf\xe9\xff", r"caf\xE9\xFF"),
        ("5\u20ac", r"5\xE2\x82\xAC"),
        ("\ud800", r"\xED\xA0\x80"),
        ("", ""),
    ],
)
def test_escape_writes_special_bytes_as_nginx_does(text, escaped):
    assert escape(text) == escaped


def test_the_quick_look_finds_exactly_the_bytes_that_escape_changes():
    for code in range(256):
        raw = bytes([code])
        is_marked = raw.translate(MARK_SPECIAL) != raw
        assert is_marked == (escape(chr(code)) != chr(code)), code


# --- parts of an exchange ---


def test_what_was_asked_stays_what_the_client_sent_when_a_middleware_rewrites_it():
    request = Request("GET", "/old")
    exchange = make_exchange(request=request, raw_request_line=b"GET /old HTTP/1.1")
    request.method, request.target = "POST", "/new"
    assert asked(exchange) == ("GET", "/old", "HTTP/1.1")


def test_what_was_asked_comes_from_the_request_when_no_line_was_kept():
    assert asked(make_exchange(request=Request("GET", "/a?b"))) == ("GET", "/a?b", "HTTP/1.1")


def test_client_address_is_the_peers_without_a_request():
    assert client_address(make_exchange()) == "192.0.2.1"
    assert client_address(make_exchange(request=Request("GET", "/"))) == "192.0.2.1"


def test_reading_the_request_id_makes_no_state_dict():
    request = Request("GET", "/")
    assert request_id(make_exchange(request=request)) is None
    assert request._state is None
    request.state["request_id"] = "abc-1"
    assert request_id(make_exchange(request=request)) == "abc-1"


# --- phases ---

ALL_MARKS = {
    "head_received": 1.5,
    "connect_started": 1.75,
    "connect_done": 2.0,
    "first_byte": 4.0,
    "finished": 4.25,
}


def test_phases_of_an_exchange_with_the_upstream():
    assert phases(make_exchange(**ALL_MARKS)) == [0.5, 0.25, 0.25, 2.0, 0.25]


def test_phases_that_never_began_are_none_and_the_last_one_takes_the_rest():
    assert phases(make_exchange(head_received=1.5, finished=2.0)) == [0.5, 0.5, None, None, None]
    assert phases(make_exchange(finished=2.0)) == [1.0, None, None, None, None]


def test_a_connect_that_timed_out_shows_its_time_as_connect():
    exchange = make_exchange(head_received=1.5, connect_started=1.5, finished=6.5)
    assert phases(exchange) == [0.5, 0.0, 5.0, None, None]


def test_marks_left_behind_by_an_earlier_try_do_not_make_times_negative():
    times = phases(make_exchange(**{**ALL_MARKS, "connect_started": 3.0}))
    assert min(time for time in times if time is not None) >= 0
    assert sum(time for time in times if time is not None) == 4.25 - 1.0


# --- the clock ---


@pytest.mark.parametrize(
    ("rule", "local", "iso"),
    [
        ("UTC0", "10/Oct/2000:20:55:36 +0000", "2000-10-10T20:55:36+00:00"),
        ("PDT7", "10/Oct/2000:13:55:36 -0700", "2000-10-10T13:55:36-07:00"),
        ("NPT-5:45", "11/Oct/2000:02:40:36 +0545", "2000-10-11T02:40:36+05:45"),
        ("NST3:30", "10/Oct/2000:17:25:36 -0330", "2000-10-10T17:25:36-03:30"),
    ],
)
def test_clock_writes_local_time_with_its_offset(zone, rule, local, iso):
    zone(rule)
    clock = Clock(lambda: 971211336.5)
    assert (clock.local(), clock.iso()) == (local, iso)


def test_clock_writes_utc_with_milliseconds_cut_not_rounded():
    clock = Clock(lambda: 971211336.99999)
    assert clock.utc() == "2000-10-10T20:55:36.999Z"
    assert clock.msec() == "971211337.000"


def test_clock_is_exact_across_the_second_in_both_directions(zone):
    zone("UTC0")
    now = [971211336.75]
    clock = Clock(lambda: now[0])
    seen = []
    for now[0] in (971211336.75, 971211337.0, 971211337.5, 971211336.0, 971211396.0):
        seen.append((clock.local()[18:20], clock.utc()[17:23]))
    assert seen == [("36", "36.750"), ("37", "37.000"), ("37", "37.500"), ("36", "36.000"), ("36", "36.000")]


def test_clock_follows_the_change_to_winter_time(zone):
    zone("CET-1CEST,M3.5.0,M10.5.0/3")
    now = [1729990799.0]  # the last second of summer time 2024
    clock = Clock(lambda: now[0])
    assert clock.local() == "27/Oct/2024:02:59:59 +0200"
    now[0] += 1
    assert clock.local() == "27/Oct/2024:02:00:00 +0100"


def test_clock_makes_its_texts_once_a_second(monkeypatch):
    made = []
    real = time.localtime
    monkeypatch.setattr(time, "localtime", lambda second: made.append(second) or real(second))
    clock = Clock(lambda: 971211336.5)
    assert len({clock.local() for _ in range(5)}) == len(made) == 1
