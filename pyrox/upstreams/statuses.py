"""Sets of status codes, as in ``200-299, 304``."""

from __future__ import annotations

from collections.abc import Iterable


def parse_statuses(ranges: Iterable[str]) -> frozenset[int]:
    """Return the codes that ``ranges``, each ``304`` or ``200-299``, name."""
    statuses: set[int] = set()
    for text in ranges:
        first, _, last = text.partition("-")
        statuses.update(range(int(first), int(last or first) + 1))
    return frozenset(statuses)
