"""The escapes of transcript lines; see the package."""

from __future__ import annotations

import re

_SINGLE = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_token = re.compile(r"\\(?:([rnt0\\])|x([0-9A-Fa-f]{2})|\{([0-9]+)\*)|([^\\])").match


def unescape(line: str) -> bytes:
    """Turn one line of a transcript into bytes, CRLF included unless it ends in a backslash.

    Raises ``ValueError`` for an escape that does not exist.
    """
    is_continued = (len(line) - len(line.rstrip("\\"))) % 2 == 1
    text = line[:-1] if is_continued else line
    decoded, position = _decode(text, 0, depth=0)
    if position < len(text):
        raise ValueError(f"nothing known at {text[position:]!r}")
    return decoded if is_continued else decoded + b"\r\n"


def _decode(text: str, position: int, depth: int) -> tuple[bytes, int]:
    """Decode up to the end, or, inside a repetition, up to its brace."""
    decoded = bytearray()
    while match := _token(text, position):
        single, code, count, plain = match.groups()
        if plain == "}" and depth:
            break
        position = match.end()
        if count:
            repeated, position = _decode(text, position, depth + 1)
            decoded += repeated * int(count)
            position += 1  # its brace
        else:
            decoded += _SINGLE[single] if single else bytes.fromhex(code) if code else plain.encode("latin-1")
    return bytes(decoded), position
