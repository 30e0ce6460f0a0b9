"""``SharedMemoryStorage``: quotas in memory that all workers share; a storage of the ``limits`` library.

    storage = SharedMemoryStorage(name="mine", most_keys=10000)
    limits.strategies.FixedWindowRateLimiter(storage).hit(limits.parse("10/minute"), "ada")

So much of the library's interface is here as needs bounded room: its fixed window and its sliding window
counter, not its log of single hits. Pyrox itself calls ``take``, which meets several demands at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from limits.storage.base import SlidingWindowCounterSupport, Storage

from pyrox.middleware.limiting.demands import STRATEGIES, Demand, Outcome, Verdict, not_taken
from pyrox.middleware.limiting.table import Table

_NEVER = (0.0, 0.0, 0.0, 0.0)


class SharedMemoryStorage(Storage, SlidingWindowCounterSupport):
    """Counts exactly across all workers of a proxy, without a server; times are the machine's uptime.

    * ``name``: who asks for the same counts in the same books.
    * ``most_keys``: how many keys there is room for; a new one that finds none puts out the one whose
      time is over first.
    """

    STORAGE_SCHEME = ["pyrox"]  # noqa: RUF012

    def __init__(
        self,
        uri: str = "",
        wrap_exceptions: bool = False,
        *,
        name: str = "limits",
        most_keys: int = 65536,
        clock: Callable[[], float] = time.monotonic,
        **_: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._table = Table(f"limits {name}", int(most_keys))
        self._secret = self._table.secret
        self._clock = clock

    def key(self, text: str) -> bytes:
        """Return 16 bytes that stand for ``text``; nobody outside can find two texts that share them."""
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()

    def take(self, demands: Sequence[Demand]) -> list[Verdict]:
        """Meet all demands, or consume nothing when one of them cannot be met; see ``Store``."""
        table = self._table
        buckets = table.buckets_of([demand.key for demand in demands])
        for bucket in buckets:
            table.lock(bucket)
        try:
            return self._take(demands, self._clock())
        finally:
            for bucket in buckets:
                table.unlock(bucket)

    def _take(self, demands: Sequence[Demand], now: float) -> list[Verdict]:
        table = self._table
        found: list[tuple[Demand, int, Outcome]] = []
        is_met = True
        for demand in demands:
            record = table.find(demand.key)
            _, a, b, c = table.read(record) if record >= 0 else _NEVER
            outcome = STRATEGIES[demand.strategy](a, b, c, now, demand)
            found.append((demand, record, outcome))
            is_met = is_met and outcome[0].granted
        if not is_met:
            return [not_taken(outcome[0], demand) for demand, _, outcome in found]
        for demand, record, (_, state, expires) in found:
            if record >= 0:
                table.write(record, expires, *state)
            else:
                table.add(demand.key, now, expires, *state)
        return [outcome[0] for _, _, outcome in found]

    # --- what the strategies of ``limits`` call ---

    @property
    def base_exceptions(self) -> type[Exception]:
        """What goes wrong here is the system's fault."""
        return OSError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to the counter of ``key``, whose window begins with the first hit; returns the sum."""
        return int(self._change(key, "fixed_window", expiry, amount)[1])

    def get(self, key: str) -> int:
        """Return the counter of ``key``."""
        return int(self._change(key, "fixed_window", 1, 0)[1])

    def get_expiry(self, key: str) -> float:
        """Return when the window of ``key`` ends, by ``time.time()``."""
        end, count, _ = self._change(key, "fixed_window", 1, 0)
        return time.time() + (end - self._clock() if count else 0.0)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add to the sliding window of ``key`` unless that would exceed ``limit``."""
        return self.take([Demand("sliding_window", self.key(key), limit, expiry, 0, amount)])[0].granted

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the former window's count and seconds left, and the current one's."""
        start, count, before = self._change(key, "sliding_window", expiry, 0)
        left = start + expiry - self._clock()
        return int(before), left if before else 0.0, int(count), left + expiry if count else 0.0

    def clear(self, key: str) -> None:
        """Forget ``key``."""
        digest = self.key(key)
        [bucket] = self._table.buckets_of([digest])
        self._table.lock(bucket)
        try:
            self._table.remove(digest)
        finally:
            self._table.unlock(bucket)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget ``key``."""
        self.clear(key)

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        self._table.clear()
        return None

    def _change(self, key: str, strategy: str, window: int, cost: int) -> tuple[float, float, float]:
        """Add ``cost`` whatever it leads to; returns the new state."""
        demand = Demand(strategy, self.key(key), 1 << 62, window, 0, cost)
        table = self._table
        [bucket] = table.buckets_of([demand.key])
        table.lock(bucket)
        try:
            now = self._clock()
            record = table.find(demand.key)
            _, a, b, c = table.read(record) if record >= 0 else _NEVER
            _, state, expires = STRATEGIES[strategy](a, b, c, now, demand)
            if cost:
                if record >= 0:
                    table.write(record, expires, *state)
                else:
                    table.add(demand.key, now, expires, *state)
            return state
        finally:
            table.unlock(bucket)
