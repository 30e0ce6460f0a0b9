"""``Lineup``: the members that may be chosen now."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate

from pyrox.upstreams.member import Member


class Lineup:
    """Members, at least one, and their weights at one moment; a change of either makes a new lineup.

    ``is_even``: all have the same weight.
    """

    __slots__ = ("_cumulative", "is_even", "members")

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self._cumulative = list(accumulate(member.weight for member in self.members))
        self.is_even = len({member.weight for member in self.members}) == 1

    def pick(self, at: float) -> Member:
        """Return a member: of all numbers from 0 to 1, each has a part as large as its weight's."""
        if self.is_even:
            return self.members[int(at * len(self.members))]
        return self.members[self._position(at * self._cumulative[-1])]

    def pick_two(self, first: float, second: float) -> tuple[Member, Member]:
        """Return two members, by weight, the second from what the first has left; one alone comes twice."""
        members, cumulative = self.members, self._cumulative
        if len(members) == 1:
            return members[0], members[0]
        if self.is_even:
            one = int(first * len(members))
            two = int(second * (len(members) - 1))
            return members[one], members[two + (two >= one)]
        one = self._position(first * cumulative[-1])
        weight = members[one].weight
        point = second * (cumulative[-1] - weight)
        if point >= cumulative[one] - weight:
            point += weight
        return members[one], members[self._position(point)]

    def without(self, tried: Collection[Member]) -> Lineup:
        """Return a lineup of the members that were not tried; there must be one."""
        return Lineup([member for member in self.members if member not in tried])

    def _position(self, point: float) -> int:
        # Never beyond the last, where rounding may put a number close to 1.
        return bisect_right(self._cumulative, point, 0, len(self.members) - 1)
