"""Where in a request a token stands: Authorization, a field of its own, or a cookie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from pyrox.errors import HTTPError
from pyrox.http.headers import Headers, is_token, make_field
from pyrox.http.message import Request
from pyrox.middleware.authentication import credentials_of


class TokenSource(Protocol):
    """One place; ``field`` is the request field it is in, for Vary."""

    field: str

    def find(self, request: Request) -> bytes | None:
        """Return the token, None when there is none. Raises ``HTTPError`` 400 when there are two."""

    def strip(self, headers: Headers) -> None:
        """Remove the token, and nothing else, from what goes upstream."""


def parse_sources(option: str, texts: Sequence[str]) -> list[TokenSource]:
    """Make sources of ``bearer``, ``header:NAME`` and ``cookie:NAME``; ``ValueError`` for anything else."""
    if not texts:
        raise ValueError(f"{option}: it is empty; write bearer, header:NAME or cookie:NAME")
    return [_parse(option, text) for text in texts]


def _parse(option: str, text: str) -> TokenSource:
    kind, _, name = text.partition(":")
    if text == "bearer":
        return BearerToken()
    if kind == "header" and is_token(name):
        return HeaderToken(name)
    if kind == "cookie" and is_token(name):
        return CookieToken(name)
    raise ValueError(f"{option}: {text!r} is not bearer, header:NAME or cookie:NAME")


class BearerToken:
    """``Authorization: Bearer TOKEN`` (RFC 6750 2.1)."""

    field = "Authorization"

    def find(self, request: Request) -> bytes | None:
        return credentials_of(request, b"bearer")

    def strip(self, headers: Headers) -> None:
        headers.discard("Authorization")


class HeaderToken:
    """A field of its own, whose whole value is the token."""

    def __init__(self, name: str) -> None:
        self._key, _, _ = make_field(name, "")
        self.field = name

    def find(self, request: Request) -> bytes | None:
        return _only([field[2] for field in request.headers.fields if field[0] == self._key], self.field)

    def strip(self, headers: Headers) -> None:
        headers.discard(self.field)


class CookieToken:
    """A cookie (RFC 6265 4.2.1)."""

    field = "Cookie"

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def find(self, request: Request) -> bytes | None:
        # A cookie set for a parent domain may come beside the right one, in either order: a classic way to
        # slip a victim the attacker's session. So two are none.
        values = [value for name, value in _cookies(request.headers) if name == self._name]
        return _only(values, f"cookie {self._name.decode()}")

    def strip(self, headers: Headers) -> None:
        kept = [name + b"=" + value for name, value in _cookies(headers) if name != self._name]
        headers.discard("Cookie")
        if kept:
            headers.fields.append((b"cookie", b"Cookie", b"; ".join(kept)))


def _only(values: list[bytes], what: str) -> bytes | None:
    if len(values) > 1:
        raise HTTPError(400, f"more than one {what}")
    return values[0] if values else None


def _cookies(headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    for key, _, line in headers.fields:
        if key == b"cookie":
            for pair in line.split(b";"):
                name, equals, value = pair.strip(b" \t").partition(b"=")
                if equals:
                    yield name, value
