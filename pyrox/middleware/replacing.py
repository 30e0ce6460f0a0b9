"""Finding and replacing in text that streams by, with the same result wherever it was cut.

A ``Replacer`` runs text through its rules, one after another. Each holds back what could still become a
match: of a literal no more than its beginning, of a regular expression twice its longest match. That
bound is also what keeps time linear: no search looks further than that, whatever the text.

It is all done on UTF-8, which RE2 reads without another copy, and in which bytes that were no text
(surrogates, here) stand as themselves and never match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from pyrox.routing.regex import compile_regex

# Calls cost more than searching does. Many steps at once would make a pattern slow that matches everywhere.
_STEPS_AT_ONCE = 8

_split_template = re.compile(r"\\(\d|g<\d+>|\\)").split


class Match(Protocol):
    """What a pattern found in UTF-8."""

    def group(self, number: int = 0, /) -> bytes | None: ...
    def start(self) -> int: ...
    def end(self) -> int: ...


class _Pattern(Protocol):
    @property
    def groups(self) -> int: ...
    def search(self, text: bytes, start: int = 0, end: int | None = None, /) -> Match | None: ...


Substitute = Callable[[Match], bytes]


class Rule(Protocol):
    """What is to be replaced: ``start`` gives what does it in one text, ``is_in`` whether it is there."""

    def start(self) -> Stage: ...
    def is_in(self, data: bytes) -> bool: ...


class Stage(Protocol):
    """One rule at work in one text."""

    def feed(self, data: bytes, final: bool) -> bytes: ...


class LiteralRule:
    """Replaces every ``old`` by ``new``; raises ``ValueError`` when ``old`` is empty."""

    def __init__(self, old: str, new: str) -> None:
        if not old:
            raise ValueError("there is nothing to look for")
        self._old, self._new = old.encode(), new.encode()
        # What it may begin with, the longest first.
        self._beginnings = [self._old[:length] for length in range(len(self._old) - 1, 0, -1)]

    def start(self) -> Stage:
        return _LiteralStage(self._old, self._new, self._beginnings)

    def is_in(self, data: bytes) -> bool:
        return self._old in data


class _LiteralStage:
    __slots__ = ("_beginnings", "_held", "_new", "_old")

    def __init__(self, old: bytes, new: bytes, beginnings: Sequence[bytes]) -> None:
        self._old, self._new = old, new
        self._beginnings = beginnings
        self._held = b""

    def feed(self, data: bytes, final: bool) -> bytes:
        *before, rest = (self._held + data).split(self._old)
        self._held = b"" if final else next((part for part in self._beginnings if rest.endswith(part)), b"")
        before.append(rest[: len(rest) - len(self._held)])
        return self._new.join(before)


class RegexRule:
    """Replaces what a regular expression matches, up to ``longest`` bytes of it.

    ``substitute`` makes of a match what is put in its place, or is a template for it.
    A match that would be longer may be cut short. The empty match is none. Raises ``ValueError`` for a
    pattern that RE2 does not take.
    """

    def __init__(self, pattern: str, substitute: Substitute | str, longest: int) -> None:
        compiled: _Pattern = compile_regex(pattern)  # type: ignore[assignment]
        self._pattern = compiled
        self._longest = longest
        self._substitute = (
            _expander(substitute, compiled.groups) if isinstance(substitute, str) else substitute
        )

    def start(self) -> Stage:
        return _RegexStage(self._pattern, self._substitute, self._longest)

    def is_in(self, data: bytes) -> bool:
        return self._pattern.search(data) is not None


class _RegexStage:
    """Walks through the text in steps that depend on the text alone.

    A step looks at ``2 * longest`` bytes and the next one, so that ``$`` and ``\\b`` see what follows. A
    match that starts in the first half is replaced, and the next step is behind it; without one the next
    step is half of that further.
    """

    __slots__ = ("_at", "_held", "_longest", "_pattern", "_substitute")

    def __init__(self, pattern: _Pattern, substitute: Substitute, longest: int) -> None:
        self._pattern = pattern
        self._substitute = substitute
        self._longest = longest
        self._held = b""
        self._at = 0  # where the next step is in it; the byte before is there for ``^`` and ``\\b``

    def feed(self, data: bytes, final: bool) -> bytes:
        text, at = self._held + data, self._at
        size, half = len(text), self._longest
        made: list[bytes] = []
        is_quiet = True  # the last step found nothing, so the next may not either
        while at < size and (final or size - at > 2 * half):
            if is_quiet and (steps := self._steps_without_match(text, at)):
                made.append(text[at : at + steps * half])
                at += steps * half
            match = self._pattern.search(text, at, min(at + 2 * half, size))
            is_quiet = match is None or match.start() >= at + half
            if match is not None and not is_quiet:
                start, end = match.start(), match.end()
                if end > start:
                    made += text[at:start], self._substitute(match)
                else:
                    end = start + 1
                    made.append(text[at:end])
            else:
                end = min(at + half, size)
                made.append(text[at:end])
            at = end
        kept = max(at - 1, 0)
        self._held, self._at = text[kept:], at - kept
        return b"".join(made)

    def _steps_without_match(self, text: bytes, at: int) -> int:
        """Return how many of the next steps can be known to find nothing, by one search for all of them."""
        half = self._longest
        end = min(at + _STEPS_AT_ONCE * half, len(text))
        if end - at <= 3 * half:
            return 0
        match = self._pattern.search(text, at, end)
        # The last of these steps, and the one after them, still see all that they may look at.
        known = (end - at - 1) // half - 2
        return known if match is None else min(known, (match.start() - at) // half)


class Replacer:
    """Several rules at work in one text, the first one first."""

    __slots__ = ("_held", "_stages")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._stages = [rule.start() for rule in rules]
        self._held = b""  # of a character that is not complete

    def feed(self, text: str, final: bool = False) -> str:
        """Return what is decided with ``text``; ``final`` for the last of it, which may be empty."""
        data = text.encode("utf-8", "surrogateescape")
        for stage in self._stages:
            data = stage.feed(data, final)
        data = self._held + data
        end = len(data) if final else _whole_characters(data)
        self._held = data[end:]
        return data[:end].decode("utf-8", "surrogateescape")


def replace_all(rules: Sequence[Rule], text: str) -> str:
    """Return what ``rules`` make of a whole text."""
    data = text.encode("utf-8", "surrogateescape")
    if not any(rule.is_in(data) for rule in rules):
        return text
    return Replacer(rules).feed(text, final=True)


def _whole_characters(data: bytes) -> int:
    """Return how much of ``data`` to decode now: the last character, if its end may be missing, later."""
    for back in range(1, min(len(data), 3) + 1):
        byte = data[-back]
        if byte >= 0xC0:  # the first of 2, 3 or 4 bytes
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) if back >= wanted else len(data) - back
        if byte < 0x80:
            break
    return len(data)


def _expander(template: str, groups: int) -> Substitute:
    """Return what fills in ``\\1``, ``\\g<12>`` and ``\\\\``; ``ValueError`` for a group there is not."""
    texts: list[bytes] = []
    numbers: list[int | None] = []
    for position, part in enumerate(_split_template(template)):
        if position % 2 == 0 or part == "\\":
            texts.append(part.encode())
            numbers.append(None)
            continue
        number = int(part.strip("g<>"))
        if number > groups:
            raise ValueError(f"{template!r} names group {number}, and there are {groups}")
        texts.append(b"")
        numbers.append(number)
    pieces = list(zip(texts, numbers, strict=True))
    if all(number is None for number in numbers):
        constant = b"".join(texts)
        return lambda match: constant
    return lambda match: b"".join(
        [text if number is None else match.group(number) or b"" for text, number in pieces]
    )
