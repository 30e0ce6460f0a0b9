"""Bodies: what may be one, how filters see it, how much of it is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyrox.errors import HTTPError, ProxyError, UpstreamError
from pyrox.http.body import Body, Message
from pyrox.http.message import Request, Response


class Upper:
    """A filter that shouts, and has a last word."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.upper()

    def finish(self) -> bytes:
        return b"!"


class Lines:
    """A filter that hands out whole lines only; keeps what it was fed."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []
        self.rest = b""

    def feed(self, chunk: bytes) -> bytes:
        self.fed.append(chunk)
        lines, mark, self.rest = (self.rest + chunk).rpartition(b"\n")
        return lines + mark

    def finish(self) -> bytes:
        return self.rest


class Source:
    """A body that can be read once."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        (b"ab", b"ab"),
        ("\u00e4", b"\xc3\xa4"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ("", b""),
    ],
)
def test_body_is_kept_as_bytes(body: Body | str, stored: bytes) -> None:
    message = Response(200, body)
    assert message.body == stored
    message.body = b"x"
    message.body = body  # type: ignore[assignment]
    assert message.body == stored


@pytest.mark.parametrize("body", [None, 5, object()])
def test_body_that_cannot_be_sent_is_refused_where_it_is_set(body: Body) -> None:
    with pytest.raises(TypeError, match="a body is bytes"):
        Response(200, body)
    with pytest.raises(TypeError, match="a body is bytes"):
        Request("GET", "/").body = body


def test_stream_yields_no_empty_chunk() -> None:
    assert list(Response(200, [b"", b"a", b"", b"b"]).stream()) == [b"a", b"b"]
    assert list(Response(200).stream()) == []


def test_filters_run_in_the_order_they_were_added_and_may_hold_back() -> None:
    lines = Lines()
    response = Response(200, Source(b"one", b" line\ntwo", b""))
    response.filter_body(Upper())
    response.filter_body(lines)
    assert list(response.stream()) == [b"ONE LINE\n", b"TWO!"]
    assert lines.fed == [b"ONE", b" LINE\nTWO", b"!"]


def test_filter_is_never_fed_an_empty_chunk() -> None:
    lines, second = Lines(), Lines()
    response = Response(200, [b"", b"a", b"b\n"])
    response.filter_body(lines)  # holds "a" back: has nothing to send at first
    response.filter_body(second)
    assert list(response.stream()) == [b"ab\n"]
    assert lines.fed == [b"a", b"b\n"]
    assert second.fed == [b"ab\n"]


def test_filters_see_a_body_of_bytes_too() -> None:
    response = Response(200, b"abc")
    response.filter_body(Upper())
    assert b"".join(response.body) == b"ABC!"


def test_filter_is_asked_for_its_last_word_on_an_empty_body() -> None:
    response = Response(200)
    response.filter_body(Upper())
    assert list(response.stream()) == [b"!"]


def test_replacing_the_body_forgets_the_filters_on_the_old_one() -> None:
    response = Response(200, b"abc")
    response.filter_body(Upper())
    response.body = b"new"
    assert response.body == b"new"
    assert list(response.stream()) == [b"new"]


def test_read_body_keeps_what_it_read() -> None:
    request = Request("POST", "/", body=Source(b"a", b"b"))
    request.filter_body(Upper())
    assert request.read_body() == b"AB!"
    assert request.body == b"AB!"
    assert request.read_body() == b"AB!"


@pytest.mark.parametrize("make_body", [lambda: b"abcd", lambda: Source(b"ab", b"cd")])
@pytest.mark.parametrize(
    ("message", "error", "status"),
    [(Request("POST", "/"), HTTPError, 413), (Response(200), UpstreamError, 502)],
)
def test_body_longer_than_the_limit_is_not_read(  # type: ignore[no-untyped-def]
    make_body, message: Message, error: type[ProxyError], status: int
) -> None:
    message.body = make_body()
    assert message.read_body(limit=4) == b"abcd"
    message.body = make_body()
    with pytest.raises(error) as caught:
        message.read_body(limit=3)
    assert caught.value.status == status


def test_read_body_stops_reading_at_the_limit() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1000)

    with pytest.raises(UpstreamError):
        Response(200, endless()).read_body(limit=10_000)


def test_json_decodes_the_body() -> None:
    assert Request("POST", "/", body=[b'{"a"', b": 1}"]).json() == {"a": 1}
    with pytest.raises(ValueError, match="Expecting"):
        Request("POST", "/", body=b"no json").json()
