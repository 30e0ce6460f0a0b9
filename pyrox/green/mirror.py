"""``Mirror``: copies of some requests, sent to another cluster, whose answers nobody waits for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from random import random

import gevent

from pyrox.error_log import log_failure
from pyrox.errors import ProxyError
from pyrox.green.body import LengthReader
from pyrox.green.exchange import LiveExchange
from pyrox.green.stream import SocketStream
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.settings import RouteSettings

log = logging.getLogger("pyrox.upstream")

# What one route may have on its way in one worker; there are no copies of more. With the longest body that is
# copied, 256k, this bounds the memory that a mirror that hangs can take.
MOST_IN_FLIGHT = 64
_LONGEST = 60.0  # seconds for one copy
_MOST_OF_AN_ANSWER = 1 << 18  # bytes that are read of it, to keep its connection; longer ones are cut off


class Mirror:
    """Sends each request on to ``app``, and a copy of some to the route's mirror by ``forward``.

    A body is copied when it is here already, or while it goes by when its length is known and is no more
    than ``mirror_body``; then the copy is sent once the last of it has gone by. Upgrades are not copied.
    """

    def __init__(
        self, route: RouteSettings, app: App, forward: App, chance: Callable[[], float] = random
    ) -> None:
        self._app = app
        self._forward = forward
        self._destination = route.mirror
        self._share = route.mirror_percent / 100
        self._longest_body = route.mirror_body
        self._chance = chance
        self.in_flight = 0

    def __call__(self, request: Request) -> Response:
        if request.upgrade is None and self.in_flight < MOST_IN_FLIGHT and self._chance() < self._share:
            self._copy(request)
        return self._app(request)

    def _copy(self, request: Request) -> None:
        body, exchange = request._body, request.exchange
        if request._filters is not None:
            return  # what they make of it is not known before it is sent
        if isinstance(body, bytes):
            if len(body) <= self._longest_body:
                self._start(_copy_of(request, self._destination), body)
        elif isinstance(body, LengthReader) and not body.wire_bytes and body.left <= self._longest_body:
            copy = _copy_of(request, self._destination)
            reader = _RecordingReader(body, lambda whole: self._start(copy, whole))
            if isinstance(exchange, LiveExchange) and exchange.request_reader is body:
                exchange.request_reader = request._body = reader

    def _start(self, copy: Request, body: bytes) -> None:
        if self.in_flight >= MOST_IN_FLIGHT:
            return
        copy._body = body
        self.in_flight += 1
        gevent.spawn(self._send, copy)

    def _send(self, copy: Request) -> None:
        try:
            with gevent.Timeout(_LONGEST, False), closing(_Answer(self._forward(copy))) as answer:
                answer.drop()
        except ProxyError as error:
            log.info("mirror %s: %s", self._destination, error)
        except Exception as error:
            log_failure(f"mirror {self._destination}: {copy!r} failed", error)
        finally:
            self.in_flight -= 1


class _Answer:
    """The response to a copy."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def drop(self) -> None:
        """Read it to its end, if that is near, and forget it."""
        size = 0
        for piece in self._response.stream():
            size += len(piece)
            if size > _MOST_OF_AN_ANSWER:
                return

    def close(self) -> None:
        """Give its connection back or, when there is more to read, close it."""
        for failure in self._response.close():
            log_failure("closing the answer of a mirror failed", failure)


class _RecordingReader(LengthReader):
    """A body that is kept while it goes by; ``on_end`` gets all of it."""

    __slots__ = ("_on_end", "_pieces")

    def __init__(self, reader: LengthReader, on_end: Callable[[bytes], None]) -> None:
        super().__init__(reader.stream, reader.left, reader.patience)
        self._pieces: list[bytes] = []
        self._on_end = on_end

    def _accept(self, data: bytes) -> bytes:
        piece = super()._accept(data)
        self._pieces.append(piece)
        if self.is_complete:
            self._on_end(b"".join(self._pieces))
            self._pieces.clear()
        return piece

    def relay(self, destination: SocketStream) -> None:
        """Move nothing: what is not ``read`` is not kept."""


def _copy_of(request: Request, destination: str) -> Request:
    copy = Request(request._method, request._target)
    copy.headers = request.headers.copy()
    copy.headers.discard("expect")  # its body is here
    copy.client, copy.client_address = request.client, request.client_address
    copy.content_length = request.content_length
    copy.route = destination
    return copy
