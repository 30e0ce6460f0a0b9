"""What must hold for every input: only ``ProxyError``, no influence of cuts, no doubt about what is sent.

An input is one byte that chooses the target, one that says how it is cut, and the bytes from the wire.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from pyrox.errors import ClientError, UpstreamError
from pyrox.http.framing import ChunkedDecoder, ChunkLimits, encode_chunk, encode_last_chunk
from pyrox.http.head import encode_request_head, encode_response_head, parse_request_head, parse_response_head
from tests.property import readers
from tests.property.readers import Message, Outcome, Refused

_CODED = b"Transfer-Encoding: chunked\r\n"
_SMALL_LIMITS = ChunkLimits(extension=16, extensions_total=24, trailer_size=64, trailer_fields=2)


def cut(data: bytes, size: int) -> list[bytes]:
    """``data`` in pieces of ``size`` bytes."""
    return [data[i : i + size] for i in range(0, len(data), size)]


def check_request(data: bytes, size: int) -> None:
    whole = readers.read_request(data)
    _check_same(readers.read_request_in_pieces(cut(data, size)), whole)
    if isinstance(whole, Message):
        start = data.removeprefix(b"\r\n")
        request = parse_request_head(start[: start.index(b"\r\n\r\n") + 4], readers.HEAD_LIMITS)
        request.headers.setdefault("Host", "a")
        _check_sent_on(encode_request_head(request, _CODED), whole, readers.read_request)


def check_response(data: bytes, size: int) -> None:
    whole = readers.read_response(data, "GET")
    _check_same(readers.read_response_in_pieces(cut(data, size), "GET"), whole)
    if isinstance(whole, Message) and whole.start not in (204, 304) and int(whole.start) >= 200:
        response = parse_response_head(data[: data.index(b"\r\n\r\n") + 4], "GET", readers.HEAD_LIMITS)
        head = encode_response_head(response, _CODED)
        _check_sent_on(head, whole, lambda wire: readers.read_response(wire, "GET"))


def check_chunked(data: bytes, size: int) -> None:
    for limits in (_SMALL_LIMITS, readers.CHUNK_LIMITS):
        assert _decode([data], limits) == _decode(cut(data, size), limits)


def check_errors(data: bytes, size: int) -> None:
    """The parsers are given what the engine would never give them: no complete head, or more than one."""
    for raw in (data, data + b"\r\n\r\n", data[:size]):
        with contextlib.suppress(ClientError):
            parse_request_head(raw, readers.HEAD_LIMITS)
        with contextlib.suppress(UpstreamError):
            parse_response_head(raw, "HEAD", readers.HEAD_LIMITS)


TARGETS: tuple[Callable[[bytes, int], None], ...] = (
    check_request,
    check_response,
    check_chunked,
    check_errors,
)


def check(data: bytes) -> None:
    """Run the target that the first byte chooses; raises whatever must not be raised."""
    if len(data) > 2:
        TARGETS[data[0] % len(TARGETS)](data[2:], data[1] % 64 + 1)


def _check_same(pieces: Outcome, whole: Outcome) -> None:
    if isinstance(whole, Refused):
        assert isinstance(pieces, Refused), (pieces, whole)
    else:
        assert pieces == whole


def _check_sent_on(head: bytes, message: Message, read: Callable[[bytes], Outcome]) -> None:
    """What was accepted is, sent on, the same message, with nothing left over."""
    wire = head + encode_chunk(message.body) + encode_last_chunk([])
    assert read(wire) == Message(message.start, message.fields, message.body, (), b""), wire


def _decode(pieces: list[bytes], limits: ChunkLimits) -> tuple[bytes, bool, object, bytes] | None:
    decoder = ChunkedDecoder(ClientError, limits)
    try:
        payload = b"".join([decoder.feed(piece) for piece in pieces])
    except ClientError:
        return None
    return payload, decoder.is_complete, decoder.trailers, decoder.leftover
