"""``Breaker``: a server that fails too often is left alone for a while (Nygard, "Release It!").

::

               too many of the last tries failed
       CLOSED ───────────────────────────────────> OPEN <──┐
          ^                                          │     │
          │ every trial succeeded         time is up │     │ a trial failed: open, and for longer
          └────────────────── HALF_OPEN <────────────┘     │
                                  └────────────────────────┘

Time is up early when somebody who knows says that the server is well again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pyrox.upstreams.window import Window

_LEAST_PART = 0.75  # of the time that it stays open: the rest is left to chance


class State(Enum):
    """What the breaker lets through: everything, nothing, or trials."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens and closes.

    * ``share``: of the tries of the last ``window`` seconds that failed, from 0 to 1, at which it opens;
      ``least``: how many tries there must be for that to mean anything.
    * ``open_time``: seconds that it stays open, less up to a quarter by chance, so that not all workers come
      back at once; twice as long each time that the trials fail, up to ``longest_open_time``: what is as long
      as the outage so far is at most as long as that again too late.
    * ``trials``: tries that are let through then, and that must all succeed.
    """

    share: float
    least: int = 20
    window: float = 10.0
    open_time: float = 5.0
    longest_open_time: float = 30.0
    trials: int = 3


class Breaker:
    """The breaker of one server. While it is ``OPEN`` it is so ``until`` a point in time.

    Each try asks ``begin`` for a ticket when it starts, and hands it back with how it ended: what became of
    tries of an earlier state says nothing about this one.
    """

    __slots__ = (
        "_admitted",
        "_open_time",
        "_random",
        "_rules",
        "_succeeded",
        "_ticket",
        "_window",
        "state",
        "until",
    )

    def __init__(self, rules: BreakerRules, random: Callable[[], float]) -> None:
        self._rules = rules
        self._random = random
        self._window = Window(rules.window)
        self._open_time = 0.0  # the last time that it opened
        self.until = 0.0
        self._admitted = self._succeeded = 0  # trials
        self._ticket = 0
        self.state = State.CLOSED

    @property
    def lets_through(self) -> bool:
        """Whether one more try may be made."""
        if self.state is State.HALF_OPEN:
            return self._admitted < self._rules.trials
        return self.state is State.CLOSED

    def tick(self, now: float) -> None:
        """Become half-open when it is time."""
        if now >= self.until:
            self.try_again()

    def try_again(self) -> None:
        """Become half-open, if it is open, whatever the time."""
        if self.state is State.OPEN:
            self._become(State.HALF_OPEN)
            self._admitted = self._succeeded = 0

    def begin(self) -> int:
        """A try begins, which ``lets_through`` allowed; returns its ticket."""
        if self.state is State.HALF_OPEN:
            self._admitted += 1
        return self._ticket

    def succeeded(self, ticket: int, now: float) -> None:
        """The try with this ticket went well."""
        if ticket != self._ticket:
            return
        if self.state is State.CLOSED:
            self._window.add(now, 1, 0)
            return
        self._succeeded += 1
        if self._succeeded == self._rules.trials:
            self._open_time = 0.0
            self._window.clear()
            self._become(State.CLOSED)

    def failed(self, ticket: int, now: float) -> None:
        """The try with this ticket failed."""
        if ticket != self._ticket:
            return
        if self.state is State.HALF_OPEN or self._is_too_much(now, 1):
            self._open(now)

    def broke_off(self, now: float) -> None:
        """A try that went well at first did not in the end; its ticket was handed back already."""
        if self.state is State.HALF_OPEN or (self.state is State.CLOSED and self._is_too_much(now, 0)):
            self._open(now)

    def abandoned(self, ticket: int, now: float) -> None:
        """Nobody will know how the try with this ticket would have ended; another may take its place."""
        if ticket == self._ticket and self.state is State.HALF_OPEN:
            self._admitted -= 1

    def _is_too_much(self, now: float, tries: int) -> bool:
        """Count a failure, of a try that was counted already or of one more."""
        window, rules = self._window, self._rules
        window.add(now, tries, 1)
        return window.all >= rules.least and window.some >= rules.share * window.all

    def _open(self, now: float) -> None:
        rules = self._rules
        self._open_time = min(self._open_time * 2.0 or rules.open_time, rules.longest_open_time)
        self.until = now + self._open_time * (_LEAST_PART + (1.0 - _LEAST_PART) * self._random())
        self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self.state = state
        self._ticket += 1
