"""Middleware that changes what the framing of a message was, or could be, decided from."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
from scenarios import AtPath

from pyrox import Request, Response


class ChangesMethod(AtPath):
    """Asks the upstream with the method that its path names."""

    path = "/method"

    def handle(self, request: Request) -> Response:
        request.method = request.path.rpartition("/")[2]
        return self.app(request)


class Peeks(AtPath):
    """Reads the first piece of a body, and passes the message on as if nothing had been read."""

    path = "/peeks"

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/request"):
            next(iter(request.body))
            own = Request(
                "POST", "/rest", {"Host": "a.test", "X-Origin": request.headers["x-origin"]}, request.body
            )
            return self.app(own)
        response = self.app(request)
        next(iter(response.body))
        return response


class TimesOut(AtPath):
    """``gevent.Timeout`` as its manual shows it: not an ``Exception``, and not caught."""

    path = "/times-out"

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/body"):
            request.body = self._late()
            return self.app(request)
        if request.path.endswith("/response"):
            return Response(200, self._late())
        with gevent.Timeout(0.05):
            return self.app(request)

    @staticmethod
    def _late() -> Iterator[bytes]:
        yield b"so far so good"
        with gevent.Timeout(0.05):
            gevent.sleep(60)


class Large(AtPath):
    """Answers with more than any socket takes at once."""

    path = "/large"

    def handle(self, request: Request) -> Response:
        return Response(200, bytes(20_000_000))


class Unsendable(AtPath):
    """Makes messages that cannot be encoded."""

    path = "/unsendable"

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/upgrade"):
            request.upgrade = "talk\r\nX-Injected: yes"
            return self.app(request)
        response = Response(200, b"ok")
        response.headers = {"X-Not": "Headers"}  # type: ignore[assignment]
        return response
