"""``Member``: a server in its cluster, and what this worker knows of it."""

from __future__ import annotations

from pyrox.upstreams.server import Server


class Member:
    """One server of one cluster.

    * ``full_weight``: its part of the work beside the others', as configured; ``weight``: that part now,
      less while it starts slowly.
    * ``is_backup``: it is only chosen when no member is left that is none.
    * ``in_flight``: tries at it that are not over, tunnels among them. The engine adds and subtracts.
    * ``latency``: seconds from a try's begin to the head of its response, as ``Ewma`` weighs them at time
      ``measured``; 0.0 when none was measured.
    * ``refuses``: it took no connection the last time.
    * ``recovered``: since when it starts slowly; None when it does not.
    """

    __slots__ = (
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
        return f"<Member {self.server} weight {self.weight:g}{backup}, {self.in_flight} in flight>"


LEAST_SHARE = 0.02  # of its weight; with none at all it would never be tried
