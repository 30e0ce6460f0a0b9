"""Middleware that misbehaves, or does what is hard to serve; each acts at one path only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pyrox import BodyFilter, HTTPError, Middleware, Request, Response
from pyrox.middleware import App


class AtPath(Middleware):
    """Passes everything on but requests for ``path``; those, with anything below, it handles."""

    path = "/"

    def __call__(self, request: Request) -> Response:
        if request.path == self.path or request.path.startswith(self.path + "/"):
            return self.handle(request)
        return self.app(request)

    def handle(self, request: Request) -> Response:
        raise NotImplementedError


class Raises(AtPath):
    path = "/raises"

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/late"):
            self.app(request)
        if request.path.endswith("/exit"):
            sys.exit("this is a mistake in a middleware")
        if request.path.endswith("/body"):
            return Response(200, self.exiting_body())
        raise LookupError("this is a mistake in a middleware")

    @staticmethod
    def exiting_body() -> Iterator[bytes]:
        yield b"begun"
        sys.exit("this is a mistake in a body")


class RaisesHTTPError(AtPath):
    path = "/refuses"

    def handle(self, request: Request) -> Response:
        raise HTTPError(403, "not for you", {"X-Reason": "test"})


class ReturnsNone(AtPath):
    path = "/none"

    def handle(self, request: Request) -> Response:
        self.app(request)
        return None  # type: ignore[return-value]


class Sleeps(AtPath):
    """``time.sleep`` as any library would call it; gevent has patched it."""

    path = "/sleeps"

    def handle(self, request: Request) -> Response:
        time.sleep(1.0)
        return self.app(request)


class AnswersEarly(AtPath):
    """Answers without a look at the body."""

    path = "/early"

    def handle(self, request: Request) -> Response:
        return Response(413, "far too much\n")


class Replaces(AtPath):
    """Replaces both bodies, by bytes or by a generator."""

    path = "/replaces"

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/bytes"):
            request.body = b"instead of the request"
            response = self.app(request)
            response.body = b"instead of the response"
            return response
        request.body = (b"%d;" % number for number in range(5))
        response = self.app(request)
        response.body = upper(response.stream())
        return response


def upper(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk.upper()


class Rot13(BodyFilter):
    def feed(self, chunk: bytes) -> bytes:
        return chunk.decode("latin-1").translate(_ROT13).encode("latin-1")

    def finish(self) -> bytes:
        return b"."


_LOWER = "abcdefghijklmnopqrstuvwxyz"
_ROT13 = str.maketrans(_LOWER, _LOWER[13:] + _LOWER[:13])


class Filters(AtPath):
    path = "/filters"

    def handle(self, request: Request) -> Response:
        request.filter_body(Rot13())
        response = self.app(request)
        response.filter_body(Rot13())
        return response


class FailsInBody(AtPath):
    """Fails in the middle of a body: of the request, or of the response."""

    path = "/fails"

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/request"):
            request.body = self._broken(request.stream())
            return self.app(request)
        response = self.app(request)
        response.body = self._broken(response.stream())
        return response

    @staticmethod
    def _broken(body: Iterable[bytes]) -> Iterator[bytes]:
        yield b"so far so good"
        raise LookupError("this is a mistake in a body")


class Notes(AtPath):
    """Appends a line to a file whenever an ``on_close`` callback runs: ``target callback``."""

    path = "/closes"

    def __init__(self, app: App, file: Path) -> None:
        super().__init__(app)
        self.file = file

    def handle(self, request: Request) -> Response:
        response = self.app(request)
        target = request.target
        response.on_close(lambda: self.note(f"{target} first"))
        response.on_close(lambda: self.note(f"{target} second"))
        if request.path.endswith("/discards"):
            return Response(200, b"something else")
        if request.path.endswith("/raises"):
            raise HTTPError(409)
        return response

    def note(self, line: str) -> None:
        with self.file.open("a") as file:
            file.write(line + "\n")


class AnswersLocally(AtPath):
    """Inside ``Notes``: responses that no upstream made."""

    path = "/closes/local"

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/generator"):
            return Response(200, self._slowly())
        return Response(200, b"made here")

    @staticmethod
    def _slowly() -> Iterator[bytes]:
        while True:
            yield b"more" * 4096


class AsksTwice(AtPath):
    """Sends the same request again when the first answer is a 503, as a retrying middleware does."""

    path = "/again"

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/kept"):
            request.read_body()
        response = self.app(request)
        return self.app(request) if response.status == 503 else response


class AsksOthers(AtPath):
    """Makes requests of its own: as many as its path says, one after the other, then the client's."""

    path = "/others"

    def handle(self, request: Request) -> Response:
        _, _, how, count = request.path.split("/")
        found = []
        for number in range(int(count)):
            side = Request(
                "GET", f"/side/{number}", {"Host": "side.test", "X-Origin": request.headers["x-origin"]}
            )
            answer = self.app(side)
            found.append(answer.status)
            if how == "read":
                answer.read_body()
        response = self.app(request)
        response.headers["X-Found"] = ",".join(map(str, found))
        return response
