"""What services answered, remembered for a while, and asked for once at a time.

``ExpiringDict`` is a bounded memory. ``SingleFlightCache`` puts a slow question behind one: however many
requests want the same answer at once, one of them asks, and the others wait for it. Only ``threading`` is
used, which in a worker blocks greenlets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pyrox.middleware.service import ServiceError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Clock = Callable[[], float]


class ExpiringDict(Generic[K, V]):
    """Remembers at most ``size`` values, each until its time; the oldest goes first.

    Times are those of ``clock``. Safe to use by several threads or greenlets.
    """

    __slots__ = ("_clock", "_lock", "_size", "_values")

    def __init__(self, size: int, clock: Clock = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._values: dict[K, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return what is remembered under ``key``; None when nothing is, or its time is over."""
        found = self._values.get(key)
        return found[1] if found is not None and self._clock() < found[0] else None

    def put(self, key: K, value: V, until: float) -> None:
        """Remember ``value`` until the clock says ``until``."""
        with self._lock:
            self._values.pop(key, None)  # so that it counts as the youngest
            self._values[key] = until, value
            while len(self._values) > self._size:
                del self._values[next(iter(self._values))]

    def discard(self, key: K) -> None:
        """Forget what is remembered under ``key``."""
        with self._lock:
            self._values.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()


@dataclass(frozen=True, slots=True)
class Fetched(Generic[V]):
    """What a service answered: a value, and for how many seconds it may be used without asking again.

    ``is_refusal``: a value that anybody can provoke at will, such as that of an unknown token. Refusals
    are counted on their own, so that they drive out no other value.
    """

    value: V
    ttl: float
    is_refusal: bool = False


@dataclass(slots=True)
class _Known(Generic[V]):
    """One answer, or how asking failed."""

    asked_at: float
    fresh_until: float
    usable_until: float  # in place of an error
    value: V | None = None
    error: ServiceError | None = None

    def result(self) -> V:
        if self.error is not None:
            raise self.error.again()
        return self.value  # type: ignore[return-value]


@dataclass(slots=True)
class _Flight(Generic[V]):
    """One question on its way; ``known`` stays None when whoever asked was stopped."""

    landed: threading.Event = field(default_factory=threading.Event)
    known: _Known[V] | None = None


class SingleFlightCache(Generic[K, V]):
    """Answers of a service by key; each key is asked for by one request at a time.

    * ``size``: how many answers are kept, and how many refusals.
    * ``max_stale``: for how many seconds after its time an answer is used when the service cannot be: when
      asking has failed, and by others while one request is asking. 0 for never.
    * ``failure_ttl``: for how many seconds a failure is told again without another question.
    * ``stale_ttl``: for how many seconds, after one, an answer past its time is used without another.
    """

    def __init__(
        self,
        size: int,
        *,
        max_stale: float = 0.0,
        failure_ttl: float = 1.0,
        stale_ttl: float = 10.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._max_stale = max_stale
        self._failure_ttl = failure_ttl
        self._stale_ttl = stale_ttl
        self._clock = clock
        self._answers: ExpiringDict[K, _Known[V]] = ExpiringDict(size, clock)
        self._refusals: ExpiringDict[K, _Known[V]] = ExpiringDict(size, clock)
        self._flights: dict[K, _Flight[V]] = {}
        self._lock = threading.Lock()

    def get(self, key: K, fetch: Callable[[], Fetched[V]], newer_than: float | None = None) -> V:
        """Return the answer for ``key``; asks with ``fetch()`` when none is known that is fresh.

        ``newer_than``: how many seconds ago the service must have been asked for the last time, whatever
        came of it; for an answer that has turned out not to be enough.

        Raises ``ServiceError`` as ``fetch`` does.
        """
        while True:
            known = self._find(key)
            if known is not None and self._is_enough(known, newer_than):
                return known.result()
            flight, is_mine = self._board(key)
            if is_mine:
                return self._fly(key, flight, fetch, newer_than).result()
            if known is not None and newer_than is None and known.error is None and self._max_stale:
                return known.result()
            flight.landed.wait()
            if flight.known is not None:
                return flight.known.result()

    def forget(self, key: K) -> None:
        """Let the next ``get`` ask again."""
        self._answers.discard(key)
        self._refusals.discard(key)

    def _find(self, key: K) -> _Known[V] | None:
        return self._answers.get(key) or self._refusals.get(key)

    def _is_enough(self, known: _Known[V], newer_than: float | None) -> bool:
        now = self._clock()
        return now < known.fresh_until if newer_than is None else now < known.asked_at + newer_than

    def _board(self, key: K) -> tuple[_Flight[V], bool]:
        """Return the question that is on its way, or a new one that the caller has to ask."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = _Flight()
            return flight, True

    def _fly(
        self, key: K, flight: _Flight[V], fetch: Callable[[], Fetched[V]], newer_than: float | None
    ) -> _Known[V]:
        # Whatever stops the one who asks, the deadline of its exchange for one: those who wait go on.
        try:
            before = self._find(key)  # again: another question may have landed meanwhile
            is_enough = before is not None and self._is_enough(before, newer_than)
            flight.known = before if before is not None and is_enough else self._ask(key, fetch, before)
            return flight.known
        finally:
            with self._lock:
                del self._flights[key]
            flight.landed.set()

    def _ask(self, key: K, fetch: Callable[[], Fetched[V]], before: _Known[V] | None) -> _Known[V]:
        asked_at = self._clock()
        try:
            fetched = fetch()
        except ServiceError as error:
            return self._keep(key, self._after_failure(asked_at, error, before))
        fresh_until = self._clock() + fetched.ttl
        known = _Known(asked_at, fresh_until, fresh_until + self._max_stale, fetched.value)
        return self._keep(key, known, fetched.is_refusal)

    def _after_failure(self, asked_at: float, error: ServiceError, before: _Known[V] | None) -> _Known[V]:
        now = self._clock()
        if before is not None and before.error is None and now < before.usable_until:
            retry_at = min(now + self._stale_ttl, before.usable_until)
            return _Known(asked_at, retry_at, before.usable_until, before.value)
        retry_at = now + self._failure_ttl
        # A new one: the traceback of the other holds all that was at hand when it was raised.
        return _Known(asked_at, retry_at, retry_at, error=error.again())

    def _keep(self, key: K, known: _Known[V], is_refusal: bool = False) -> _Known[V]:
        memory, other = self._answers, self._refusals
        if is_refusal or known.error is not None:
            memory, other = other, memory
        memory.put(key, known, known.usable_until)
        other.discard(key)
        return known
