"""``Window``: how often two things happened lately."""

from __future__ import annotations

from collections import deque

_STEPS = 10


class Window:
    """Counts of the last ``seconds``, to a tenth of them: ``all``, and ``some`` among or beside them.

    Both are of the moment of the last ``roll`` or ``add``.
    """

    __slots__ = ("_step", "_steps", "all", "some")

    def __init__(self, seconds: float) -> None:
        self._step = seconds / _STEPS
        self._steps: deque[list[int]] = deque()  # number of the step, all, some; oldest first
        self.all = self.some = 0

    def add(self, now: float, all: int, some: int) -> None:
        """Count something that happens ``now``."""
        number = self.roll(now)
        if not self._steps or self._steps[-1][0] != number:
            self._steps.append([number, 0, 0])
        newest = self._steps[-1]
        newest[1] += all
        newest[2] += some
        self.all += all
        self.some += some

    def roll(self, now: float) -> int:
        """Forget what is too long ago; returns the number of the step that ``now`` is in."""
        number = int(now / self._step)
        steps = self._steps
        while steps and steps[0][0] <= number - _STEPS:
            _, old_all, old_some = steps.popleft()
            self.all -= old_all
            self.some -= old_some
        return number

    def clear(self) -> None:
        """Forget everything."""
        self._steps.clear()
        self.all = self.some = 0
