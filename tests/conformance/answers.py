"""The middleware of ``cases/answers.txt``: what it does depends on the path."""

from __future__ import annotations

from collections.abc import Iterator

from pyrox import BodyFilter, HTTPError, Middleware, Request, Response
from pyrox.errors import NoHealthyServer, NoRoute


class Shout(BodyFilter):
    """Upper case, and an exclamation mark at the end."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.upper()

    def finish(self) -> bytes:
        return b"!"


class Answers(Middleware):
    """Answers, raises or changes; everything else is passed on."""

    def __call__(self, request: Request) -> Response:
        kind, _, rest = request.path[1:].partition("/")
        act = getattr(self, f"on_{kind.replace('-', '_')}", None)
        return self.app(request) if act is None else act(request, rest)

    def on_answer(self, request: Request, rest: str) -> Response:
        return Response(200, "mine\r\n")

    def on_stream(self, request: Request, rest: str) -> Response:
        return Response(200, iter((b"one", b"", b"two")))

    def on_empty(self, request: Request, rest: str) -> Response:
        return Response(204)

    def on_lies(self, request: Request, rest: str) -> Response:
        return Response(200, b"true", {"Content-Length": "9", "Connection": "x", "Keep-Alive": "1"})

    def on_breaks(self, request: Request, rest: str) -> Response:
        return Response(200, _breaking())

    def on_raise(self, request: Request, rest: str) -> Response:
        raise {
            "teapot": HTTPError(429, "not so fast\\o/", {"Retry-After": "7"}),
            "503": NoHealthyServer("secret detail"),
            "404": NoRoute("secret detail"),
            "bug": ZeroDivisionError("secret detail"),
        }[rest]

    def on_elsewhere(self, request: Request, rest: str) -> Response:
        request.route_to("http://127.0.0.1:1")
        return self.app(request)

    def on_change(self, request: Request, rest: str) -> Response:
        request.target = "/changed"
        request.headers["X-Added"] = "1"
        request.filter_body(Shout())
        response = self.app(request)
        del response.headers["X-Removed"]
        response.headers["X-Added"] = "2"
        response.filter_body(Shout())
        return response


def _breaking() -> Iterator[bytes]:
    yield b"one"
    raise ZeroDivisionError("secret detail")
