"""``api_key``: programs with keys, known by the hashes of these."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from pyrox.errors import HTTPError
from pyrox.http.cookies import take_cookie
from pyrox.http.headers import is_token
from pyrox.http.message import Request
from pyrox.middleware.authentication import (
    ROLES_HEADER,
    SCOPES_HEADER,
    USER_HEADER,
    Authentication,
    make_challenge,
)
from pyrox.middleware.base import App
from pyrox.middleware.identity import Identity, IdentityFields
from pyrox.middleware.watched_file import WatchedFile

Keys = Mapping[bytes, Identity]  # by the SHA-256 of the key

_EMPTY = hashlib.sha256().digest()  # what a variable that is not set makes of the documented command

_is_hash = re.compile(r"[0-9a-f]{64}").fullmatch


class ApiKey(Authentication):
    """Lets in who shows a key that is known here by its SHA-256, which cannot be turned back into the key.

    Make keys of 128 bits or more by chance, such as those of ``openssl rand -hex 32``; their hashes come from
    ``printf %s KEY | sha256sum``. A request that shows two different keys is refused.

    * ``keys``: a subsection with lines ``name = hash``. More items of a line are more hashes, while keys are
      exchanged, and ``role:NAME`` or ``scope:NAME``.
    * ``file``: a file of such lines, for which no reload is needed: a change is noticed within two seconds.
    * ``header``: the field that has the key; empty for none. Default ``X-API-Key``.
    * ``scheme``: what stands before the key in that field, such as ``Bearer`` in ``Authorization``. Default
      none.
    * ``query``: the parameter of the query that has it. Keys in URLs get into logs, also that of Pyrox.
      Default none.
    * ``cookie``: the cookie that has it. Default none.
    * ``realm``: the name of what is protected. Default ``restricted``.
    * ``optional``: let requests without a key pass. Default ``no``.
    * ``strip``: take the key off what goes upstream. Default ``yes``.
    * ``user_header``, ``roles_header``, ``scopes_header``: the fields that tell upstream; empty for none.
      Default ``X-Auth-User``, ``X-Auth-Roles`` and ``X-Auth-Scopes``.
    """

    def __init__(
        self,
        app: App,
        keys: Mapping[str, Sequence[str]] | None = None,
        file: Path | None = None,
        header: str | None = "X-API-Key",
        scheme: str = "",
        query: str = "",
        cookie: str = "",
        realm: str = "restricted",
        optional: bool = False,
        strip: bool = True,
        user_header: str | None = USER_HEADER,
        roles_header: str | None = ROLES_HEADER,
        scopes_header: str | None = SCOPES_HEADER,
    ) -> None:
        fields = IdentityFields(
            user_header=user_header, roles_header=roles_header, scopes_header=scopes_header
        )
        varies_by = ", ".join(name for name in (header, "Cookie" if cookie else "") if name)
        challenge = make_challenge(scheme or "ApiKey", realm=realm)
        super().__init__(app, challenge, optional, fields, varies_by)
        if not keys and file is None:
            raise ValueError("keys: neither it nor file has a key, so nobody would be let in")
        self._keys = parse_keys(keys or {})
        self._file = None if file is None else WatchedFile("file", file, parse_key_file)
        self._places = _places(header, scheme, query, cookie)
        self._strip = strip

    def authenticate(self, request: Request) -> Identity | None:
        shown = [key for place in self._places for key in place.find(request)]
        if not shown:
            return None
        if len(set(shown)) > 1:
            raise HTTPError(400, "more than one key")
        # What can be measured of a look-up tells of the hash, and nobody can choose the beginning of that.
        digest = hashlib.sha256(shown[0]).digest()
        identity = self._keys.get(digest)
        if identity is None and self._file is not None:
            identity = self._file.current().get(digest)
        if identity is None:
            raise self.unauthorized(request)
        if self._strip:
            for place in self._places:
                place.remove(request)
        return identity


def parse_keys(lines: Mapping[str, Sequence[str]]) -> Keys:
    """Parse the lines of ``keys``: names, each with hashes, roles and scopes.

    Raises ``ValueError`` that begins with ``keys``, and names the line.
    """
    keys: dict[bytes, Identity] = {}
    for name, items in lines.items():
        try:
            _add(keys, name, items)
        except ValueError as error:
            raise ValueError(f"keys: {name}: {error}") from None
    return keys


def parse_key_file(text: bytes) -> Keys:
    """Parse lines ``name = hash, role:NAME, scope:NAME``; ``#`` begins a comment.

    Raises ``ValueError`` that names the line.
    """
    keys: dict[bytes, Identity] = {}
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            name, equals, items = line.decode().partition("=")
            if not name.strip() or not equals:
                raise ValueError("is not name = hash")
            _add(keys, name.strip(), [item.strip() for item in items.split(",")])
        except ValueError as error:
            reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            raise ValueError(f"line {number}: {reason}") from None
    if not keys:
        raise ValueError("there is no key in it")
    return keys


def _add(keys: dict[bytes, Identity], name: str, items: Sequence[str]) -> None:
    """Add what one line says; ``ValueError`` does not show what may be a key."""
    kinds: dict[str, set[str]] = {"role": set(), "scope": set()}
    hashes = []
    for item in items:
        kind, colon, value = item.partition(":")
        if colon and kind in kinds and value:
            kinds[kind].add(value)
        elif _is_hash(item.lower()):
            hashes.append(bytes.fromhex(item))
        else:
            raise ValueError(
                "has an item that is no SHA-256 in hexadecimal, no role:NAME and no scope:NAME; "
                "make the hash of a key with: printf %s KEY | sha256sum"
            )
    if _EMPTY in hashes:
        raise ValueError("has the hash of an empty key")
    if not hashes:
        raise ValueError("has no hash")
    identity = Identity(name, "api_key", frozenset(kinds["role"]), frozenset(kinds["scope"]))
    for digest in hashes:
        if digest in keys:
            raise ValueError(f"has the same hash as {keys[digest].name}")
        keys[digest] = identity


class _InField:
    """A request field, the whole of it or what stands behind a scheme."""

    def __init__(self, name: str, scheme: str) -> None:
        self._name = name.lower().replace("_", "-").encode("ascii")
        self._scheme = scheme.lower().encode("ascii")

    def find(self, request: Request) -> list[bytes]:
        name, length = self._name, len(self._name)
        values = [
            value
            for lower, _, value in request.headers.fields
            if len(lower) == length and lower.replace(b"_", b"-") == name
        ]
        if not self._scheme:
            return values
        if len(values) > 1:
            raise HTTPError(400, "more than one field for the key")
        return [value.partition(b" ")[2].strip(b" ") for value in values if self._has_scheme(value)]

    def remove(self, request: Request) -> None:
        name, length = self._name, len(self._name)
        request.headers.fields = [
            field
            for field in request.headers.fields
            if len(field[0]) != length
            or field[0].replace(b"_", b"-") != name
            or not self._has_scheme(field[2])
        ]

    def _has_scheme(self, value: bytes) -> bool:
        """Tell whether ``value`` can have a key; other schemes of Authorization are not this middleware's."""
        return not self._scheme or value.partition(b" ")[0].lower() == self._scheme


class _InQuery:
    """A parameter of the query; its name may be spelled with escapes."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def find(self, request: Request) -> list[bytes]:
        if "?" not in request.target:
            return []
        pairs = (part.partition("=") for part in request.query.split("&"))
        return [_decoded(value) for name, _, value in pairs if _decoded(name) == self._name]

    def remove(self, request: Request) -> None:
        path, mark, query = request.target.partition("?")
        if mark:
            parts = query.split("&")
            kept = [part for part in parts if _decoded(part.partition("=")[0]) != self._name]
            if len(kept) < len(parts):
                request.target = path + (f"?{'&'.join(kept)}" if kept else "")


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))


class _InCookie:
    """A cookie."""

    def __init__(self, name: str) -> None:
        self._name = name.encode("ascii")

    def find(self, request: Request) -> list[bytes]:
        lines = [field[2] for field in request.headers.fields if field[0] == b"cookie"]
        pairs = (pair.partition(b"=") for line in lines for pair in line.split(b";"))
        return [value.strip() for name, _, value in pairs if name.strip() == self._name]

    def remove(self, request: Request) -> None:
        take_cookie(request.headers, self._name)


def _places(
    header: str | None, scheme: str, query: str, cookie: str
) -> list[_InField | _InQuery | _InCookie]:
    for option, name in (("header", header), ("scheme", scheme), ("cookie", cookie)):
        if name and not is_token(name):
            raise ValueError(f"{option}: {name!r} has a character that it cannot have")
    if scheme and not header:
        raise ValueError("scheme: stands before the key in a header, but there is none")
    places: list[_InField | _InQuery | _InCookie] = []
    if header:
        places.append(_InField(header, scheme))
    if query:
        places.append(_InQuery(query))
    if cookie:
        places.append(_InCookie(cookie))
    if not places:
        raise ValueError("header: neither it nor query nor cookie says where the key is")
    return places
