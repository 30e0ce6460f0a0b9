"""Requests and responses as they stood on the wire, and the grammar they are held to.

Stricter than a real peer and without a line in common with Pyrox: what the proxy writes must leave no doubt.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, field
from typing import Literal

Framing = Literal["none", "length", "chunked", "close"]
Ended = Literal["boundary", "eof", "reset"]

_field_line = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)").fullmatch
_request_line = re.compile(rb"[!-~]+ [!-~\x80-\xff]+ HTTP/1\.[01]").fullmatch
_status_line = re.compile(rb"HTTP/1\.[01] [1-9][0-9][0-9] [^\x00-\x08\x0a-\x1f\x7f]*").fullmatch
_length = re.compile(rb"[0-9]{1,19}").fullmatch


class Malformed(AssertionError):
    """A peer sent something that is not HTTP/1.1."""


@dataclass(repr=False)
class Message:
    """One message; ``lines`` are its field lines as received, without their CRLF."""

    start_line: bytes
    lines: list[bytes]
    framing: Framing = "none"
    body: bytes = b""
    trailers: list[bytes] = field(default_factory=list)
    ended: Ended = "boundary"

    def __post_init__(self) -> None:
        for line in self.lines:
            split_field(line)

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """``(name, value)`` of every field line, in order, names as sent."""
        return [split_field(line) for line in self.lines]

    def get(self, name: str) -> bytes | None:
        """Return the first value of ``name``, or None."""
        return next(iter(self.get_all(name)), None)

    def get_all(self, name: str) -> list[bytes]:
        """Return the value of every line called ``name``, in order."""
        key = name.lower().encode("latin-1")
        return [value for field_name, value in self.fields if field_name.lower() == key]

    def __repr__(self) -> str:
        lines = [reprlib.repr(line) for line in (self.start_line, *self.lines)]
        return f"<{' '.join(lines)} body {reprlib.repr(self.body)} {self.framing}, ended at {self.ended}>"

    @property
    def is_complete(self) -> bool:
        """Whether the message ended where its framing says (a close-delimited one: at a clean EOF)."""
        return self.ended == "boundary"


class WireRequest(Message):
    """A request as an origin saw it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if _request_line(self.start_line) is None:
            raise Malformed(f"not a request line: {self.start_line!r}")
        self.framing = declared_framing(self) or "none"

    @property
    def method(self) -> str:
        return self.start_line.split(b" ")[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.start_line.split(b" ")[1].decode("latin-1")


class WireResponse(Message):
    """A response as a client saw it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if _status_line(self.start_line) is None:
            raise Malformed(f"not a status line: {self.start_line!r}")
        has_no_body = self.status < 200 or self.status in (204, 304)
        self.framing = "none" if has_no_body else declared_framing(self) or "close"

    @property
    def status(self) -> int:
        return int(self.start_line.split(b" ")[1])

    @property
    def is_informational(self) -> bool:
        """Whether another response to the same request follows; a 101 is final."""
        return self.status < 200 and self.status != 101


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """Split a field line into name and value; raises ``Malformed`` when it is none (RFC 9112 5)."""
    match = _field_line(line)
    if match is None:
        raise Malformed(f"not a field line: {line!r}")
    return match[1], match[2].rstrip(b" \t")


def declared_framing(message: Message) -> Framing | None:
    """Say what the fields declare, None when nothing (RFC 9112 6.3); raises ``Malformed`` in doubt."""
    codings, lengths = message.get_all("transfer-encoding"), message.get_all("content-length")
    if (codings and lengths) or len(codings) > 1 or len(lengths) > 1:
        raise Malformed(f"ambiguous framing: {message.lines!r}")
    if codings and codings[0] != b"chunked":
        raise Malformed(f"unknown transfer coding {codings[0]!r}")
    if lengths and _length(lengths[0]) is None:
        raise Malformed(f"not a length: {lengths[0]!r}")
    return "chunked" if codings else "length" if lengths else None
