"""Patterns of paths, for rules about who may do what.

A rule that a client can get past by another spelling is none. So a path is judged in each reading that some
server could have of it (``pyrox.routing.paths``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pyrox.errors import HTTPError
from pyrox.http.headers import is_token
from pyrox.routing.paths import as_matched, readings
from pyrox.routing.regex import compile_regex

Found = tuple[int | None, ...]  # for each reading of a path: the first pattern that fits, or None

_MAX_REMEMBERED = 4096  # paths; clients choose them
_LONGEST_REMEMBERED = 256


class PathPatterns:
    """Patterns in their order, and which of them a path fits first.

    * ``/orders`` is that path, with or without a slash at its end.
    * ``*`` stands for one or more characters of one segment, once in it: ``/orders/*``, ``/v*/orders``.
    * ``/**`` at the end stands for all that is below, and for nothing: ``/admin/**`` is ``/admin``, too.
    * ``~ REGEX`` is an RE2 expression for the whole path, without a slash at its end.
    * ``*`` alone is the target of ``OPTIONS *``.

    With ``ignore_case`` upper and lower case are the same, for servers to whom they are.

    Raises ``ValueError`` for what is no pattern, and when an expression needs RE2 and it is not installed.
    """

    def __init__(self, patterns: Sequence[str], ignore_case: bool = False) -> None:
        self._ignore_case = ignore_case
        self._matchers = [_matcher(pattern, ignore_case) for pattern in patterns]
        self._known: dict[str, Found] = {}

    def find(self, path: str) -> Found | None:
        """Return what ``path``, as sent, fits in each of its readings; None when these are too many."""
        found = self._known.get(path)
        if found is None:
            paths = readings(path)
            if paths is None:
                return None
            found = tuple(dict.fromkeys(map(self._first, paths)))
            if len(path) <= _LONGEST_REMEMBERED:
                if len(self._known) >= _MAX_REMEMBERED:
                    self._known.clear()
                self._known[path] = found
        return found

    def _first(self, path: str) -> int | None:
        if len(path) > 1 and path.endswith("/"):
            path = path[:-1]
        if self._ignore_case:
            path = path.lower()
        for number, fits in enumerate(self._matchers):
            if fits(path):
                return number
        return None


def too_many_readings() -> HTTPError:
    """Return the error for a path that ``find`` has nothing for."""
    return HTTPError(400, "a path that can be read in too many ways")


def parse_methods(text: str) -> frozenset[str] | None:
    """Parse ``GET|POST``; ``*`` is None, for all.

    Raises ``ValueError`` for what are no methods in upper case.
    """
    if text == "*":
        return None
    methods = [method.strip() for method in text.split("|")]
    for method in methods:
        if not is_token(method) or method != method.upper():
            raise ValueError(f"{method!r} is no method; write them as GET|POST")
    return frozenset(methods)


def _matcher(pattern: str, ignore_case: bool) -> Callable[[str], object]:
    if pattern.startswith("~"):
        flags = "(?i)" if ignore_case else ""
        regex = pattern[1:].strip()
        compile_regex(regex)  # by itself, so that a message shows what was written, and a ")" closes nothing
        return compile_regex(rf"{flags}\A(?:{regex})\z").search
    if pattern == "*":
        return pattern.__eq__
    if not pattern.startswith("/") or re.search(r"[\s?#]", pattern):
        raise ValueError(f"{pattern!r} is no path pattern; it begins with / and has no blank, ? or #")
    text = as_matched(pattern)
    text = text.lower() if ignore_case else text
    head, tail = (text[:-3], True) if text.endswith("/**") else (text.removesuffix("/"), False)
    regex = "/".join(_segment(pattern, segment) for segment in head.split("/"))
    if not head and not tail:
        regex = "/"
    return re.compile(rf"{regex}(?:/.*)?" if tail else regex, re.DOTALL).fullmatch


def _segment(pattern: str, segment: str) -> str:
    # One star in a segment: with two, the time to find out could grow with the square of its length.
    if segment.count("*") > 1:
        raise ValueError(f"{pattern!r} has more than one star in a segment; /** can stand at its end only")
    return re.escape(segment).replace(r"\*", "[^/]+")
