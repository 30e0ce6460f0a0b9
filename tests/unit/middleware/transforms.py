"""Two transforms that tests work with, and bodies in every coding."""

from __future__ import annotations

from typing import Any

from pyrox import Flow, Response, Transform
from pyrox.errors import ProxyError
from pyrox.http.decoding import Decoder
from pyrox.http.encoding import Encoder
from pyrox.testing import TestClient

CODINGS = ((), ("gzip",), ("deflate",), ("br",), ("zstd",), ("gzip", "br"))
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
JSON = {"Content-Type": "application/json"}
EVENTS = {"Content-Type": "text/event-stream"}


def encoded(data: bytes, codings: tuple[str, ...]) -> bytes:
    return Encoder(codings).finish(data) if codings else data


def decoded(data: bytes, codings: tuple[str, ...]) -> bytes:
    decoder = Decoder(codings, ProxyError)
    plain = b"".join(decoder.decode(data))
    decoder.finish()
    return plain


def coded(headers: dict[str, str], codings: tuple[str, ...]) -> dict[str, str]:
    return {**headers, "Content-Encoding": ", ".join(codings)} if codings else headers


def answer_of(
    transform: type[Transform], body: Any, headers: dict[str, str], status: int = 200, method: str = "GET"
) -> Any:
    return TestClient(transform, Response(status, body, headers)).request(method, "/")


class Upper(Transform):
    def on_request_text(self, text: str, flow: Flow) -> str:
        return text.upper()

    def on_response_text(self, text: str, flow: Flow) -> str:
        return text.upper()


class Count(Transform):
    """Adds a member to documents; leaves those alone that have it."""

    def on_request_json(self, value: Any, flow: Flow) -> Any:
        return self._count(value)

    def on_response_json(self, value: Any, flow: Flow) -> Any:
        return self._count(value)

    def _count(self, value: Any) -> Any:
        value.setdefault("count", 1)
        return value
