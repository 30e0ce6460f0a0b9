"""A head that was seen before gives the same message, and one that nobody else can change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyrox.errors import ClientError
from pyrox.http.body import Message
from pyrox.http.head import (
    HeadLimits,
    encode_request_head,
    encode_response_head,
    parse_request_head,
    parse_request_line,
    parse_response_head,
)
from pyrox.http.head_cache import _PLAIN_METHODS, HeadCache
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response

REQUESTS = [
    b"GET /a?b HTTP/1.1\r\nHost: a\r\nCookie: c=1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive, X-Gone\r\nX-Gone: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
    b"HTTP/1.0 404 What\r\nConnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
]


def make_known(parse: Callable[..., Message], raw: bytes, *rest: str) -> None:
    """A head is kept when it comes a second time."""
    for _ in range(2):
        parse(raw, *rest)


def state_of(message: Message) -> dict[str, object]:
    slots = {name for kind in type(message).__mro__ for name in getattr(kind, "__slots__", ())}
    return {name: getattr(message, name) for name in slots - {"_known"}}


@pytest.mark.parametrize("raw", REQUESTS)
def test_request_is_the_same_each_time(raw: bytes) -> None:
    cache = HeadCache(HeadLimits())
    expected = state_of(parse_request_head(raw, cache.limits))
    for _ in range(4):
        assert state_of(cache.request(raw)) == expected


@pytest.mark.parametrize("raw", RESPONSES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_response_is_the_same_each_time(raw: bytes, method: str) -> None:
    cache = HeadCache(HeadLimits())
    expected = state_of(parse_response_head(raw, method, cache.limits))
    for _ in range(4):
        assert state_of(cache.response(raw, method)) == expected


def test_response_to_head_is_not_taken_for_one_to_get() -> None:
    cache = HeadCache(HeadLimits())
    make_known(cache.response, RESPONSES[0], "GET")
    assert cache.response(RESPONSES[0], "GET").body_length == 3
    assert cache.response(RESPONSES[0], "HEAD").body_length == 0
    assert cache.response(RESPONSES[0], "GET").body_length == 3


def test_known_fields_come_with_another_request_line() -> None:
    cache = HeadCache(HeadLimits())
    fields = b"Host: a\r\nX-Test: 1\r\n\r\n"
    make_known(cache.request, b"GET / HTTP/1.1\r\n" + fields)
    request = cache.request(b"DELETE /other?x HTTP/1.1\r\n" + fields)
    assert (request.method, request.target, request.headers["x-test"]) == ("DELETE", "/other?x", "1")


@pytest.mark.parametrize(
    "line, status",
    [
        (b"GET / HTTP/2.0", 505),
        (b"GOT / HTTP/1.1", 501),
        (b"GET  / HTTP/1.1", 400),
        (b"CONNECT a:1 HTTP/1.1", 405),
    ],
)
def test_known_fields_do_not_excuse_a_bad_request_line(line: bytes, status: int) -> None:
    cache = HeadCache(HeadLimits())
    fields = b"\r\nHost: a\r\n\r\n"
    make_known(cache.request, b"GET / HTTP/1.1" + fields)
    with pytest.raises(ClientError) as refused:
        cache.request(line + fields)
    assert refused.value.status == status


def test_every_byte_in_a_target_is_judged_alike_when_the_fields_are_known() -> None:
    """Fields and request line are judged apart then, so the parsers may not disagree on any line."""
    cache = HeadCache(HeadLimits())
    fields = b" HTTP/1.1\r\nHost: a\r\n\r\n"
    make_known(cache.request, b"GET /" + fields)

    def verdict(parse: Callable[[bytes], Request], raw: bytes) -> str | int:
        try:
            return parse(raw).target
        except ClientError as error:
            return error.status

    for prefix in (b"/", b"//", b"/?", b"/a/"):
        for byte in range(256):
            raw = b"GET " + prefix + bytes((byte,)) + fields
            expected = verdict(lambda raw: parse_request_head(raw, cache.limits), raw)
            assert [verdict(cache.request, raw) for _ in range(3)] == [expected] * 3, raw


def test_version_decides_whether_fields_are_valid_also_when_known() -> None:
    cache = HeadCache(HeadLimits())
    fields = b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    make_known(cache.request, b"POST / HTTP/1.1\r\n" + fields)
    with pytest.raises(ClientError):
        cache.request(b"POST / HTTP/1.0\r\n" + fields)


def test_change_of_a_message_does_not_reach_the_next_one() -> None:
    cache = HeadCache(HeadLimits())

    def request() -> Request:
        return cache.request(REQUESTS[0])

    def response() -> Response:
        return cache.response(RESPONSES[0], "GET")

    for make in (request, response):
        for _ in range(4):
            first = make()
            first.headers["X-Mine"] = "1"
            first.headers.fields.clear()
            assert "x-mine" not in make().headers
            assert len(make().headers) >= 2


def test_cache_is_bounded() -> None:
    cache = HeadCache(HeadLimits())
    for number in range(1000):
        make_known(cache.request, b"GET /%d HTTP/1.1\r\nHost: a\r\nX-N: %d\r\n\r\n" % (number, number))
        ok = b"HTTP/1.1 200 OK%d\r\nX-N: %d\r\nContent-Length: 0\r\n\r\n" % (number, number)
        make_known(cache.response, ok, "GET")
    limits = cache.limits
    heads = cache._lines, cache._requests["1.1"], cache._responses
    assert [len(kept) for kept in heads] == [256] * 3
    assert [len(table._rows) for table in (limits.request_fields, limits.response_fields)] == [512] * 2
    assert len(limits.status_lines) == 64


def test_head_that_comes_once_leaves_nothing() -> None:
    cache = HeadCache(HeadLimits())
    for number in range(100):
        cache.request(b"GET /%d HTTP/1.1\r\nHost: a\r\nX-N: %d\r\n\r\n" % (number, number))
        cache.response(b"HTTP/1.1 200 OK\r\nX-N: %d\r\nContent-Length: 0\r\n\r\n" % number, "GET")
    assert not cache._lines
    assert not cache._requests["1.1"]
    assert not cache._responses
    assert set(cache.limits.request_fields._rows) == {b"Host: a"}
    assert set(cache.limits.response_fields._rows) == {b"Content-Length: 0"}


def test_long_heads_are_not_kept() -> None:
    cache = HeadCache(HeadLimits())
    make_known(cache.request, b"GET / HTTP/1.1\r\nHost: a\r\nX-N: %b\r\n\r\n" % (b"x" * 4000))
    assert not cache._requests["1.1"]
    assert set(cache.limits.request_fields._rows) == {b"Host: a"}


def test_line_and_fields_that_are_known_apart_still_make_too_large_a_head() -> None:
    cache = HeadCache(HeadLimits(head_size=100))
    long_line, short_line = b"GET /%b HTTP/1.1\r\n" % (b"x" * 50), b"GET / HTTP/1.1\r\n"
    short, long = b"Host: a\r\n\r\n", b"Host: a\r\nX-A: %b\r\n\r\n" % (b"x" * 50)
    make_known(cache.request, long_line + short)
    make_known(cache.request, short_line + long)
    with pytest.raises(ClientError) as refused:
        cache.request(long_line + long)
    assert refused.value.status == 431


@pytest.mark.parametrize("method", sorted(_PLAIN_METHODS))
def test_llhttp_accepts_every_line_that_is_taken_without_asking_it(method: bytes) -> None:
    """With known fields the request line is judged by the pattern alone: it must not be the laxer one."""
    for code in range(256):
        raw = b"%b /%c?%c HTTP/1.1\r\nHost: a\r\n\r\n" % (method, code, code)
        try:
            parse_request_line(raw, HeadLimits())
        except ClientError:
            continue
        parse_request_head(raw, HeadLimits())


def test_what_is_sent_on_is_the_same_whether_the_head_is_known_or_not() -> None:
    def edits() -> list[Callable[[Headers], object]]:
        return [
            lambda headers: None,
            lambda headers: headers.add("X-New", "1"),
            lambda headers: headers.__setitem__("Host", "b"),
            lambda headers: headers.discard("Set-Cookie"),
            lambda headers: headers.clear(),
            lambda headers: headers.fields.reverse(),
            lambda headers: headers.fields.insert(0, (b"x-first", b"X-First", b"1")),
        ]

    cache = HeadCache(HeadLimits())
    for edit in edits():
        for raw in REQUESTS:
            make_known(cache.request, raw)
            known, new = cache.request(raw), parse_request_head(raw, cache.limits)
            edit(known.headers)
            edit(new.headers)
            assert encode_request_head(known, b"") == encode_request_head(new, b"")
        for raw in RESPONSES:
            make_known(cache.response, raw, "GET")
            answer, fresh = cache.response(raw, "GET"), parse_response_head(raw, "GET", cache.limits)
            edit(answer.headers)
            edit(fresh.headers)
            assert encode_response_head(answer, b"") == encode_response_head(fresh, b"")
