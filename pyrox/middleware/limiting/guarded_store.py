"""``GuardedStore``: a store that may be lost, what stands in for it, and how its return is noticed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic

from pyrox.middleware.limiting.demands import Demand, Store, StoreError, Verdict

log = logging.getLogger("pyrox")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds in which a lost store is not asked


class GuardedStore:
    """Asks ``store``; while that gives no answer, ``local``, or raises ``StoreError`` when there is none.

    After an error nobody waits for the store again until a pause is over, twice as long each time; then one
    request does, and the first answer ends it. Keys are those of ``store`` in both.
    """

    def __init__(
        self, store: Store, local: Store | None, name: str, clock: Callable[[], float] = monotonic
    ) -> None:
        self._store = store
        self._local = local
        self._name = name
        self._clock = clock
        self._pause = 0.0  # 0 while the store answers
        self._ask_at = 0.0
        self.key = store.key

    def take(self, demands: Sequence[Demand]) -> list[Verdict]:
        """Meet all demands or none, see ``Store``."""
        is_asked_again = self._pause > 0
        if is_asked_again:
            now = self._clock()
            if now < self._ask_at:
                return self._go_without(demands, None)
            self._ask_at = now + self._pause  # the others do not wait with this one
        try:
            verdicts = self._store.take(demands)
        except StoreError as error:
            self._lose(error, is_asked_again)
            return self._go_without(demands, error)
        if self._pause:
            log.warning("%s: the store answers again", self._name)
            self._pause = 0.0
        return verdicts

    def _lose(self, error: StoreError, was_lost: bool) -> None:
        if was_lost:
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        elif self._pause:
            return  # asked before it was lost, and told only now
        else:
            log.warning("%s: the store gives no answer: %s", self._name, error)
            self._pause = _FIRST_PAUSE
        self._ask_at = self._clock() + self._pause

    def _go_without(self, demands: Sequence[Demand], error: StoreError | None) -> list[Verdict]:
        if self._local is None:
            raise error or StoreError("not asked again yet")
        return self._local.take(demands)
