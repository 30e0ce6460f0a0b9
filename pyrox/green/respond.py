"""Sending a response to the client: its framing is decided here, from the body it has now."""

from __future__ import annotations

from pyrox.green.body import RELAY_THRESHOLD, BodyReader, LengthReader
from pyrox.green.exchange import LiveExchange
from pyrox.http.forwarding import date_field
from pyrox.http.framing import encode_chunk, encode_last_chunk, forwardable_trailers
from pyrox.http.head import encode_response_head
from pyrox.http.headers import Field
from pyrox.http.message import Response

_CHUNKED = b"Transfer-Encoding: chunked\r\n"


def send_response(exchange: LiveExchange, response: Response, keep_alive: bool) -> bool:
    """Send ``response`` whole; returns whether the connection can carry another one after it.

    Raises ``ClientGone`` when the client leaves, and whatever the body raises. Once sending began the
    connection has been aborted, so that what arrived cannot pass for the whole; when it is before that
    the stream is still open, for another answer.
    """
    request = exchange.request
    is_old = request is not None and request.version == "1.0"
    if response.made_by != "upstream" and "date" not in response.headers:
        response.headers.fields.append(date_field())
    body = response._body
    status = response._status
    # RFC 9112 6.3, rule 1: whatever the fields say, these end with their head.
    if exchange.is_head or status == 204 or status == 304:
        framing = _declared_framing(response) + _connection_field(is_old, keep_alive)
        exchange.send_head(encode_response_head(response, framing))
        return keep_alive
    if type(body) is bytes and response._filters is None:
        framing = b"Content-Length: %d\r\n" % len(body)
        if is_old or not keep_alive:
            framing += _connection_field(is_old, keep_alive)
        exchange.send_head(encode_response_head(response, framing), body)
        return keep_alive
    reader = body if isinstance(body, BodyReader) and response._filters is None else None
    # What is there already is decoded before the head goes out, and travels in one send with it.
    length = reader.length_to_come if reader is not None else None
    piece = reader.read_buffered() if reader is not None else b""
    # RFC 9112 6.1: never chunked to an HTTP/1.0 client; only the close can end such a body.
    keep_alive = keep_alive and (length is not None or not is_old)
    framing = _connection_field(is_old, keep_alive)
    if length is not None:
        framing = b"Content-Length: %d\r\n" % length + framing
    elif not is_old:
        framing = _CHUNKED + framing
    head = encode_response_head(response, framing)
    chunked = length is None and not is_old
    try:
        if reader is not None:
            _send_reader(exchange, response, reader, head, piece, chunked)
        else:
            _send_streamed(exchange, response, head, chunked)
    except BaseException:
        exchange.stream.abort()
        raise
    return keep_alive


def _declared_framing(response: Response) -> bytes:
    """The Content-Length of a body that is not sent: what a GET would have had (RFC 9110 8.6)."""
    if response.status == 204 or response._filters is not None:
        return b""
    length = response.content_length
    if isinstance(response._body, bytes) and (response._body or response.made_by != "upstream"):
        length = len(response._body)
    if length is None or (response.status == 304 and response.made_by != "upstream"):
        return b""
    return b"Content-Length: %d\r\n" % length


def _connection_field(is_old: bool, keep_alive: bool) -> bytes:
    """RFC 9112 9.3: HTTP/1.1 persists unless told not to, HTTP/1.0 the other way round."""
    if not keep_alive:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if is_old else b""


def _send_streamed(exchange: LiveExchange, response: Response, head: bytes, chunked: bool) -> None:
    # When the first piece will come is unknown, so the head goes ahead of it.
    exchange.send_head(head)
    for piece in response.stream():
        exchange.send(encode_chunk(piece) if chunked else piece)
    if chunked:
        is_upstreams = response.made_by == "upstream" and exchange.attempts
        reader = exchange.attempts[-1].reader if is_upstreams else None
        exchange.send(encode_last_chunk(_trailers(response, reader)))


def _send_reader(
    exchange: LiveExchange, response: Response, body: BodyReader, head: bytes, piece: bytes, chunked: bool
) -> None:
    """Relay an untouched upstream body, of which ``piece`` was read already."""
    data = head
    exchange.head_bytes_sent += len(head)
    while True:
        if piece:
            data += encode_chunk(piece) if chunked else piece
        if body.is_complete and chunked:
            data += encode_last_chunk(_trailers(response, body))
        if data:
            exchange.send(data)
        if body.is_complete:
            return
        data = b""
        if not chunked and isinstance(body, LengthReader) and body.left > RELAY_THRESHOLD:
            left = body.left
            try:
                body.relay(exchange.stream)
            finally:
                exchange.bytes_sent += left - body.left
        piece = body.read()


def _trailers(response: Response, reader: BodyReader | None) -> list[Field]:
    if response.trailers is not None:
        return response.trailers.fields
    return forwardable_trailers(reader.trailers) if reader is not None else []
