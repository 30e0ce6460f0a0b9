"""``Member``: a server in its cluster, and what this worker knows of it."""

from __future__ import annotations

from enum import StrEnum

from pyrox.upstreams.server import Server


class Reason(StrEnum):
    """Why a member may not be chosen now."""

    UNHEALTHY = "unhealthy"  # its checks fail
    EJECTED = "ejected"  # its answers are worse than the others'
    BREAKER = "breaker"  # its circuit breaker is open
    GONE = "gone"  # it stands in its cluster no more, and ends what it has begun


# Those that are a judgement, which may be wrong, and in a panic is not believed.
HEALTH = frozenset((Reason.UNHEALTHY, Reason.EJECTED))


class Member:
    """One server of one cluster.

    * ``full_weight``: its part of the work beside the others', as configured; ``weight``: that part now,
      less while it starts slowly.
    * ``is_backup``: it is only chosen when no member is left that is none.
    * ``excluded``: the reasons for which it may not be chosen now; see ``Cluster.exclude``.
    * ``in_flight``: tries at it that are not over, tunnels among them. The engine adds and subtracts.
    * ``latency``: seconds from a try's begin to the head of its response, as ``Ewma`` weighs them at time
      ``measured``; 0.0 when none was measured.
    * ``refuses``: it took no connection the last time.
    * ``recovered``: since when it starts slowly; None when it does not.
    """

    __slots__ = (
        "excluded",
        "full_weight",
        "in_flight",
        "is_backup",
        "latency",
        "measured",
        "recovered",
        "refuses",
        "server",
        "weight",
    )

    def __init__(self, server: Server, weight: int = 1, is_backup: bool = False) -> None:
        self.server = server
        self.full_weight = weight
        self.weight: float = weight
        self.is_backup = is_backup
        self.excluded: frozenset[Reason] = frozenset()
        self.in_flight = 0
        self.latency = self.measured = 0.0
        self.refuses = False
        self.recovered: float | None = None

    def ramp(self, now: float, duration: float) -> bool:
        """Set the weight of a member that starts slowly for ``duration``; returns whether it still does."""
        if self.recovered is None:
            return False
        share = (now - self.recovered) / duration
        if share >= 1.0:
            self.recovered = None
            share = 1.0
        self.weight = self.full_weight * max(share, LEAST_SHARE)
        return share < 1.0

    def __repr__(self) -> str:
        backup = " backup" if self.is_backup else ""
        excluded = "".join(f", {reason}" for reason in sorted(self.excluded))
        return f"<Member {self.server} weight {self.weight:g}{backup}, {self.in_flight} in flight{excluded}>"


LEAST_SHARE = 0.02  # of its weight; with none at all it would never be tried
