"""``RouteTable``: every route, and the one that a request takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyrox.errors import ClientError
from pyrox.http.message import Request
from pyrox.routing.index import RouteIndex, keys_of, remainder
from pyrox.routing.paths import MOST_DIFFERENCES, is_odd, readings
from pyrox.routing.predicates import compile_rule
from pyrox.routing.rule import Rule
from pyrox.routing.subject import Subject, host_of


@dataclass(frozen=True, slots=True)
class RoutedRule:
    """A rule and what puts it in its place: a higher ``priority`` is tried first, then the earlier one."""

    name: str
    rule: Rule
    priority: int


class RouteTable:
    """Compiled once, asked for each request; routes are known by their rank in ``rules``."""

    def __init__(self, rules: Sequence[RoutedRule]) -> None:
        self.rules = sorted(rules, key=lambda rule: -rule.priority)  # a stable sort: ties by order
        self._index = RouteIndex()
        for rank, entry in enumerate(self.rules):
            self._index.add(rank, keys_of(entry.rule))
        rests = [remainder(entry.rule) for entry in self.rules]
        self._predicates = [None if rest is None else compile_rule(rest) for rest in rests]

    def find(self, request: Request) -> int | None:
        """Return the rank of the route that ``request`` takes, None when there is none.

        Raises ``ClientError`` 400 when servers may read its path in ways that take different routes.
        """
        host, path = host_of(request), request._target.partition("?")[0]
        if not is_odd(path):
            return self._find(request, host, path)
        paths = readings(path)
        if paths is None:
            raise ClientError(f"a path that can be read in more than {2**MOST_DIFFERENCES} ways")
        rank = self._find(request, host, paths[0])
        for path in paths[1:]:
            if self._find(request, host, path) != rank:
                raise ClientError(f"a path that takes another route when it is read as {path!r}")
        return rank

    def _find(self, request: Request, host: str, path: str) -> int | None:
        subject: Subject | None = None
        for rank in self._index.candidates(host, path):
            predicate = self._predicates[rank]
            if predicate is None:
                return rank
            if subject is None:
                subject = Subject(request, host, path)
            if predicate(subject):
                return rank
        return None

    def covering(self, rank: int) -> list[int]:
        """Return routes of a lower rank that may hold whenever that of ``rank`` does."""
        found: set[int] | None = None
        for key in keys_of(self.rules[rank].rule):
            covering = self._index.covering(key)
            found = covering if found is None else found & covering
        return sorted(other for other in found or () if other < rank)
