"""Regular expressions whose matching takes time in proportion to the text, whatever both are.

Patterns are the operator's, but the texts are anybody's, and Python's ``re`` backtracks: one path could
stop a worker for minutes. RE2 cannot be made to; it has no back-references and no look-around instead.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

INSTALL = "regular expressions need RE2; install it with: pip install 'pyrox[regex]'"


class Match(Protocol):
    """What a pattern found."""

    def group(self, number: int = 0, /) -> str | None: ...
    def start(self, number: int = 0, /) -> int: ...
    def end(self, number: int = 0, /) -> int: ...


class Pattern(Protocol):
    """A compiled regular expression."""

    @property
    def groups(self) -> int: ...
    def search(self, text: str, /) -> Match | None: ...


@lru_cache(maxsize=16384)
def compile_regex(pattern: str) -> Pattern:
    """Compile ``pattern``; raises ``ValueError`` when it is none, or when RE2 is not installed."""
    try:
        import re2
    except ImportError:
        raise ValueError(INSTALL) from None
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{pattern!r} is no regular expression here: {text}{_hint(pattern)}") from None
    return compiled


def _hint(pattern: str) -> str:
    if re.search(r"\\[1-9]|\(\?<?[=!]", pattern):
        return "; RE2 has no back-references and no look-around"
    return ""
