"""Body readers: the end of a body found exactly, whatever comes after it."""

from __future__ import annotations

import gevent
import pytest

from pyrox.errors import ClientError, ClientGone, ClientTimeout, UpstreamClosed, UpstreamError
from pyrox.green import body as bodies
from pyrox.green import pipes
from pyrox.green.body import (
    BodyReader,
    ChunkedReader,
    LengthReader,
    LimitedReader,
    UntilCloseReader,
    body_reader,
)
from pyrox.http.framing import CHUNKED, UNTIL_CLOSE, ChunkLimits
from tests.unit.green.rig import PATIENCE, Rig, drain, soon

LIMITS = ChunkLimits()


def chunked_reader(stream) -> ChunkedReader:
    return ChunkedReader(stream, PATIENCE, ClientError, LIMITS)


@pytest.mark.parametrize(
    ("length", "kind"), [(CHUNKED, ChunkedReader), (UNTIL_CLOSE, UntilCloseReader), (7, LengthReader)]
)
def test_the_length_chooses_the_reader(rig: Rig, length: int, kind: type[BodyReader]) -> None:
    stream, _ = rig.client()
    reader = body_reader(stream, length, PATIENCE, ClientError, LIMITS)
    assert type(reader) is kind
    assert reader.length == (7 if length == 7 else None)


@pytest.mark.parametrize(
    ("length", "wire", "expected"),
    [
        (5, b"hello", b"hello"),
        (CHUNKED, b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nX: y\r\n\r\n", b"hello"),
        (CHUNKED, b"0\r\n\r\n", b""),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_body_ends_on_its_boundary_and_the_rest_stays_in_the_stream(
    rig: Rig, length: int, wire: bytes, expected: bytes, size: int
) -> None:
    """The stream reads ``size`` bytes at a time, so every cut is met."""
    stream, peer = rig.client(buffer_size=size)
    peer.send(wire + b"GET / HTTP/1.1\r\n")
    reader = body_reader(stream, length, PATIENCE, ClientError, LIMITS)
    assert b"".join(reader) == expected
    assert reader.is_complete
    assert reader.wire_bytes == len(wire)
    assert stream.buffer + drain(stream.sock) == b"GET / HTTP/1.1\r\n"
    assert reader.read() == b""


def test_trailers_are_kept_with_the_reader(rig: Rig) -> None:
    stream, peer = rig.client()
    peer.send(b"0\r\nX-Sum: 8\r\n\r\n")
    reader = chunked_reader(stream)
    assert list(reader) == []
    assert reader.trailers == [(b"x-sum", b"X-Sum", b"8")]


def test_body_of_no_length_is_complete_before_it_is_read(rig: Rig) -> None:
    stream, _ = rig.client()
    reader = LengthReader(stream, 0, PATIENCE)
    assert reader.is_complete
    assert reader.read() == b""


@pytest.mark.parametrize("wire", [b"", b"he", b"2\r\nhe\r\n"])
@pytest.mark.parametrize("length", [5, CHUNKED])
def test_end_before_the_body_s_is_a_lost_peer(rig: Rig, length: int, wire: bytes) -> None:
    if length == CHUNKED and wire == b"he":
        wire = b"5\r\nhe"
    stream, peer = rig.client()
    peer.send(wire[:4] if length == 5 else wire)
    peer.close()
    reader = body_reader(stream, length, PATIENCE, ClientError, LIMITS)
    with pytest.raises(ClientGone) as caught:
        list(reader)
    assert caught.value.proxy_status == "http_response_incomplete"
    assert not reader.is_complete


def test_close_delimited_body_ends_with_the_stream(rig: Rig) -> None:
    stream, peer = rig.upstream()
    stream.buffer = b"early "
    peer.send(b"late")
    peer.close()
    reader = UntilCloseReader(stream, PATIENCE)
    assert b"".join(reader) == b"early late"
    assert (reader.is_complete, reader.wire_bytes) == (True, 10)


def test_patience_begins_anew_with_each_read(rig: Rig) -> None:
    stream, peer = rig.client()
    reader = LengthReader(stream, 10, 3)

    def drip() -> None:
        for _ in range(9):
            peer.send(b"x")
            rig.clock.pass_by(2)

    soon(drip)
    pieces = []
    with pytest.raises(ClientTimeout):
        for piece in reader:
            pieces.append(piece)
            if len(pieces) == 9:
                rig.clock.advance(4)
    assert len(pieces) == 9
    assert rig.clock.now > 9


def test_what_is_buffered_is_had_without_waiting(rig: Rig) -> None:
    stream, _ = rig.client()
    reader = LengthReader(stream, 5, PATIENCE)
    assert reader.read_buffered() == b""
    stream.buffer = b"hello, and more"
    assert reader.read_buffered() == b"hello"
    assert reader.is_complete
    assert stream.buffer == b", and more"


def test_malformed_chunk_is_the_error_of_the_side(rig: Rig) -> None:
    stream, peer = rig.upstream()
    peer.send(b"zz\r\n")
    with pytest.raises(UpstreamError) as caught:
        list(ChunkedReader(stream, PATIENCE, UpstreamError, LIMITS))
    assert caught.value.status == 502


def test_limited_reader_stops_where_the_limit_is_passed(rig: Rig) -> None:
    stream, peer = rig.client(buffer_size=10)
    peer.send(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
    assert b"".join(LimitedReader(chunked_reader(stream), 10)) == b"helloworld"
    stream, peer = rig.client(buffer_size=10)
    peer.send(b"5\r\nhello\r\n6\r\nworld!\r\n0\r\n\r\n")
    received = []
    with pytest.raises(ClientError) as caught:
        received.extend(LimitedReader(chunked_reader(stream), 10))
    assert caught.value.status == 413


# --- relaying through a buffer; test_pipes.py has the rest


@pytest.fixture
def no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_is_possible", False)


@pytest.mark.usefixtures("no_pipe")
def test_relay_moves_the_rest_and_stops_on_the_boundary(rig: Rig) -> None:
    source, sender = rig.upstream()
    destination, receiver = rig.client()
    data = bytes(range(256)) * 4000
    reader = LengthReader(source, len(data), PATIENCE)

    def send() -> None:
        rest = memoryview(data + b"next")
        while rest:
            try:
                rest = rest[sender.send(rest) :]
            except BlockingIOError:
                gevent.idle()

    received = bytearray()

    def take() -> None:
        while len(received) < len(data):
            received.extend(drain(receiver))
            gevent.idle()

    sending, taking = soon(send), soon(take)
    reader.relay(destination)
    gevent.joinall([sending, taking])
    assert received == data
    assert (reader.is_complete, reader.left, reader.wire_bytes) == (True, 0, len(data))
    assert source.receive(PATIENCE) == b"next"


@pytest.mark.usefixtures("no_pipe")
def test_relay_that_fails_counts_what_got_through_and_returns_its_buffer(rig: Rig) -> None:
    source, sender = rig.upstream()
    destination, receiver = rig.client()
    reader = LengthReader(source, 1 << 20, PATIENCE)
    sender.send(b"x" * 1000)
    soon(sender.close)
    with pytest.raises(UpstreamClosed):
        reader.relay(destination)
    assert reader.left == (1 << 20) - 1000
    assert drain(receiver) == b"x" * 1000
    assert not reader.is_complete
    assert len(bodies._free_buffers) == bodies._buffers_made


@pytest.mark.usefixtures("no_pipe")
def test_relay_without_a_free_buffer_leaves_the_body_to_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_free_buffers", [])
    monkeypatch.setattr(bodies, "_buffers_made", bodies._RELAY_BUFFERS)
    source, sender = rig.upstream()
    destination, receiver = rig.client()
    reader = LengthReader(source, 5, PATIENCE)
    sender.send(b"hello")
    reader.relay(destination)
    assert (drain(receiver), reader.left) == (b"", 5)
    assert reader.read() == b"hello"
