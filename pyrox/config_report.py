"""``Report``: every problem of a configuration, each as one line that says where it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from pyrox.errors import ConfigError


class Report:
    """Collects problems.

    ``source`` is the file they are in; options named in ``overrides`` (section -> keys) did not come
    from there but from the command line.
    """

    def __init__(self, source: str, overrides: Mapping[str, Collection[str]]) -> None:
        self.problems: list[str] = []
        self.source = source
        self._overrides = overrides

    def add(self, section: str, key: str, reason: str, subsection: str = "") -> None:
        """Note ``file: [section] [[subsection]] key: reason``, without the parts that are empty."""
        overridden = not subsection and key in self._overrides.get(section, ())
        place = [f"[{section}]"] if section else []
        place += [f"[[{subsection}]]"] if subsection else []
        place += [key] if key else []
        self.problems.append(f"{'command line' if overridden else self.source}: {' '.join(place)}: {reason}")

    def add_line(self, line: int, reason: str) -> None:
        """Note ``file:line: reason``."""
        self.problems.append(f"{self.source}:{line}: {reason}")

    def raise_if_any(self) -> None:
        """Raise ``ConfigError`` when there are problems."""
        if self.problems:
            raise ConfigError(self.problems)


def did_you_mean(word: str, candidates: Collection[str], template: str = "{}") -> str:
    """Return ``; did you mean X?`` with the candidate most like ``word``, or ``""`` when none is."""
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    matches = get_close_matches(word.lower(), by_lower_case, n=1)
    return f"; did you mean {template.format(by_lower_case[matches[0]])}?" if matches else ""
