"""``Identity``: who a request comes from, as authentication has found out, and how upstream is told.

Whatever authenticates calls ``identify``; whatever authorizes, limits or logs asks ``identity_of``. The two
need not know each other. ``authentication.py`` has what all that authenticates shares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyrox.http.field_names import CONNECTION_FIELDS, PROTECTED_FIELDS, normal_name, normal_names
from pyrox.http.headers import Field, Headers, make_field
from pyrox.http.message import Request

_KEY = "identity"  # in request.state

_is_plain = re.compile(r"[!-$&-~](?:[ -$&-~]*[!-$&-~])?").fullmatch
_quoted = re.compile(r"^ +| +$|[^ -~]|%")


@dataclass(frozen=True, slots=True)
class Identity:
    """One verified identity.

    * ``name``: the user, client or service; never empty.
    * ``roles`` and ``scopes``: what it may act as, and what it may do.
    * ``claims``: all else that its proof says (a token's claims, a certificate's fields), read only.
    * ``verified_by``: the kind of middleware that verified it, for example ``"jwt_auth"``.
    """

    name: str
    verified_by: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict)


def identify(request: Request, identity: Identity) -> None:
    """Note who ``request`` comes from; a later authentication replaces an earlier one's."""
    request.state[_KEY] = identity


def identity_of(request: Request) -> Identity | None:
    """Return who ``request`` comes from; None when nobody has authenticated it."""
    return request.state.get(_KEY)


def quote_identity(text: str) -> str:
    """Return ``text`` as the value of a field.

    Printable ASCII stays as it is, except ``%``. That and all else become the percent-encoded bytes of their
    UTF-8 form, and so do blanks at the ends, which a field loses. So no name can end the field or look like
    another one: decoding gives back the name.
    """
    return text if _is_plain(text) else _quoted.sub(_percent, text)


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _quote_item(text: str) -> str:
    return quote_identity(text).replace(",", "%2C")


class IdentityFields:
    """The request fields in which a middleware tells upstream what it knows about the client.

    ``options`` are the middleware's options with the name of a field each, None for one that is not sent.
    Raises ``ValueError`` that begins with the option for a name that cannot be a field's, is taken, or stands
    there twice. The middleware's ``reserved_fields`` has to return the same names: it is what keeps clients
    from sending them where the middleware is not asked.
    """

    def __init__(self, **options: str | None) -> None:
        self._fields: dict[str, tuple[bytes, bytes]] = {}
        for option, name in options.items():
            if name is not None:
                self._fields[option] = _check_name(option, name)
        self.names = normal_names(name.decode() for _, name in self._fields.values())
        self._lengths = frozenset(map(len, self.names))
        if len(self.names) < len(self._fields):
            raise ValueError(f"{', '.join(self._fields)}: two of them name the same field")

    def clear(self, headers: Headers) -> None:
        """Remove every spelling of the fields, whoever set them."""
        names, lengths = self.names, self._lengths
        for line in headers.fields:
            # Every spelling of a name has its length, and lengths are compared in a fifth of the time.
            if len(line[0]) in lengths and normal_name(line[0]) in names:
                break
        else:
            return  # nearly always: what clients send has been dropped while the request was parsed
        headers.fields = [line for line in headers.fields if normal_name(line[0]) not in names]

    def encode(self, values: Mapping[str, str | Iterable[str]]) -> list[Field]:
        """Return ``values``, by option, as fields; several items of one are sorted and joined by commas,
        those in them being ``%2C``.

        An option whose value is empty, or not among them, gets no field.
        """
        return [
            self._encode(option, value)
            for option, value in values.items()
            if value and option in self._fields
        ]

    def tell(self, headers: Headers, values: Mapping[str, str | Iterable[str]]) -> None:
        """Leave exactly these ``values`` in the fields."""
        self.clear(headers)
        headers.fields += self.encode(values)

    def _encode(self, option: str, value: str | Iterable[str]) -> Field:
        text = quote_identity(value) if isinstance(value, str) else ",".join(map(_quote_item, sorted(value)))
        return (*self._fields[option], text.encode("ascii"))


def _check_name(option: str, name: str) -> tuple[bytes, bytes]:
    try:
        lower, raw, _ = make_field(name, "")
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if not PROTECTED_FIELDS.isdisjoint(normal_names([name])) or lower in CONNECTION_FIELDS:
        raise ValueError(f"{option}: {name} has another meaning; choose a field such as X-Auth-User")
    return lower, raw
