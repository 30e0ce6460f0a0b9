"""Body readers: a body that is still arriving, as an iterable of bytes with a known end.

A reader takes what its stream holds, decodes the framing and stops exactly on the boundary, so that
what follows stays in the stream's buffer. One read is at most ``buffer_size`` bytes, and the next is not
asked for before the last was sent on: that is all there is to back-pressure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyrox.errors import ClientError, ProxyError
from pyrox.green.pipes import Pipe, SpliceRefused, open_pipe
from pyrox.green.stream import SocketStream
from pyrox.http.framing import CHUNKED, UNTIL_CLOSE, ChunkedDecoder, ChunkLimits
from pyrox.http.headers import Field

# Bodies that are longer than this are relayed through a large buffer that is used again (recv_into):
# a quarter less CPU per byte than fresh 64 KiB objects. The buffers are few, so that many slow clients
# cannot make memory grow; who finds none free does with small reads.
RELAY_THRESHOLD = _RELAY_SIZE = 256 * 1024
_RELAY_BUFFERS = 8
_free_buffers: list[memoryview] = []
_buffers_made = 0


class BodyReader:
    """One body on one stream; iterate over it once.

    * ``length``: bytes in the body, or None when only its end will tell.
    * ``length_to_come``: the length to announce; None when a middleware took some of the body already.
    * ``is_complete``: the last byte of the body, and of its framing, was read.
    * ``wire_bytes``: bytes taken from the stream so far, framing included.
    * ``trailers``: the trailer fields, once complete.
    """

    __slots__ = ("is_complete", "length", "patience", "stream", "trailers", "wire_bytes")

    def __init__(self, stream: SocketStream, length: int | None, patience: int) -> None:
        self.stream = stream
        self.length = length
        self.patience = patience  # ticks between two reads
        self.is_complete = False
        self.wire_bytes = 0
        self.trailers: list[Field] = []

    @property
    def length_to_come(self) -> int | None:
        return None if self.wire_bytes else self.length

    def read(self) -> bytes:
        """Return the next bytes of the body, waiting for them; ``b""`` when it is complete."""
        while not self.is_complete:
            data = self.stream.take() or self.stream.receive(self.patience)
            if not data:
                self.at_eof()
            elif piece := self._accept(data):
                return piece
        return b""

    def read_buffered(self) -> bytes:
        """Return what is there already, without waiting."""
        data = b"" if self.is_complete else self.stream.take()
        return self._accept(data) if data else b""

    def at_eof(self) -> None:
        """The stream ended before the body did: raises what the stream's side calls a lost peer."""
        raise self.stream.gone("closed in the middle of a body", proxy_status="http_response_incomplete")

    def _accept(self, data: bytes) -> bytes:
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read():
            yield piece


class LengthReader(BodyReader):
    """A body with a Content-Length."""

    __slots__ = ("_left",)

    def __init__(self, stream: SocketStream, length: int, patience: int) -> None:
        super().__init__(stream, length, patience)
        self._left = length
        self.is_complete = not length

    @property
    def left(self) -> int:
        """Bytes that are still to be read."""
        return self._left

    def _accept(self, data: bytes) -> bytes:
        if len(data) > self._left:
            self.stream.buffer = data[self._left :]
            data = data[: self._left]
        self._count(len(data))
        return data

    def _count(self, size: int) -> None:
        self._left -= size
        self.wire_bytes += size
        self.is_complete = not self._left

    def relay(self, destination: SocketStream) -> None:
        """Move the rest of the body to ``destination`` at little cost; ``left`` says how far it got.

        Through a pipe where that is possible, else through a large buffer. Returns early when none of them is
        free; whoever calls goes on with ``read``.
        """
        if (pipe := open_pipe(self.stream, destination)) is not None:
            self._relay_by_pipe(pipe, destination)
        if self._left and (buffer := _take_buffer()) is not None:
            self._relay_by_buffer(buffer, destination)

    def _relay_by_pipe(self, pipe: Pipe, destination: SocketStream) -> None:
        try:
            while self._left:
                if early := self.read_buffered():
                    destination.send(early)
                    continue
                if not pipe.fill(self.stream, self._left, self.patience):
                    self.at_eof()
                while pipe.held:
                    self._count(pipe.pour(destination))
        except SpliceRefused:
            if held := pipe.empty():
                destination.send(held)
                self._count(len(held))
        finally:
            pipe.close()

    def _relay_by_buffer(self, buffer: memoryview, destination: SocketStream) -> None:
        try:
            while self._left:
                # While ``destination`` took nothing, a look at who is still there may have received some.
                if early := self.read_buffered():
                    destination.send(early)
                    continue
                size = self.stream.receive_into(buffer[: self._left], self.patience)
                if not size:
                    self.at_eof()
                destination.send(buffer[:size])
                self._count(size)
        finally:
            _free_buffers.append(buffer)


class ChunkedReader(BodyReader):
    """A body in the chunked coding."""

    __slots__ = ("_decoder",)

    def __init__(
        self, stream: SocketStream, patience: int, error: type[ProxyError], limits: ChunkLimits
    ) -> None:
        super().__init__(stream, None, patience)
        self._decoder = ChunkedDecoder(error, limits)

    def _accept(self, data: bytes) -> bytes:
        decoder = self._decoder
        piece = decoder.feed(data)
        self.wire_bytes += len(data)
        if decoder.is_complete:
            self.is_complete = True
            self.trailers = decoder.trailers
            self.stream.buffer = decoder.leftover
            self.wire_bytes -= len(decoder.leftover)
        return piece


class UntilCloseReader(BodyReader):
    """A response body that ends when the server closes (RFC 9112 6.3, rule 8)."""

    __slots__ = ()

    def __init__(self, stream: SocketStream, patience: int) -> None:
        super().__init__(stream, None, patience)

    def at_eof(self) -> None:
        self.is_complete = True

    def _accept(self, data: bytes) -> bytes:
        self.wire_bytes += len(data)
        return data


class LimitedReader:
    """A request body of unknown length that may not exceed ``limit`` bytes (413)."""

    def __init__(self, reader: Iterable[bytes], limit: int) -> None:
        self._reader = reader
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        for piece in self._reader:
            received += len(piece)
            if received > self._limit:
                raise ClientError(f"request body over max_body_size {self._limit}", status=413)
            yield piece


def body_reader(
    stream: SocketStream, length: int, patience: int, error: type[ProxyError], limits: ChunkLimits
) -> BodyReader:
    """Return the reader for a body of ``length`` bytes, ``CHUNKED`` or ``UNTIL_CLOSE``."""
    if length == CHUNKED:
        return ChunkedReader(stream, patience, error, limits)
    if length == UNTIL_CLOSE:
        return UntilCloseReader(stream, patience)
    return LengthReader(stream, length, patience)


def _take_buffer() -> memoryview | None:
    global _buffers_made
    if _free_buffers:
        return _free_buffers.pop()
    if _buffers_made == _RELAY_BUFFERS:
        return None
    _buffers_made += 1
    return memoryview(bytearray(_RELAY_SIZE))
