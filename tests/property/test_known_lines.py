"""What is known of single lines must say of a head what llhttp and a parse from scratch say of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import ProxyError
from pyrox.http.field_lines import LineTable
from pyrox.http.head import HeadLimits, parse_request_head, parse_response_head
from pyrox.http.head_cache import HeadCache
from pyrox.http.llhttp import (
    FRAMING_FIELDS,
    accepts_request_field,
    accepts_response_field,
    fault_of_request,
    fault_of_response,
)
from pyrox.http.message import Request, Response

# What means something to a proxy or to llhttp, in forms that it accepts and in such that it does not.
TOLD = [
    b"Host: a",
    b"host:b",
    b"Connection: keep-alive",
    b"Connection: close, X-A",
    b"connection:\tUpgrade ",
    b"Proxy-Connection: close",
    b"Keep-Alive: timeout=5",
    b"Upgrade: websocket",
    b"Upgrade: h2c, x",
    b"TE: trailers",
    b"Trailer: X-End",
    b"Expect: 100-continue",
    b"Content-Length: 4",
    b"Content-Length: 5",
    b"content-length:4 ",
    b"Content-Length: 4, 4",
    b"Content-Length: +4",
    b"Content-Length:",
    b"Content-Length: 99999999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding:  Chunked ",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding:",
    b"Transfer_Encoding: chunked",
    b"X-Forwarded-For: 1.2.3.4",
    b"X_Forwarded_For: 1.2.3.4",
    b"X-A: 1",
    b"X-A:",
    b"X-A: \t 1 \t",
    b"X-A: \xe4\xff",
    b"X-A : 1",
    b" X-A: 1",
    b"\tX-A: 1",
    b"X-A",
    b":",
    b": 1",
    b"X-A: \x00",
    b"X-A: \x7f",
    b"X-A: a\rb",
    b"X-A: a\nb",
    b"\r",
    b"",
]
NAMES = st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Cookie"])
VALUES = st.one_of(
    st.binary(max_size=8),
    st.lists(st.sampled_from([b"chunked", b"close", b"upgrade", b"4", b",", b" ", b"\t"]), max_size=5).map(
        b"".join
    ),
)
lines = st.one_of(
    st.sampled_from(TOLD),
    st.builds(lambda name, value: name + b":" + value, NAMES, VALUES),
    st.binary(max_size=8),
).filter(lambda line: b"\r\n" not in line)
REQUEST_LINES = st.sampled_from(
    [b"%b /a HTTP/1.1" % method for method in (b"GET", b"POST", b"HEAD", b"DELETE")]
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 %b" % rest for rest in (b"200 OK", b"100 Continue", b"101 Up", b"204", b"304 ", b"503 \xff")]
)


def frames(line: bytes) -> bool:
    return line.partition(b":")[0].lower() in FRAMING_FIELDS


def is_accepted_by_lines(fields: list[bytes], is_response: bool = False) -> bool:
    accepts = accepts_response_field if is_response else accepts_request_field
    return all(map(accepts, fields)) and sum(map(frames, fields)) < 2


def head(start: bytes, fields: list[bytes]) -> bytes:
    return b"\r\n".join([start, *fields, b"", b""])


@given(REQUEST_LINES, st.lists(lines, max_size=6))
def test_request_whose_lines_llhttp_accepts_is_one_that_it_accepts(start: bytes, fields: list[bytes]) -> None:
    if is_accepted_by_lines(fields):
        assert fault_of_request(head(start, fields)) is None


@given(STATUS_LINES, st.lists(lines, max_size=6))
def test_response_whose_lines_llhttp_accepts_is_one_that_it_accepts(
    start: bytes, fields: list[bytes]
) -> None:
    # A 101 that switches to nothing is refused, so its status line never becomes known.
    if fault_of_response(head(start, [])) is None and is_accepted_by_lines(fields, is_response=True):
        assert fault_of_response(head(start, fields)) is None


@pytest.mark.parametrize("first", TOLD)
def test_every_pair_of_lines_is_judged_as_its_lines_are(first: bytes) -> None:
    for second in TOLD:
        if is_accepted_by_lines([first, second]):
            assert fault_of_request(head(b"GET / HTTP/1.1", [first, second])) is None
        if is_accepted_by_lines([first, second], is_response=True):
            for status in (b"200 OK", b"100 Continue", b"204", b"304 "):
                assert fault_of_response(head(b"HTTP/1.1 " + status, [first, second])) is None


@pytest.mark.parametrize("accepts", [accepts_request_field, accepts_response_field])
@pytest.mark.parametrize(
    "line", [b"", b" A: 1", b"\tA: 1", b"A", b":", b"A : 1", b"A: 1\r", b"A: 1\n", b"A: 1\x00"]
)
def test_what_is_no_field_line_is_not_accepted_alone(accepts: object, line: bytes) -> None:
    assert callable(accepts)
    assert not accepts(line)


def outcome(parse: object, raw: bytes, *rest: object) -> object:
    """Everything the message says of itself, or with what it is refused."""
    assert callable(parse)
    try:
        message = parse(raw, *rest)
    except ProxyError as error:
        return type(error), error.status
    assert isinstance(message, Request | Response)
    names = {name for kind in type(message).__mro__ for name in getattr(kind, "__slots__", ())}
    facts = {name: getattr(message, name) for name in names - {"_known"}}
    return {**facts, "headers": message.headers.fields}


def learn(table: LineTable, fields: list[bytes]) -> None:
    for _ in range(2):
        for line in fields:
            table.take_apart(line + b"\r\n\r\n", 100)


@given(
    st.one_of(
        REQUEST_LINES, st.sampled_from([b"GET / HTTP/1.0", b"PURGE / HTTP/1.1", b"CONNECT a:1 HTTP/1.1"])
    ),
    st.lists(lines, max_size=5),
    st.sampled_from([b"Host: a", b"X-A: 1"]),
    st.sampled_from(["drop", "allow", "reject"]),
)
def test_request_of_known_lines_is_what_a_new_one_is(
    start: bytes, fields: list[bytes], first: bytes, underscores: str
) -> None:
    fields = [first, *fields]
    raw = head(start, fields)
    expected = outcome(parse_request_head, raw, HeadLimits(underscore_headers=underscores))
    limits = HeadLimits(underscore_headers=underscores)
    cache = HeadCache(limits)
    learn(limits.request_fields, fields)
    assert [outcome(cache.request, raw) for _ in range(3)] == [expected] * 3
    learn(limits.request_fields, fields[::2])
    assert outcome(parse_request_head, raw, limits) == expected


@given(
    st.one_of(STATUS_LINES, st.just(b"HTTP/1.0 200 OK")),
    st.lists(lines, max_size=5),
    st.sampled_from(["GET", "HEAD"]),
)
def test_response_of_known_lines_is_what_a_new_one_is(start: bytes, fields: list[bytes], method: str) -> None:
    raw = head(start, fields)
    expected = outcome(parse_response_head, raw, method, HeadLimits())
    limits = HeadLimits()
    cache = HeadCache(limits)
    for _ in range(2):
        outcome(cache.response, start + b"\r\n\r\n", "HEAD")  # the status line becomes known
    learn(limits.response_fields, fields)
    assert [outcome(cache.response, raw, method) for _ in range(3)] == [expected] * 3
    assert outcome(parse_response_head, raw, method, limits) == expected
