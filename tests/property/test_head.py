"""Heads: only ``ProxyError`` escapes, cuts do not matter, what is sent on is beyond doubt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import ClientError, UpstreamError
from pyrox.http.framing import encode_chunk, encode_last_chunk
from pyrox.http.head import (
    encode_request_head,
    encode_response_head,
    parse_request_head,
    parse_response_head,
)
from pyrox.http.head_cache import HeadCache
from pyrox.http.headers import Headers, make_field
from pyrox.http.message import Request, Response
from tests.property import readers
from tests.property.messages import mutated, requests, responses, splits

CODED = b"Transfer-Encoding: chunked\r\n"

hostile_requests = st.one_of(requests(), mutated(requests()), st.binary(max_size=80))
hostile_responses = st.one_of(responses(), mutated(responses()), st.binary(max_size=80))


def head_of(data: bytes) -> bytes:
    """What the engine would cut off as a head: up to the first empty line, or all there is."""
    end = data.find(b"\r\n\r\n")
    return data if end < 0 else data[: end + 4]


@given(hostile_requests)
def test_request_parser_raises_nothing_but_client_error(data: bytes) -> None:
    for raw in (data, head_of(data)):
        try:
            parse_request_head(raw, readers.HEAD_LIMITS)
        except ClientError as error:
            assert error.status in (400, 405, 414, 431, 501, 505)


@given(hostile_responses, st.sampled_from(["GET", "HEAD"]))
def test_response_parser_raises_nothing_but_upstream_error(data: bytes, method: str) -> None:
    for raw in (data, head_of(data)):
        try:
            parse_response_head(raw, method, readers.HEAD_LIMITS)
        except UpstreamError as error:
            assert error.status == 502


def single_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def assert_same(cut: readers.Outcome, whole: readers.Outcome) -> None:
    """Refusals are equal whatever they say: what is wrong may be seen earlier."""
    if isinstance(whole, readers.Refused):
        assert isinstance(cut, readers.Refused)
    else:
        assert cut == whole


@given(hostile_requests, st.data())
def test_cuts_do_not_change_which_request_is_read_or_refused(data: bytes, draw: st.DataObject) -> None:
    whole = readers.read_request(data)
    assert_same(readers.read_request_in_pieces(draw.draw(splits(data))), whole)
    assert_same(readers.read_request_in_pieces(single_bytes(data)), whole)


@given(hostile_responses, st.data(), st.sampled_from(["GET", "HEAD"]))
def test_cuts_do_not_change_which_response_is_read_or_refused(
    data: bytes, draw: st.DataObject, method: str
) -> None:
    whole = readers.read_response(data, method)
    assert_same(readers.read_response_in_pieces(draw.draw(splits(data)), method), whole)
    assert_same(readers.read_response_in_pieces(single_bytes(data), method), whole)


def facts_of(message: Request | Response) -> dict[str, object]:
    """Everything a message says of itself, fields byte for byte."""
    names = {name for kind in type(message).__mro__ for name in getattr(kind, "__slots__", ())}
    facts = {name: getattr(message, name) for name in names - {"_known"}}  # an encoding kept for speed
    facts["headers"] = message.headers.fields
    return facts


@given(hostile_requests)
def test_request_known_by_its_fields_is_what_a_new_one_is(data: bytes) -> None:
    raw = head_of(data)
    cache = HeadCache(readers.HEAD_LIMITS)
    try:
        expected = facts_of(parse_request_head(raw, readers.HEAD_LIMITS))
    except ClientError:
        with pytest.raises(ClientError):
            cache.request(raw)
        return
    for _ in range(4):
        request = cache.request(raw)
        assert facts_of(request) == expected
        request.headers["X-Set"] = "by a middleware, for this request only"
        request.target = "/elsewhere"
        request.keep_alive = not request.keep_alive


@given(hostile_responses)
def test_response_known_by_its_head_is_what_a_new_one_is(data: bytes) -> None:
    raw = head_of(data)
    cache = HeadCache(readers.HEAD_LIMITS)
    for method in ("GET", "HEAD", "GET", "GET", "GET"):
        try:
            expected = facts_of(parse_response_head(raw, method, readers.HEAD_LIMITS))
        except UpstreamError:
            with pytest.raises(UpstreamError):
                cache.response(raw, method)
        else:
            response = cache.response(raw, method)
            assert facts_of(response) == expected
            response.headers["X-Set"] = "by a middleware, for this response only"
            response.status = 599


@given(hostile_requests, st.lists(st.binary(min_size=1, max_size=20), max_size=3))
def test_request_sent_on_is_one_message_to_every_reader(data: bytes, chunks: list[bytes]) -> None:
    try:
        request = parse_request_head(head_of(data), readers.HEAD_LIMITS)
    except ClientError:
        return
    # The engine always sends a Host; an HTTP/1.0 client may not have.
    request.headers.setdefault("Host", "a")
    request.headers["X-Mark"] = "1"
    body = b"".join(map(encode_chunk, chunks)) + encode_last_chunk([make_field("X-End", "1")])
    wire = encode_request_head(request, CODED) + body
    expected = readers.Message(
        request.method.encode(),
        tuple((field[0], field[2]) for field in request.headers.fields if field[0].startswith(b"x-")),
        b"".join(chunks),
        ((b"x-end", b"1"),),
        b"",
    )
    for read in (readers.read_request, readers.llhttp_request, readers.h11_request):
        assert read(wire) == expected


@given(hostile_responses, st.lists(st.binary(min_size=1, max_size=20), max_size=3))
def test_response_sent_on_is_one_message_to_every_reader(data: bytes, chunks: list[bytes]) -> None:
    try:
        response = parse_response_head(head_of(data), "GET", readers.HEAD_LIMITS)
    except UpstreamError:
        return
    if response.status < 200 or response.status in (204, 304):
        return
    response.headers["X-Mark"] = "1"
    wire = encode_response_head(response, CODED) + b"".join(map(encode_chunk, chunks)) + b"0\r\n\r\n"
    expected = readers.Message(
        response.status,
        tuple((field[0], field[2]) for field in response.headers.fields if field[0].startswith(b"x-")),
        b"".join(chunks),
        (),
        b"",
    )
    outcomes = [
        readers.read_response(wire, "GET"),
        readers.llhttp_response(wire),
        readers.h11_response(wire, "GET"),
    ]
    assert outcomes == [expected] * 3


@given(st.text(max_size=8), st.text(max_size=20))
def test_field_a_middleware_may_set_is_one_field_to_every_reader(name: str, value: str) -> None:
    headers = Headers({"Host": "a"})
    try:
        headers["X-" + name] = value
    except ValueError:
        assert len(headers) == 1
        return
    _, raw_name, raw_value = headers.fields[1]
    wire = b"GET / HTTP/1.1\r\nHost: a\r\n" + raw_name + b": " + raw_value + b"\r\n\r\n"
    expected = readers.Message(b"GET", ((raw_name.lower(), raw_value),), b"", (), b"")
    assert readers.llhttp_request(wire) == expected
    assert readers.h11_request(wire) == expected
