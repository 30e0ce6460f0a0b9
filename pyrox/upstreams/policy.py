"""``Policy``: how one member is chosen, and the simplest way: in turn."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heapify, heapreplace
from itertools import cycle, islice
from typing import ClassVar

from pyrox.http.message import Request, Response
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import Member


class Policy:
    """Chooses a member of a lineup; one object for one lineup and its successors.

    ``listens``: whether it wants to hear of every try, by ``answered`` and ``failed``.
    """

    listens: ClassVar[bool] = False

    def choose(self, lineup: Lineup, request: Request, now: float) -> Member:
        """Return the member for ``request``."""
        raise NotImplementedError

    def choose_other(self, lineup: Lineup, request: Request, now: float, tried: Collection[Member]) -> Member:
        """Return one that was not ``tried``; there is at least one."""
        return self.choose(lineup.without(tried), request, now)

    def answered(
        self, member: Member, request: Request, response: Response, seconds: float, now: float
    ) -> None:
        """The head of ``response`` came from ``member``, ``seconds`` after the try began."""

    def failed(self, member: Member, seconds: float, now: float) -> None:
        """No response came from ``member``; that was clear after ``seconds``."""


class RoundRobin(Policy):
    """Each member in turn, as often as its weight says, and its turns as far apart as they can be.

    ``start``, from 0 to 1, is the place in the round to begin at: workers that all began with the first
    member would send it their first requests at the same time.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._start = start
        self._lineup: Lineup | None = None
        self._turns: Iterator[Member] = iter(())
        self._weighted: tuple[tuple[Member, ...], Iterator[Member]] = (), self._turns

    def choose(self, lineup: Lineup, request: Request, now: float) -> Member:
        if lineup is not self._lineup:
            self._adopt(lineup)
        return next(self._turns)

    def choose_other(self, lineup: Lineup, request: Request, now: float, tried: Collection[Member]) -> Member:
        # From the same round: a lineup of the others would have its own, and begin it again and again.
        while (member := self.choose(lineup, request, now)) in tried:
            pass
        return member

    def _adopt(self, lineup: Lineup) -> None:
        self._lineup = lineup
        members = lineup.members
        if lineup.is_even:
            position = int(self._start * len(members))
            self._turns = cycle(members[position:] + members[:position])
            return
        # While one of them starts slowly there is a lineup every moment, and the round must go on.
        if members != self._weighted[0]:
            turns = _weighted_turns(members)
            for _ in islice(turns, int(self._start * sum(member.weight for member in members))):
                pass
            self._weighted = members, turns
        self._turns = self._weighted[1]


def _weighted_turns(members: tuple[Member, ...]) -> Iterator[Member]:
    """Yield members for ever: each has a turn every ``1 / weight``, and the one whose turn is next comes.

    Like the smooth rounds of nginx, in O(log n) instead of O(n). A weight may change on the way.
    """
    turns = [(0.5 / member.weight, order, member) for order, member in enumerate(members)]
    heapify(turns)
    while True:
        time, order, member = turns[0]
        yield member
        heapreplace(turns, (time + 1.0 / member.weight, order, member))
