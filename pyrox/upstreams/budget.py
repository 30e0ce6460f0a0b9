"""``RetryBudget``: retries must stay a small part of the work, above all when everything fails."""

from __future__ import annotations

from pyrox.upstreams.window import Window

SECONDS = 10.0


class RetryBudget:
    """Lets as many retries through as the requests of the last ten seconds pay for.

    The definition is Finagle's, by what was sent in a window; that of Envoy, by what is in flight, lets one
    client that asks again and again double the load of a server that fails at once.

    * ``share``: retries for each request.
    * ``least``: retries in ten seconds that need no requests to pay for them, so that a cluster with little
      to do can retry at all.
    """

    __slots__ = ("_least", "_share", "_window")

    def __init__(self, share: float, least: int) -> None:
        self._share = share
        self._least = least
        self._window = Window(SECONDS)

    def pay(self, now: float) -> None:
        """A request came, which is no retry."""
        self._window.add(now, 1, 0)

    def take(self, now: float) -> bool:
        """Count a retry, when there may be one now; returns whether there may."""
        window = self._window
        window.roll(now)
        if window.some + 1 > max(self._least, self._share * window.all):
            return False
        window.add(now, 0, 1)
        return True
