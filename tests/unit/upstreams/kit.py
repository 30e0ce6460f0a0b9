"""Members, requests, and a simulation of what they do with their time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random

from pyrox.http.message import Request, Response
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import Policy
from pyrox.upstreams.server import parse_server

NOW = 1000.0
GET = Request("GET", "/")


def members(*weights: int, backups: int = 0) -> list[Member]:
    """Members of these weights, then so many backups: ``http://s0``, ``http://s1`` ..."""
    primary = [Member(parse_server(f"http://s{number}"), weight) for number, weight in enumerate(weights)]
    return primary + [Member(parse_server(f"http://b{number}"), 1, True) for number in range(backups)]


def name_of(member: Member) -> str:
    return member.server.host


def shares(chosen: Iterable[Member]) -> dict[str, float]:
    """What part of the choices each member had."""
    counts = Counter(map(name_of, chosen))
    return {name: count / counts.total() for name, count in counts.items()}


def ideal(group: Sequence[Member]) -> dict[str, float]:
    """What part each member should have by its weight."""
    total = sum(member.full_weight for member in group)
    return {name_of(member): member.full_weight / total for member in group}


def furthest(chosen: Iterable[Member], group: Sequence[Member]) -> float:
    """How far the share that is furthest from its weight is away from it."""
    found = shares(chosen)
    return max(abs(found.get(name, 0.0) - share) for name, share in ideal(group).items())


class Simulation:
    """A cluster whose members take their time, and whose clients ask ``in_flight`` at once."""

    def __init__(
        self,
        group: Sequence[Member],
        policy: Callable[[Callable[[], float]], Policy],
        in_flight: int,
        slow_start: float = 0.0,
    ) -> None:
        self.random = Random(7)
        self.cluster = Cluster("c", group, lambda: policy(self.random.random), slow_start)
        self.now = NOW
        self._in_flight = in_flight
        self._running: list[tuple[float, int, Member, float]] = []
        self._begun = 0

    def run(
        self,
        requests: int,
        takes: Callable[[Random, Member], float],
        request_of: Callable[[int], Request] = lambda number: GET,
    ) -> list[Member]:
        """Let clients ask ``requests`` times; returns who was chosen."""
        chosen = []
        for number in range(requests):
            while len(self._running) >= self._in_flight:
                self.end_one()
            request = request_of(number)
            member = self.cluster.choose(request, self.now)
            member.in_flight += 1
            self._begun += 1
            end = self.now + takes(self.random, member)
            heapq.heappush(self._running, (end, self._begun, member, self.now))
            chosen.append(member)
        return chosen

    def end_one(self) -> None:
        """Let the next answer come."""
        self.now, _, member, began = heapq.heappop(self._running)
        member.in_flight -= 1
        if self.cluster.listens:
            self.cluster.answered(member, Request("GET", "/"), Response(200), self.now - began, self.now)


def alike(random: Random, member: Member) -> float:
    """About 20 ms, whoever is asked."""
    return random.uniform(0.018, 0.022)


def anything(random: Random, member: Member) -> float:
    """20 ms on average, and often much less or more."""
    return random.expovariate(50.0)
