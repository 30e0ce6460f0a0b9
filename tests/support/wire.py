"""Raw HTTP/1.1 on one socket: write any bytes, read strict messages, never wait for ever.

Everything that reads raises ``TimeoutError`` after ``timeout`` seconds of silence.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterable, Iterator

from tests.support.messages import Ended, Malformed, Message, WireRequest, WireResponse, split_field

TIMEOUT = 10.0
Address = tuple[str, int] | str

_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[^\r\n]*)?").fullmatch


class PeerClosed(Exception):
    """The peer ended its stream before a message was complete."""

    def __init__(self, unread: bytes, reset: bool) -> None:
        super().__init__(f"{'reset' if reset else 'end of stream'} after {unread[-200:]!r}")
        self.unread = unread
        self.reset = reset


class Wire:
    """One socket and the bytes that were taken off it but belong to no message yet.

    ``received`` keeps every byte that ever arrived, unless ``keep`` is false (for bodies of gigabytes).
    """

    def __init__(self, sock: socket.socket, timeout: float = TIMEOUT, keep: bool = True) -> None:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self.timeout = timeout
        self.keep = keep
        self.received = bytearray()
        self._buffer = bytearray()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- writing and closing

    def send(self, data: bytes) -> None:
        """Write all of ``data``; raises ``OSError`` when the peer has reset."""
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def send_pieces(self, pieces: Iterable[bytes]) -> None:
        """Write each piece with a send of its own, undelayed."""
        for piece in pieces:
            self.send(piece)

    def half_close(self) -> None:
        """Send a FIN and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.socket.close()

    # -- reading bytes

    @property
    def unread(self) -> bytes:
        """What has been taken off the socket and belongs to no message yet."""
        return bytes(self._buffer)

    def read_exactly(self, size: int) -> bytes:
        """Read ``size`` bytes; raises ``PeerClosed`` when there are fewer."""
        return self._exactly(size)

    def read_until_closed(self) -> tuple[bytes, Ended]:
        """Read to the end of the stream; returns what came and whether an EOF or a reset ended it."""
        try:
            while True:
                self._receive()
        except PeerClosed as closed:
            return self._take(len(self._buffer)), "reset" if closed.reset else "eof"

    def is_silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing at all, not even an end of stream, arrives within ``seconds``."""
        if self._buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        except ConnectionError:
            pass
        return False

    # -- reading messages

    def read_request_head(self) -> WireRequest:
        """Read a request's head and leave its body on the wire."""
        return WireRequest(*self._head())

    def read_request(self) -> WireRequest:
        """Read one whole request; raises ``PeerClosed`` when the stream ends before it does."""
        request = self.read_request_head()
        self.read_body_of(request)
        if not request.is_complete:
            raise PeerClosed(request.body, reset=request.ended == "reset")
        return request

    def read_response_head(self, method: str = "GET") -> WireResponse:
        """Read a response's head and leave its body on the wire."""
        response = WireResponse(*self._head())
        if method == "HEAD":
            response.framing = "none"
        return response

    def read_response(self, method: str = "GET") -> WireResponse:
        """Read one response, also an informational one, to its end or to the end of the stream.

        ``method`` is that of the request it answers. A truncated body is no exception: ``ended`` says
        how it ended. Raises ``PeerClosed`` when not even the head is complete.
        """
        response = self.read_response_head(method)
        self.read_body_of(response)
        return response

    def read_final_response(self, method: str = "GET") -> WireResponse:
        """Read one response, passing over the informational ones before it."""
        while (response := self.read_response(method)).is_informational:
            pass
        return response

    def read_body_of(self, message: Message) -> None:
        """Read what a ``read_*_head`` left on the wire into ``message``."""
        message.body = b"".join(self.stream_body_of(message))

    def stream_body_of(self, message: Message) -> Iterator[bytes]:
        """Yield a body piece by piece; afterwards ``message`` has its trailers and how it ended."""
        try:
            if message.framing == "length":
                yield from self._pieces(int(message.get("content-length") or b"0"))
            elif message.framing == "chunked":
                yield from self._chunks()
                message.trailers = self._trailers()
            elif message.framing == "close":
                yield from self._pieces(None)
        except PeerClosed as closed:
            is_clean = message.framing == "close" and not closed.reset
            message.ended = "boundary" if is_clean else "reset" if closed.reset else "eof"

    # -- the grammar

    def _head(self) -> tuple[bytes, list[bytes]]:
        start_line = self._line()
        return start_line, list(iter(self._line, b""))

    def _trailers(self) -> list[bytes]:
        lines = list(iter(self._line, b""))
        for line in lines:
            split_field(line)
        return lines

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._receive()
        line = self._take(end + 1)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Malformed(f"bare CR or LF in {line!r}")
        return line[:-2]

    def _chunks(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield from self._pieces(size)
            if self._exactly(2) != b"\r\n":
                raise Malformed("no CRLF after a chunk's data")

    def _chunk_size(self) -> int:
        line = self._line()
        match = _chunk_line(line)
        if match is None:
            raise Malformed(f"not a chunk line: {line!r}")
        return int(match[1], 16)

    def _pieces(self, size: int | None) -> Iterator[bytes]:
        while size is None or size > 0:
            if not self._buffer:
                self._receive()
            piece = self._take(len(self._buffer) if size is None else size)
            size = None if size is None else size - len(piece)
            yield piece

    # -- the socket

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece

    def _receive(self) -> None:
        try:
            self.socket.settimeout(self.timeout)
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise TimeoutError(f"nothing more in {self.timeout} s; unread: {self.unread[-200:]!r}") from None
        except ConnectionError:
            raise PeerClosed(self.unread, reset=True) from None
        if not data:
            raise PeerClosed(self.unread, reset=False)
        self._buffer += data
        if self.keep:
            self.received += data


class Client(Wire):
    """A client's end: ``Client(proxy.address)``, a (host, port) pair or the path of a unix socket."""

    def __init__(self, address: Address, timeout: float = TIMEOUT, keep: bool = True) -> None:
        super().__init__(connect(address, timeout), timeout, keep)

    def __enter__(self) -> Client:
        return self

    def ask(self, request: bytes, method: str = "GET") -> WireResponse:
        """Send ``request`` and read its final response."""
        self.send(request)
        return self.read_final_response(method)


def connect(address: Address, timeout: float = TIMEOUT) -> socket.socket:
    """Open a stream to ``address``: a (host, port) pair or the path of a unix socket."""
    if not isinstance(address, str):
        return socket.create_connection(address, timeout)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    sock.connect(address)
    return sock
