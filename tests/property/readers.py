"""Read one message from bytes with Pyrox, with llhttp and with h11, and say it in the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import h11
import httptools

from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http.framing import CHUNKED, UNTIL_CLOSE, ChunkedDecoder, ChunkLimits
from pyrox.http.head import HeadLimits, check_partial_request_head, check_partial_response_head
from pyrox.http.head_cache import HeadCache
from pyrox.http.headers import Field

HEAD_LIMITS = HeadLimits()
CHUNK_LIMITS = ChunkLimits()

# As in the engine: what was read before must not change what is read.
_heads = HeadCache(HEAD_LIMITS)


@dataclass(frozen=True)
class Refused:
    """The reader will not have it."""

    detail: str


@dataclass(frozen=True)
class Incomplete:
    """No fault yet, and the end of the message not in sight."""


@dataclass(frozen=True)
class Message:
    """A whole message, and what stands after it."""

    start: bytes | int  # the method, or the status
    fields: tuple[tuple[bytes, bytes], ...]  # those called x-something
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]
    rest: bytes


Outcome = Refused | Incomplete | Message


def _plain(pairs: Any) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that no reader consumes for itself."""
    return tuple((name.lower(), value) for name, value in pairs if name.lower().startswith(b"x-"))


def _without_names(fields: list[Field]) -> tuple[tuple[bytes, bytes], ...]:
    return _plain((name, value) for name, _, value in fields)


# --- Pyrox ------------------------------------------------------------------------------------------


def read_request(data: bytes) -> Outcome:
    return read_request_in_pieces([data])


def read_request_in_pieces(pieces: Iterable[bytes]) -> Outcome:
    """Read a request as the engine does: one empty line may stand before it (RFC 9112 2.2)."""
    try:
        raw, rest = _cut_head(pieces, check_partial_request_head, may_start_empty=True)
        if raw is None:
            return Incomplete()
        request = _heads.request(raw)
        length = request.content_length or 0
        return _read_body(request.method.encode(), request.headers.fields, rest, length, ClientError)
    except ClientError as error:
        return Refused(error.detail)


def read_response(data: bytes, method: str) -> Outcome:
    return read_response_in_pieces([data], method)


def read_response_in_pieces(pieces: Iterable[bytes], method: str) -> Outcome:
    """Read a response to a request with ``method``; the server closes after the last piece."""
    try:
        raw, rest = _cut_head(pieces, check_partial_response_head)
        if raw is None:
            return Incomplete()
        response = _heads.response(raw, method)
        return _read_body(response.status, response.headers.fields, rest, response.body_length, UpstreamError)
    except UpstreamError as error:
        return Refused(error.detail)


def _cut_head(
    pieces: Iterable[bytes], check_partial: Callable[[bytes, HeadLimits], None], may_start_empty: bool = False
) -> tuple[bytes | None, Iterator[bytes]]:
    """Split what arrives into a complete head, None without one, and the pieces after it."""
    pieces = iter(pieces)
    received = b""
    for piece in pieces:
        received += piece
        data = received.removeprefix(b"\r\n") if may_start_empty else received
        end = data.find(b"\r\n\r\n") + 4
        if end > 3:
            return data[:end], chain([data[end:]], pieces)
        check_partial(data, HEAD_LIMITS)
    return None, pieces


def _read_body(
    start: bytes | int, fields: list[Field], pieces: Iterator[bytes], length: int, error: type[ProxyError]
) -> Outcome:
    if length == CHUNKED:
        decoder = ChunkedDecoder(error, CHUNK_LIMITS)
        body = b"".join([decoder.feed(piece) for piece in pieces])
        if not decoder.is_complete:
            return Incomplete()
        trailers = _without_names(decoder.trailers)
        return Message(start, _without_names(fields), body, trailers, decoder.leftover)
    data = b"".join(pieces)
    if length == UNTIL_CLOSE:
        length = len(data)
    if len(data) < length:
        return Incomplete()
    return Message(start, _without_names(fields), data[:length], (), data[length:])


# --- llhttp -----------------------------------------------------------------------------------------


class _Recorder:
    """What httptools calls back with. It has no word for trailers: they come as headers, late."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.in_body = False
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        (self.trailers if self.in_body else self.headers).append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.in_body = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


def llhttp_request(data: bytes) -> Outcome:
    recorder = _Recorder()
    parser = httptools.HttpRequestParser(recorder)
    outcome = _feed_llhttp(parser, recorder, data)
    if isinstance(outcome, int):
        return _llhttp_message(parser.get_method(), recorder, data[outcome:])
    return outcome


def llhttp_response(data: bytes) -> Outcome:
    """Read a response to a GET: httptools cannot be told of another method, nor of the close."""
    recorder = _Recorder()
    parser = httptools.HttpResponseParser(recorder)
    outcome = _feed_llhttp(parser, recorder, data)
    if isinstance(outcome, int):
        return _llhttp_message(parser.get_status_code(), recorder, data[outcome:])
    names = {name.lower() for name, _ in recorder.headers}
    until_close = recorder.in_body and not names & {b"content-length", b"transfer-encoding"}
    if outcome == Incomplete() and until_close:
        return _llhttp_message(parser.get_status_code(), recorder, b"")
    return outcome


def _feed_llhttp(parser: Any, recorder: _Recorder, data: bytes) -> Outcome | int:
    """Feed byte by byte, since httptools runs on into the next message; the end is an index."""
    for index in range(len(data)):
        try:
            parser.feed_data(data[index : index + 1])
        except httptools.HttpParserUpgrade:
            return index + 1
        except httptools.HttpParserError as error:
            return Refused(str(error))
        if recorder.is_complete:
            return index + 1
    return Incomplete()


def _llhttp_message(start: bytes | int, recorder: _Recorder, rest: bytes) -> Message:
    return Message(start, _plain(recorder.headers), recorder.body, _plain(recorder.trailers), rest)


# --- h11 --------------------------------------------------------------------------------------------

_H11_LIMIT = 1 << 20


def h11_request(data: bytes) -> Outcome:
    return _read_h11(h11.Connection(h11.SERVER, _H11_LIMIT), data)


def h11_response(data: bytes, method: str) -> Outcome:
    """Read a response to a request with ``method``; the server closes after ``data``."""
    connection = h11.Connection(h11.CLIENT, _H11_LIMIT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return _read_h11(connection, data)


def _read_h11(connection: h11.Connection, data: bytes) -> Outcome:
    connection.receive_data(data)
    try:
        head: Any = connection.next_event()
        if head is h11.NEED_DATA:
            return Incomplete()
        start = head.method if isinstance(head, h11.Request) else head.status_code
        if isinstance(head, h11.InformationalResponse):
            return Message(start, _plain(head.headers), b"", (), connection.trailing_data[0])
        return _read_h11_body(connection, start, head.headers)
    except h11.RemoteProtocolError as error:
        return Refused(str(error))


def _read_h11_body(connection: h11.Connection, start: bytes | int, headers: Any) -> Outcome:
    body = b""
    closed = False
    while True:
        event: Any = connection.next_event()
        if isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            rest = connection.trailing_data[0]
            return Message(start, _plain(headers), body, _plain(event.headers), rest)
        elif closed or connection.our_role is h11.SERVER:
            return Incomplete()
        else:
            closed = True
            try:
                connection.receive_data(b"")
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return Incomplete()
            if isinstance(event, h11.EndOfMessage):
                return Message(start, _plain(headers), body, (), b"")
