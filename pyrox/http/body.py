"""``Message``: what requests and responses share, and that is mostly a body.

A body is bytes, or an iterable of bytes that can be read once; filters change it while it streams by.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from pyrox.errors import ProxyError
from pyrox.http.headers import Headers, Run

Body = bytes | Iterable[bytes]
HeaderItems = Mapping[str, str] | Iterable[tuple[str, str]]


class BodyFilterLike(Protocol):
    """What ``filter_body`` accepts; see ``pyrox.middleware.BodyFilter``."""

    def feed(self, chunk: bytes, /) -> bytes: ...
    def finish(self) -> bytes: ...


class Message:
    """What requests and responses share: a version, headers, a body and filters on it."""

    __slots__ = ("_body", "_filters", "_known", "headers", "trailers", "version")

    def __init__(self, body: Body | str, headers: HeaderItems) -> None:
        self.version = "1.1"
        self.headers = Headers(headers)
        self.trailers: Headers | None = None
        self._body: Body = _as_body(body)
        self._filters: list[BodyFilterLike] | None = None
        self._known: tuple[Run, ...] = ()  # what its fields begin with, unless a middleware changes them

    @property
    def body(self) -> Body:
        """The body: bytes, or an iterable of bytes that can be read once.

        ``b""`` is an empty body. Assigning replaces the body and forgets the filters on the old one;
        the engine works out the framing afterwards.
        """
        return self._body if self._filters is None else self.stream()

    @body.setter
    def body(self, body: Body | str) -> None:
        self._body = _as_body(body)
        self._filters = None

    def filter_body(self, body_filter: BodyFilterLike) -> None:
        """Pass every chunk of the body through ``body_filter`` as it streams by.

        Filters run in the order in which they were added. The length is no longer known, so the
        engine sends the message chunked (or until close, to an HTTP/1.0 client).
        """
        if self._filters is None:
            self._filters = []
        self._filters.append(body_filter)

    def stream(self) -> Iterator[bytes]:
        """Yield the body's chunks, filtered; none of them is empty."""
        chunks = (self._body,) if isinstance(self._body, bytes) else self._body
        for body_filter in self._filters or ():
            chunks = _filtered(chunks, body_filter)
        return (chunk for chunk in chunks if chunk)

    def read_body(self, limit: int = 1 << 20) -> bytes:
        """Read the whole body into memory, keep it as the message's body and return it.

        At most ``limit`` bytes (default 1 MiB); a longer one raises the error of ``_too_long``:
        413 for a request, 502 for a response.
        """
        if isinstance(self._body, bytes) and self._filters is None:
            if len(self._body) > limit:
                raise self._too_long(limit)
            return self._body
        received = bytearray()
        for chunk in self.stream():
            received += chunk
            if len(received) > limit:
                raise self._too_long(limit)
        self.body = bytes(received)
        return self._body  # type: ignore[return-value]

    def json(self, limit: int = 1 << 20) -> Any:
        """Read the body and decode it as JSON; raises ``ValueError`` when it is none."""
        return json.loads(self.read_body(limit))

    def _too_long(self, limit: int) -> ProxyError:
        raise NotImplementedError


def known_length(message: Message) -> int | None:
    """Return how many bytes the body has, as far as that can be told before it is read; else None."""
    body = message._body
    if message._filters is not None:
        return None
    # A body that is still arriving, with a Content-Length, knows it.
    return len(body) if isinstance(body, bytes) else getattr(body, "length_to_come", None)


def _as_body(body: Body | str) -> Body:
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    if not isinstance(body, bytes) and not isinstance(body, Iterable):
        raise TypeError(f"a body is bytes or an iterable of bytes, not {body!r}")
    return body


def _filtered(chunks: Iterable[bytes], body_filter: BodyFilterLike) -> Iterator[bytes]:
    for chunk in chunks:
        if chunk:  # the filter before this one may have had nothing to send yet
            yield body_filter.feed(chunk)
    yield body_filter.finish()
