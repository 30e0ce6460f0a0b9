"""A limit to the time that a block of blocking code takes, whatever it waits for.

A library's own timeouts seldom are for the whole of a call: a look-up of a name has none, and that of a read
begins anew with each byte. The engine says how a block can be ended from outside; without it, in a unit
test or a tool, nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Limiter = Callable[[float], AbstractContextManager[object]]


class TimeIsUp(Exception):
    """A block took longer than it may."""


def _unlimited(seconds: float) -> AbstractContextManager[object]:
    return nullcontext()


_limit: Limiter = _unlimited


def time_limit(seconds: float) -> AbstractContextManager[object]:
    """Raise ``TimeIsUp`` at the ``with`` statement whose block is not at its end within ``seconds``.

    Inside the block it is no ``Exception``, so that nobody takes it for a failure of his own: what the block
    holds it must give back in ``finally``.
    """
    return _limit(seconds)


def use_limiter(limit: Limiter | None) -> None:
    """Let ``limit`` do it from now on; None for no limit. Called by the engine's worker."""
    global _limit
    _limit = limit or _unlimited
