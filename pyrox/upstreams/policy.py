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
        self._weighted: Iterator[Member] = self._turns
        self._times: list[tuple[float, int, Member]] = []  # of the weighted turns: when each is due, a heap

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
        """Go on with the round where it is: members come and go, and none of the others may lose its turn."""
        if lineup.is_even:
            self._turns = cycle(self._from_next(lineup.members))
        else:
            self._weigh(lineup.members)
            self._turns = self._weighted
        self._lineup = lineup

    def _weigh(self, members: tuple[Member, ...]) -> None:
        times = {member: time for time, _, member in self._times}
        if times.keys() == set(members):
            return
        # Who was away has its first turn as if the round had begun now, and makes up for nothing.
        begin = self._times[0][0] if times else 0.0
        self._times = [
            (times.get(member, begin + 0.5 / member.weight), order, member)
            for order, member in enumerate(members)
        ]
        heapify(self._times)
        self._weighted = _weighted_turns(self._times)
        if not times:
            for _ in islice(self._weighted, int(self._start * sum(member.weight for member in members))):
                pass

    def _from_next(self, members: tuple[Member, ...]) -> tuple[Member, ...]:
        """Return ``members`` so that they begin with the one whose turn is next."""
        if self._lineup is None:
            position = int(self._start * len(members))
        else:
            positions = {member: position for position, member in enumerate(members)}
            coming = (positions.get(member) for member in islice(self._turns, len(self._lineup.members)))
            position = next((found for found in coming if found is not None), 0)
        return members[position:] + members[:position]


def _weighted_turns(times: list[tuple[float, int, Member]]) -> Iterator[Member]:
    """Yield members for ever: each has a turn every ``1 / weight``, and the one whose turn is next comes.

    Like the smooth rounds of nginx, in O(log n) instead of O(n). A weight may change on the way. ``times``
    is a heap, and is kept.
    """
    while True:
        time, order, member = times[0]
        heapreplace(times, (time + 1.0 / member.weight, order, member))
        yield member
