"""What is asked of a store and what it answers, and the arithmetic of the three strategies.

The state of one key is three numbers ``(a, b, c)``, all 0 for a key that was never seen, and when it may be
forgotten. A strategy computes; it stores nothing. ``redis_store`` has the same arithmetic in Lua.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor
from typing import NamedTuple, Protocol

# A bucket's level is a float: what is left of adding and leaking must not cost the last token.
_TOLERANCE = 1e-6


class Demand(NamedTuple):
    """``cost`` of the ``quota`` that ``key`` has in each window of ``window`` seconds.

    ``burst`` is how much a token bucket holds; other strategies have no use for it. ``key`` is 16 bytes, see
    ``Store.key``.
    """

    strategy: str
    key: bytes
    quota: int
    window: int
    burst: int
    cost: int


class Verdict(NamedTuple):
    """What a store says to one demand.

    * ``granted``: whether this demand, for itself, could be met.
    * ``remaining``: what is left of the quota.
    * ``reset``: seconds until more of it, or all, is there again.
    * ``retry``: seconds until the demand could be met, 0 when it is.
    """

    granted: bool
    remaining: int
    reset: float
    retry: float


class Store(Protocol):
    """Where quotas are kept."""

    def key(self, text: str) -> bytes:
        """Return 16 bytes that stand for ``text``, however long, and for no other."""

    def take(self, demands: Sequence[Demand]) -> list[Verdict]:
        """Meet all demands, or consume nothing when one of them cannot be met; at once for all processes.

        Raises ``StoreError`` when the store cannot be asked.
        """


class StoreError(Exception):
    """The store gave no answer; ``__cause__`` says why."""


State = tuple[float, float, float]
Outcome = tuple[Verdict, State, float]  # the verdict, the state when it is met, and when that may go
Strategy = Callable[[float, float, float, float, Demand], Outcome]


def fixed_window(end: float, count: float, _: float, now: float, demand: Demand) -> Outcome:
    """Count to the quota in windows that begin with the first request after the last one."""
    if now >= end:
        end, count = now + demand.window, 0.0
    left = end - now
    if count + demand.cost > demand.quota:
        return Verdict(False, int(demand.quota - count), left, left), (end, count, 0.0), end
    count += demand.cost
    return Verdict(True, int(demand.quota - count), left, 0.0), (end, count, 0.0), end


def sliding_window(start: float, count: float, before: float, now: float, demand: Demand) -> Outcome:
    """Count this window, and of the one before as much as the last ``window`` seconds still reach into it."""
    window, quota = demand.window, demand.quota
    if not start or not start <= now < start + window:
        is_next = start > 0 and start + window <= now < start + 2 * window
        start, before, count = (start + window, count, 0.0) if is_next else (now, 0.0, 0.0)
    left = start + window - now
    used = floor(before * left / window) + count
    expires = start + 2 * window
    if used + demand.cost > quota:
        retry = _slide(count, before, left, demand)
        return Verdict(False, max(int(quota - used), 0), left, retry), (start, count, before), expires
    used += demand.cost
    return Verdict(True, int(quota - used), left, 0.0), (start, count + demand.cost, before), expires


def _slide(count: float, before: float, left: float, demand: Demand) -> float:
    """Return the seconds until enough has slid out of the window."""
    window, room = demand.window, demand.quota - demand.cost
    if room >= count:
        return max(left - (room - count + 1) * window / before, 0.0)
    return left + max(window - (room + 1) * window / count, 0.0)


def token_bucket(stamp: float, level: float, _: float, now: float, demand: Demand) -> Outcome:
    """Let ``burst`` through at once, and then as many as flow in: ``quota`` in each window.

    ``level`` is how much is missing from a full bucket.
    """
    rate = demand.quota / demand.window
    now = max(now, stamp)
    level = max(level - (now - stamp) * rate, 0.0)
    missing = level + demand.cost - demand.burst
    if missing > _TOLERANCE:
        remaining = floor(demand.burst - level + _TOLERANCE)
        return Verdict(False, remaining, level / rate, missing / rate), (now, level, 0.0), now + level / rate
    level += demand.cost
    remaining = max(floor(demand.burst - level + _TOLERANCE), 0)
    return Verdict(True, remaining, level / rate, 0.0), (now, level, 0.0), now + level / rate


STRATEGIES: dict[str, Strategy] = {
    "fixed_window": fixed_window,
    "sliding_window": sliding_window,
    "token_bucket": token_bucket,
}


def not_taken(verdict: Verdict, demand: Demand) -> Verdict:
    """Return what is left when ``demand`` was granted for itself, but nothing is taken."""
    return verdict._replace(remaining=verdict.remaining + demand.cost) if verdict.granted else verdict
