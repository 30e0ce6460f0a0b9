"""The lines of the access log: combined, json, and formats of fields."""

import ipaddress
import json
import re
from pathlib import Path

import pytest

from pyrox.exchange import Exchange
from pyrox.http.forwarding import ClientSide
from pyrox.http.message import Request
from pyrox.log_format import _known_fields, compile_format, validate_format
from pyrox.log_values import Clock
from pyrox.middleware.identity import Identity

NOW = 971211336.125
COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" '
    '$status $body_bytes_sent "$http_referer" "$http_user_agent"'
)


def clock():
    return Clock(lambda: NOW)


def line_of(format, exchange, server_name="pyrox"):
    return compile_format(format, server_name, clock())(exchange).decode("ascii")


def json_of(exchange):
    line = line_of("json", exchange)
    assert line.count("\n") == 1 and line.endswith("\n")
    return json.loads(line)


def make_exchange(headers=(), line=b"GET /a?b=c HTTP/1.1", peer="192.0.2.1", client=None):
    exchange = Exchange(peer, started=1.0)
    exchange.raw_request_line = line
    target = line.decode().split(" ")[1]
    exchange.request = Request("GET", target, headers, client=client or ClientSide(peer))
    exchange.status, exchange.bytes_sent, exchange.head_bytes_sent = 200, 254, 154
    exchange.finished = 1.5
    return exchange


def unparsed(line):
    exchange = Exchange("192.0.2.1", started=1.0)
    exchange.raw_request_line, exchange.status, exchange.finished = line, 400, 1.25
    return exchange


def without_time(line):
    return re.sub(r"\[[^]]*\]", "[]", line)


BROWSER = [("Host", "example.com"), ("User-Agent", "curl/8.5"), ("Referer", "http://r.example/")]

# --- combined; the right sides were written by nginx 1.22 for the same bytes ---


def test_combined_line_of_a_usual_exchange():
    line = line_of("combined", make_exchange(BROWSER))
    assert re.fullmatch(r'192\.0\.2\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}(:\d\d){3} [+-]\d{4}\] ".*\n', line)
    assert without_time(line) == (
        '192.0.2.1 - - [] "GET /a?b=c HTTP/1.1" 200 100 "http://r.example/" "curl/8.5"\n'
    )


def test_combined_tells_an_absent_field_from_an_empty_one():
    assert line_of("combined", make_exchange()).endswith('"-" "-"\n')
    assert line_of("combined", make_exchange([("Referer", "")])).endswith('"" "-"\n')


AGENTS = [("User-Agent", "first"), ("User-Agent", "second")]
REFERERS = [("Referer", "1"), ("Referer", "2")]


@pytest.mark.parametrize("headers", [AGENTS + REFERERS, REFERERS + AGENTS])
def test_combined_keeps_the_first_of_several_lines(headers):
    assert line_of("combined", make_exchange(headers)).endswith('"1" "first"\n')


def test_combined_time_goes_on():
    now = [NOW]
    render = compile_format("combined", "pyrox", Clock(lambda: now[0]))
    seconds = []
    for now[0] in (NOW, NOW + 0.5, NOW + 1, NOW + 60, NOW - 1):
        seconds.append(re.search(rb":\d\d:(\d\d:\d\d) ", render(make_exchange()))[1])
    assert seconds == [b"55:36", b"55:36", b"55:37", b"56:36", b"55:35"]


def test_combined_escapes_what_the_client_sent():
    exchange = make_exchange(
        [("User-Agent", 'a"b\\c\td\xe9\xff'), ("Referer", "")], line=b'GET /"q\\uot HTTP/1.1'
    )
    assert without_time(line_of("combined", exchange)) == (
        r'192.0.2.1 - - [] "GET /\x22q\x5Cuot HTTP/1.1" 200 100 "" "a\x22b\x5Cc\x09d\xE9\xFF"' + "\n"
    )


def test_combined_line_of_an_unparsable_request():
    line = line_of("combined", unparsed(b'\x16\x03\x01\x00\xa5junk"\\'))
    assert without_time(line) == r'192.0.2.1 - - [] "\x16\x03\x01\x00\xA5junk\x22\x5C" 400 0 "-" "-"' + "\n"


def test_combined_line_when_nothing_was_asked():
    assert without_time(line_of("combined", unparsed(b""))) == '192.0.2.1 - - [] "-" 400 0 "-" "-"\n'


def test_combined_shows_the_real_client_behind_a_trusted_proxy():
    side = ClientSide("192.0.2.1", trusted_proxies=(ipaddress.ip_network("192.0.2.0/24"),))
    headers = [("X-Forwarded-For", "203.0.113.9, 192.0.2.1")]
    assert line_of("combined", make_exchange(headers, client=side)).startswith("203.0.113.9 - - [")
    assert line_of("combined", make_exchange(headers)).startswith("192.0.2.1 - - [")


@pytest.mark.parametrize("evil", [BROWSER, [("User-Agent", 'x" 200 0 "-" "\\')], []])
def test_combined_is_the_format_string_of_the_same_fields(evil):
    exchange = make_exchange(evil)
    assert line_of("combined", exchange) == line_of(COMBINED, exchange)
    assert line_of("combined", unparsed(b'\xff"')) == line_of(COMBINED, unparsed(b'\xff"'))


# --- forging ---

FORGERIES = [
    b'x\n192.0.2.66 - - [01/Jan/2030:00:00:00 +0000] "GET /admin HTTP/1.1" 200 0 "-" "-"',
    b"x\r\x1b[2K\x1b[31mgone",
    b'","status":200,"x":"',
    b"a\x00b\xc2\x85\xe2\x80\xa8\x0b\x0c\x1c\x1d\x7f",
    b"%s %d %(x)s {0} $status",
]


@pytest.mark.parametrize("format", ["combined", "json", COMBINED, "$host $request_id $upstream_addr $route"])
@pytest.mark.parametrize("evil", FORGERIES)
def test_no_value_can_end_a_line_or_leave_its_quotes(format, evil):
    exchange = make_exchange()
    fields = [(name, name, evil) for name in (b"host", b"user-agent", b"referer")]
    exchange.request.headers.fields.extend(fields)
    text = evil.decode("latin-1")
    exchange.request.state["request_id"] = exchange.server = exchange.error = exchange.answered_by = text
    exchange.route = text
    for one in (exchange, unparsed(evil)):
        line = line_of(format, one)
        assert line.isascii() and line[:-1].isprintable() and line.endswith("\n")
        if format != "json":
            assert line.count('"') == format.replace("combined", COMBINED).count('"')
    if format == "json":
        record = json_of(exchange)
        assert (record["user_agent"], record["request_id"]) == (text, text)
        assert json_of(unparsed(evil))["unparsed"] == text


# --- json ---

JSON_KEYS = [
    *("time", "client", "peer", "method", "target", "version", "host", "referer", "user_agent", "request_id"),
    *(
        "unparsed",
        "status",
        "answered_by",
        "user",
        "observed",
        "error",
        "route",
        "upstream",
        "retries",
        "bytes_in",
        "bytes_out",
    ),
    *("duration", "head_time", "middleware_time", "connect_time", "upstream_time", "send_time"),
]


def test_json_line_of_an_exchange_with_the_upstream():
    exchange = make_exchange(BROWSER)
    exchange.head_received, exchange.connect_started, exchange.connect_done = 1.000125, 1.25, 1.375
    exchange.first_byte, exchange.finished = 1.4375, 1.5
    exchange.answered_by, exchange.server, exchange.retries = "upstream", "http://10.0.0.1:8000", 1
    exchange.bytes_received = 78
    exchange.request.state["request_id"] = "id-1"
    assert json_of(exchange) == {
        "time": "2000-10-10T20:55:36.125Z",
        "client": "192.0.2.1",
        "peer": "192.0.2.1",
        "method": "GET",
        "target": "/a?b=c",
        "version": "1.1",
        "host": "example.com",
        "referer": "http://r.example/",
        "user_agent": "curl/8.5",
        "request_id": "id-1",
        "unparsed": None,
        "status": 200,
        "answered_by": "upstream",
        "user": None,
        "observed": None,
        "error": None,
        "route": None,
        "upstream": "http://10.0.0.1:8000",
        "retries": 1,
        "bytes_in": 78,
        "bytes_out": 254,
        "duration": 0.5,
        "head_time": 0.000125,
        "middleware_time": 0.249875,
        "connect_time": 0.125,
        "upstream_time": 0.0625,
        "send_time": 0.0625,
    }


def test_json_keys_are_the_same_whatever_happened():
    assert list(json_of(make_exchange(BROWSER))) == JSON_KEYS
    assert list(json_of(unparsed(b"junk"))) == JSON_KEYS


def test_json_has_null_for_what_did_not_happen():
    record = json_of(unparsed(b"junk"))
    assert record["unparsed"] == "junk"
    assert (record["duration"], record["head_time"]) == (0.25, 0.25)
    happened = {"time", "client", "peer", "unparsed", "status", "retries", "bytes_in", "bytes_out"}
    others = set(JSON_KEYS) - happened - {"duration", "head_time"}
    assert all(record[key] is None for key in others)


def test_json_line_of_a_local_answer_names_who_answered():
    exchange = make_exchange()
    exchange.head_received, exchange.answered_by = 1.25, "access_control"
    record = json_of(exchange)
    assert (record["answered_by"], record["upstream"], record["upstream_time"]) == (
        "access_control",
        None,
        None,
    )
    assert record["middleware_time"] == 0.25


@pytest.mark.parametrize(
    ("name", "in_combined", "in_text"),
    [
        ("ada", "ada", "ada"),
        ("Ada Lovelace", "Ada\\x20Lovelace", "Ada Lovelace"),
        ('a"\r\n', "a\\x22\\x0D\\x0A", "a\\x22\\x0D\\x0A"),
        ("\u5bb6", "\\xE5\\xAE\\xB6", "\\xE5\\xAE\\xB6"),
    ],
)
def test_user_is_who_authentication_has_found_out(name, in_combined, in_text):
    exchange = make_exchange()
    exchange.request.state["identity"] = Identity(name, "test")
    assert line_of("combined", exchange).startswith(f"192.0.2.1 - {in_combined} [")
    assert line_of("$remote_user", exchange) == f"{in_text}\n"
    assert json_of(exchange)["user"] == name


@pytest.mark.parametrize("identity", [None, "ada", Identity("", "test")])
def test_nobody_is_a_dash(identity):
    exchange = make_exchange()
    exchange.request.state["identity"] = identity
    assert line_of("combined", exchange).startswith("192.0.2.1 - - [")
    assert line_of("$remote_user", exchange) == "-\n"
    assert json_of(exchange)["user"] is None


def test_verdicts_of_middleware_on_trial_are_shown():
    exchange = make_exchange()
    exchange.request.state["observed"] = ["limit=429", 'odd"name=403']
    assert json_of(exchange)["observed"] == 'limit=429, odd"name=403'
    assert line_of("$observed", exchange) == "limit=429, odd\\x22name=403\n"
    exchange.request.state["observed"] = "a middleware's own"
    assert json_of(exchange)["observed"] is None


def test_the_route_that_was_taken_is_named():
    exchange = make_exchange()
    assert (json_of(exchange)["route"], line_of("$route", exchange)) == (None, "-\n")
    exchange.route = 'odd"name'
    assert (json_of(exchange)["route"], line_of("$route", exchange)) == ('odd"name', "odd\\x22name\n")


# --- formats of fields ---


def test_every_field_has_a_value_whatever_happened():
    names = list(_known_fields(clock(), "pyrox"))
    format = " ".join(f"{name}=${name}" for name in names)
    for exchange in (make_exchange(BROWSER), unparsed(b"junk"), unparsed(b"")):
        line = line_of(format, exchange)
        assert re.fullmatch(" ".join(f"{name}=.+" for name in names) + "\n", line)


def test_fields_of_timings_and_counts():
    exchange = make_exchange(BROWSER)
    exchange.head_received, exchange.bytes_received, exchange.retries = 1.25, 99, 2
    format = "$request_time $head_time $connect_time $request_length $bytes_sent $body_bytes_sent $retries"
    assert line_of(format, exchange) == "0.500000 0.250000 - 99 254 100 2\n"


def test_any_request_header_is_a_field():
    exchange = make_exchange([("X-Api-Key", "k1"), ("Accept", "*/*")])
    assert line_of("$http_x_api_key $http_accept $http_nothing", exchange) == "k1 */* -\n"


def test_literal_text_stays_as_it_is():
    exchange = make_exchange()
    assert line_of('100% %s $$5 "$status" \\ {x}', exchange) == '100% %s $5 "200" \\ {x}\n'
    render = compile_format("\u2192$status", "pyrox", clock())
    assert render(exchange) == "\u2192200\n".encode()


def test_server_name_is_the_logs_own():
    assert line_of("$server_name", make_exchange(), server_name="edge-1") == "edge-1\n"


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("$staus", r"\$staus; did you mean \$status\?"),
        ("$remote_adr - $status", r"\$remote_adr; did you mean \$remote_addr\?"),
        ("$qqqqq", r"there is no field \$qqqqq; docs"),
        ("$status $", r"the \$ at position 8"),
        ("$status$-x", r"the \$ at position 7"),
        ("combind", r"'combind' .*did you mean combined\?"),
        ("JSON", r"did you mean json\?"),
        ("", "has no \\$name field"),
        ("$status\n$status", "line break"),
    ],
)
def test_a_format_that_cannot_work_is_refused_with_the_fix(format, message):
    with pytest.raises(ValueError, match=message):
        validate_format(format)


@pytest.mark.parametrize("format", ["combined", "json", COMBINED, "$http_x $$ $pid"])
def test_a_good_format_is_valid(format):
    validate_format(format)


def test_the_manual_lists_every_field_and_every_key():
    manual = (Path(__file__).parents[2] / "docs" / "access_log.md").read_text()
    fields = set(re.findall(r"^\| `\$([a-z0-9_]+)` \|", manual, re.MULTILINE))
    assert fields == set(_known_fields(clock(), "pyrox"))
    assert re.findall(r"^\| `([a-z_]+)` \|", manual, re.MULTILINE) == JSON_KEYS
