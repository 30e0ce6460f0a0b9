"""``Guard``: what a cluster does about servers that fail, and about more work than they can do.

The engine enters each exchange with ``begin``, gets a ``Place`` for each try from the ``gate``, says how the
try ended, and gives the place back when the last byte of it has passed. All of it is of one worker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from pyrox.http.message import Request, Response
from pyrox.upstreams.breaker import Breaker, BreakerRules, State
from pyrox.upstreams.budget import RetryBudget
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.gate import Gate, Place
from pyrox.upstreams.member import Member, Reason
from pyrox.upstreams.retry import NO_RETRIES, RetryRules

_SETTLED = -1  # no ticket


@dataclass(frozen=True, slots=True)
class GuardRules:
    """What a cluster's guard goes by; 0 and None switch a thing off.

    * ``budget`` and ``least_retries``: see ``RetryBudget``. Hedges are taken from it, too.
    * ``breaker_errors`` and ``breaker_statuses``: whether a try without an answer, and which answers, count
      as failures of the server.
    * ``server_limit``, ``exchange_limit``, ``queue_limit``: see ``Gate``; ``queue_timeout``: seconds.
    * ``try_timeout``: seconds from the begin of a try to the head of its response.
    * ``hedge_after``: seconds without an answer after which a second server is asked.
    """

    retry: RetryRules = NO_RETRIES
    budget: float = 0.2
    least_retries: int = 3
    breaker: BreakerRules | None = None
    breaker_errors: bool = True
    breaker_statuses: frozenset[int] = frozenset()
    server_limit: int = 0
    exchange_limit: int = 0
    queue_limit: int = 0
    queue_timeout: float = 0.0
    try_timeout: float = 0.0
    hedge_after: float = 0.0

    def __bool__(self) -> bool:
        """Whether there is anything to guard."""
        limits = self.server_limit or self.exchange_limit
        return bool(self.retry or self.breaker or limits or self.try_timeout or self.hedge_after)


class Guard:
    """The guard of ``cluster``; ``random`` decides what is left to chance.

    ``may_send_again``: it might ask for a request to be sent once more.
    """

    def __init__(self, cluster: Cluster, rules: GuardRules, random: Callable[[], float]) -> None:
        self.cluster = cluster
        self.rules = rules
        self.random = random
        self.may_send_again = bool(rules.retry or rules.hedge_after)
        self.budget = RetryBudget(rules.budget, rules.least_retries)
        self.gate = Gate(
            self._choose, self._begin_try, rules.server_limit, rules.exchange_limit, rules.queue_limit
        )
        self._breakers: dict[Member, Breaker] = {}
        self._members = cluster.members  # as they were when breakers of those that have gone were dropped
        self._open: dict[Member, float] = {}  # whose breaker is open, and until when
        # The same by time, with some that are out of date: thousands of servers may be down, and a request
        # must not look at each.
        self._due: list[tuple[float, int, Member]] = []
        self._numbers = count()  # members have no order

    def begin(self, now: float) -> None:
        """An exchange begins."""
        self.budget.pay(now)

    def is_well(self, member: Member, now: float) -> None:
        """Whoever checks ``member`` says that it is well again: let it be tried, and do not wait for that."""
        breaker = self._breakers.get(member)
        if breaker is not None:
            breaker.try_again()
            self._heed(member, breaker, now)

    # --- how a try ended: the first of these calls counts

    def answered(self, place: Place, response: Response, now: float) -> None:
        """The head of ``response`` is here."""
        if self._breakers:
            failed = response._status in self.rules.breaker_statuses
            self._settle(place, now, Breaker.failed if failed else Breaker.succeeded)

    def failed(self, place: Place, now: float) -> None:
        """There was no response, and the server is to blame."""
        self._settle(place, now, Breaker.failed if self.rules.breaker_errors else Breaker.abandoned)

    def broke_off(self, member: Member, now: float) -> None:
        """A response of ``member`` did not come whole; its head was reported by ``answered``."""
        breaker = self._breakers.get(member)
        if breaker is not None and self.rules.breaker_errors:
            breaker.broke_off(now)
            self._heed(member, breaker, now)

    def abandoned(self, place: Place, now: float) -> None:
        """The try was given up for a reason that is not the server's."""
        if place.ticket != _SETTLED:
            self._settle(place, now, Breaker.abandoned)

    def _settle(self, place: Place, now: float, verdict: Callable[[Breaker, int, float], None]) -> None:
        ticket, place.ticket = place.ticket, _SETTLED
        breaker = self._breakers.get(place.member)
        if breaker is None or ticket == _SETTLED:
            return
        state = breaker.state
        verdict(breaker, ticket, now)
        if state is not State.CLOSED or breaker.state is not State.CLOSED:
            self._heed(place.member, breaker, now)

    # --- for the gate

    def _choose(self, request: Request, now: float, tried: Collection[Member]) -> Member:
        if self._due and self._due[0][0] <= now:
            self._tick(now)
        return self.cluster.choose(request, now, tried)

    def _begin_try(self, member: Member, now: float) -> int:
        if self.rules.breaker is None:
            return _SETTLED
        breaker = self._breakers.get(member)
        if breaker is None:
            self._forget_gone()
            breaker = self._breakers[member] = Breaker(self.rules.breaker, self.random)
        ticket = breaker.begin()
        if breaker.state is not State.CLOSED:
            self._heed(member, breaker, now)
        return ticket

    # --- breakers

    def _tick(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            until, _, member = heappop(self._due)
            if self._open.get(member) == until:
                breaker = self._breakers[member]
                breaker.tick(now)
                self._heed(member, breaker, now)

    def _heed(self, member: Member, breaker: Breaker, now: float) -> None:
        """Let the cluster choose ``member`` if its breaker lets a try through, and else not."""
        if breaker.state is not State.OPEN:
            self._open.pop(member, None)
        elif self._open.get(member) != breaker.until:
            self._open[member] = breaker.until
            heappush(self._due, (breaker.until, next(self._numbers), member))
        if breaker.lets_through:
            self.cluster.include(member, Reason.BREAKER, now)
        else:
            self.cluster.exclude(member, Reason.BREAKER, now)

    def _forget_gone(self) -> None:
        if self._members is self.cluster.members:
            return
        self._members = self.cluster.members
        for member in [member for member in self._breakers if Reason.GONE in member.excluded]:
            self._open.pop(member, None)
            del self._breakers[member]
