"""``Headers``: the field lines of a message, in order, case-insensitive, byte-exact.

A list of ``(lower-case name, name, value)`` and nothing else. Lower-casing once at parse time is what
makes every later question cheap: framing, forwarding and a user's lookup all compare the first item.
With a dozen fields a scan of the list beats building an index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import overload

from pyrox.http.field_names import CONNECTION_FIELDS

Field = tuple[bytes, bytes, bytes]
Run = tuple[list[Field], bytes]  # fields that follow each other, not to be changed, and their encoded form

# RFC 9110 5.6.2: token. RFC 9110 5.5: VCHAR, obs-text, SP and HTAB; other controls are what
# response splitting and log forging are made of.
is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
is_latin1 = re.compile(r"[\x00-\xff]*").fullmatch


def make_field(name: str, value: str) -> Field:
    """Check one field line and encode it.

    Raises ``ValueError`` when the name is not a token (RFC 9110 5.6.2), when the value holds a control
    character (RFC 9110 5.5) or a character outside latin-1, and ``TypeError`` when either is not a str.
    """
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"header name and value must be str, not {name!r}: {value!r}")
    lower, raw_name = _encode_name(name)
    if not value.isprintable() and has_control(value):  # the first is a fifth of the second's cost
        raise ValueError(f"control character in the value of header {name!r}: {value!r}")
    try:
        return lower, raw_name, value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"header {name!r} has a character outside latin-1: {value!r}") from None


def encode_run(fields: list[Field]) -> Run:
    """Return ``fields`` with their encoded form, in which those of the connection are left out."""
    lines = [b"%b: %b\r\n" % field[1:] for field in fields if field[0] not in CONNECTION_FIELDS]
    return fields, b"".join(lines)


@lru_cache(maxsize=512)
def _encode_name(name: str) -> tuple[bytes, bytes]:
    if is_token(name) is None:
        raise ValueError(f"invalid header name {name!r}")
    raw_name = name.encode("ascii")
    return raw_name.lower(), raw_name


def _key(name: str) -> bytes:
    # A name outside ASCII is nobody's, and "?" stands in no name. Lower-casing comes second because the
    # Kelvin sign's lower case is an ASCII k.
    return name.encode("ascii", "replace").lower()


class Headers(MutableMapping[str, str]):
    """The header fields of a message.

    Reads like a dict of str to str whose keys ignore case; a name may stand on several lines.

    * ``headers[name]`` and ``get(name)`` give the first line's value, ``get_all(name)`` every line's.
    * ``headers[name] = value`` leaves exactly one line; ``add(name, value)`` adds one.
    * Iteration and ``items()`` give every line in its order; ``len()`` counts lines.
    * Values are latin-1 text; ``fields`` holds the bytes as they stand on the wire.

    Framing and hop-by-hop fields (Content-Length, Transfer-Encoding, Connection ...) belong to the
    engine: it reads them before and writes them after the middleware, whatever is set here.
    """

    __slots__ = ("fields",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        if isinstance(items, Headers):
            self.fields: list[Field] = items.fields.copy()
            return
        pairs = items.items() if isinstance(items, Mapping) else items
        self.fields = [make_field(name, value) for name, value in pairs]

    @classmethod
    def from_fields(cls, fields: list[Field]) -> Headers:
        """Wrap parsed fields without copying or checking them."""
        headers = cls.__new__(cls)
        headers.fields = fields
        return headers

    def __getitem__(self, name: str) -> str:
        key = _key(name)
        for field in self.fields:
            if field[0] == key:
                return field[2].decode("latin-1")
        raise KeyError(name)

    @overload  # type: ignore[override]
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    @overload
    def get(self, name: str, default: None) -> str | None: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of ``name``, or ``default``."""
        key = _key(name)
        for field in self.fields:
            if field[0] == key:
                return field[2].decode("latin-1")
        return default

    def get_all(self, name: str) -> list[str]:
        """Return the value of every line called ``name``, in order."""
        key = _key(name)
        return [field[2].decode("latin-1") for field in self.fields if field[0] == key]

    def __setitem__(self, name: str, value: str) -> None:
        new = make_field(name, value)
        for position, field in enumerate(self.fields):
            if field[0] == new[0]:
                rest = [f for f in self.fields[position + 1 :] if f[0] != new[0]]
                self.fields[position:] = [new, *rest]
                return
        self.fields.append(new)

    def add(self, name: str, value: str) -> None:
        """Add one more line called ``name`` after all others."""
        self.fields.append(make_field(name, value))

    def update(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:  # type: ignore[override]
        """Replace every line whose name stands in ``items`` by the lines there, all of them."""
        new = Headers(items).fields
        names = {field[0] for field in new}
        self.fields = [field for field in self.fields if field[0] not in names] + new

    def __delitem__(self, name: str) -> None:
        key = _key(name)
        kept = [field for field in self.fields if field[0] != key]
        if len(kept) == len(self.fields):
            raise KeyError(name)
        self.fields = kept

    def discard(self, name: str) -> None:
        """Remove every line called ``name``, if there is any."""
        key = _key(name)
        self.fields = [field for field in self.fields if field[0] != key]

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        key = _key(name)
        return any(field[0] == key for field in self.fields)

    def __iter__(self) -> Iterator[str]:
        return (field[1].decode("latin-1") for field in self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]
        """Return ``(name, value)`` of every line, in order."""
        return [(f[1].decode("latin-1"), f[2].decode("latin-1")) for f in self.fields]

    def values(self) -> list[str]:  # type: ignore[override]
        """Return the value of every line, in order."""
        return [field[2].decode("latin-1") for field in self.fields]

    def copy(self) -> Headers:
        """Return an independent copy."""
        return Headers.from_fields(self.fields.copy())

    def __eq__(self, other: object) -> bool:
        """Equal when the lines are, names compared without case (RFC 9110 5.1)."""
        if isinstance(other, Headers):
            return [(f[0], f[2]) for f in self.fields] == [(f[0], f[2]) for f in other.fields]
        return NotImplemented

    def __repr__(self) -> str:
        return f"Headers({self.items()!r})"
