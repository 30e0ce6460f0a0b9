"""``KeptBody``: a request's body that is kept while it is sent, so that it can be sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pyrox.green.body import BodyReader, LimitedReader
from pyrox.http.body import Body
from pyrox.http.message import Request

if TYPE_CHECKING:
    from pyrox.green.attempt import UpstreamExchange
    from pyrox.green.exchange import LiveExchange


class KeptBody:
    """A body that may be iterated over again: what was read comes from memory, and the rest as it arrives.

    One iteration must have ended, also in the middle, before the next begins, unless the body ``is_whole``.

    * ``read`` returns the next piece, ``b""`` at the end.
    * ``survives``: an exception out of ``read`` loses nothing, and the next call goes on.
    * ``length``: as ``BodyReader.length_to_come``; ``limit``: bytes that are kept at most.
    """

    def __init__(self, read: Callable[[], bytes], survives: bool, length: int | None, limit: int) -> None:
        self._read = read
        self._survives = survives
        self._limit = limit
        self._kept: list[bytes] = []
        self._size = 0
        self.length_to_come = length
        self.is_replayable = True  # until there was more than is kept
        self.is_whole = False  # all of it was read

    def __iter__(self) -> Iterator[bytes]:
        if not self.is_replayable:
            raise RuntimeError("the body was longer than what is kept of it, and has been sent already")
        yield from self._kept
        while not self.is_whole:
            # Counted before it is sent: a try that fails while it sends must leave it to the next.
            if piece := self._next():
                yield piece

    def _next(self) -> bytes:
        try:
            piece = self._read()
        except BaseException:
            self.is_replayable = self.is_replayable and self._survives
            raise
        if not piece:
            self.is_whole = True
        elif self.is_replayable:
            self._keep(piece)
        return piece

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            self.is_replayable = False
            self._kept = []
        else:
            self._kept.append(piece)


def keep_body(request: Request, exchange: LiveExchange | None, limit: int) -> None:
    """Let the body of ``request`` be kept when it is sent, unless it is in memory already, or too long."""
    body = request._body
    if (isinstance(body, bytes) and request._filters is None) or isinstance(body, KeptBody):
        return
    if exchange is not None and _was_read(body, exchange, exchange.attempts):
        return  # who sends it will say so
    if isinstance(body, BodyReader) and request._filters is None:
        if body.length is None or body.length <= limit:
            request.body = KeptBody(body.read, True, body.length_to_come, limit)
        return
    pieces = request.stream()
    request.body = KeptBody(lambda: next(pieces, b""), False, None, limit)


def can_send_again(request: Request, needs_all: bool = False) -> bool:
    """Whether the body of ``request`` is there for one more try; ``needs_all``: beside the last one."""
    body = request._body
    if request._filters is not None:
        return False
    if isinstance(body, KeptBody):
        return body.is_replayable and (body.is_whole or not needs_all)
    return isinstance(body, bytes)


def is_gone(body: Body, exchange: LiveExchange) -> bool:
    """Whether a body that can be read once was read, by an earlier try than the last or by a middleware."""
    return _was_read(body, exchange, exchange.attempts[:-1])


def _was_read(body: Body, exchange: LiveExchange, attempts: Sequence[UpstreamExchange]) -> bool:
    if isinstance(body, KeptBody):
        return not body.is_replayable
    reader = exchange.request_reader
    if reader is not None and isinstance(body, (BodyReader, LimitedReader)):
        return reader.wire_bytes > 0 or exchange.is_uploading
    return isinstance(body, Iterator) and any(attempt.body is body for attempt in attempts)
