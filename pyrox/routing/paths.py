"""What the path of a request is, for rules: every reading of it that a server might have.

Whoever sends ``/public/..%2Fadmin`` hopes that the proxy sees ``/public`` and the server ``/admin``. No one
normal form helps: servers differ in whether they decode ``%2F``, take ``\\`` for a slash, merge ``//``,
resolve dots, drop ``;parameters``, or stop at an escaped NUL, ``?`` or ``#``. So each such difference that
a path could make is followed both ways, and a request is refused where the readings would take different
routes (docs/routing.md). Paths without any of this, nearly all, have one reading: themselves.

In the form that is matched, escapes of visible ASCII are decoded, except those that mean something else
than the character (``%25`` and the ones above); all others are in upper case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from urllib.parse import quote

# Beyond so many differences at once a path is nobody's honest one, and its readings are too many.
MOST_DIFFERENCES = 4

# Whether a path has anything that could be read in two ways; nearly all have not.
is_odd = re.compile(r"[%\\;]|//|/\.").search
_escape = re.compile(r"%([0-9A-Fa-f]{2})")
_KEPT = frozenset(b"%/\\?#")
_DECODED = {
    f"{code:02X}": chr(code) if 0x21 <= code <= 0x7E and code not in _KEPT else f"%{code:02X}"
    for code in range(256)
}
_END = re.compile(r"%00|%3F|%23")
_DOTS = re.compile(r"(?:^|/)\.\.?(?:/|$)")


def readings(path: str) -> tuple[str, ...] | None:
    """Return the ways to read ``path``, each once, as it stands first; None when they are too many."""
    if is_odd(path) is None:
        return (path,)
    literal = as_matched(path)
    # What differences there can be shows when everything that could be a slash is one, and what could be
    # the end ends a segment.
    most = _with_slashes(_with_backslashes(literal))
    steps: list[Callable[[str], str]] = [
        step
        for step, is_possible in (
            (_up_to_end, _END.search(literal) is not None),
            (_with_slashes, "%2F" in literal),
            (_with_backslashes, "\\" in literal or "%5C" in literal),
            (_without_parameters, ";" in literal),
            (_merged, "//" in most or ";" in most),
            (_without_dots, _DOTS.search(_without_parameters(_END.sub("/", most))) is not None),
        )
        if is_possible
    ]
    if len(steps) > MOST_DIFFERENCES:
        return None
    found = {literal: None}
    for choice in product((False, True), repeat=len(steps)):
        reading = literal
        for step, is_taken in zip(steps, choice, strict=True):
            reading = step(reading) if is_taken else reading
        found[reading] = None
    return tuple(found)


def leads_up(path: str) -> bool:
    """Tell whether a server may find a ``..`` in ``path``, which is as sent."""
    if is_odd(path) is None:
        return False
    most = _with_slashes(_with_backslashes(_END.sub("/", as_matched(path))))
    return ".." in _without_parameters(most).split("/")


def as_matched(path: str) -> str:
    """Return ``path`` in the form in which paths are compared, all of it read as it stands."""
    if not path.isascii() or " " in path:
        path = quote(path, safe="%!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    return _escape.sub(lambda found: _DECODED[found[1].upper()], path)


def has_escape_left(path: str) -> bool:
    """Tell whether ``path``, as matched, has an escape that some servers read as a mark and some do not."""
    return re.search(r"%(?:2F|5C|00|3F|23)", path) is not None


def after_prefix(path: str, prefix: str) -> str | None:
    """Return what follows ``prefix`` in ``path``, as the client wrote it; None when it is no prefix.

    ``path`` is as sent, ``prefix`` in the form that is matched. A prefix ends with a segment.
    """
    if path.startswith(prefix):  # nearly always
        rest = path[len(prefix) :]
    else:
        matched, position = "", 0
        while len(matched) < len(prefix) and position < len(path):
            length = 3 if _escape.match(path, position) else 1
            matched += as_matched(path[position : position + length])
            position += length
        if matched != prefix:
            return None
        rest = path[position:]
    return rest if not rest or rest[0] == "/" or prefix.endswith("/") else None


def _up_to_end(path: str) -> str:
    return _END.split(path, maxsplit=1)[0]


def _with_slashes(path: str) -> str:
    return path.replace("%2F", "/")


def _with_backslashes(path: str) -> str:
    return path.replace("%5C", "/").replace("\\", "/")


def _without_parameters(path: str) -> str:
    return re.sub(r";[^/]*", "", path)


def _merged(path: str) -> str:
    return re.sub(r"//+", "/", path)


def _without_dots(path: str) -> str:
    """RFC 3986 5.2.4, remove_dot_segments."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
