"""``Deadlines``: one coarse clock and one sweep for all streams of a worker.

A timer per wait costs 4 us; a number per stream that a sweep looks at four times a second costs
nothing on the road of a request. The price is precision: a timeout fires up to half a second late and
never early. Ticks are counted, not measured, so a worker that was stalled by blocking code does not
wake up to find that everything is late.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from pyrox.green.stream import SocketStream

NEVER = 1 << 60


class Deadlines:
    """Counts ticks and expires the streams whose deadline has passed; one per worker.

    ``now`` is the number of the current tick; a deadline is ``now + ticks(timeout)``.
    """

    INTERVAL = 0.25

    def __init__(self) -> None:
        self.now = 0
        self.hub = gevent.get_hub()
        self.switch = self.hub.switch  # to the hub, until it switches back
        self._streams: set[SocketStream] = set()
        self._timer = self.hub.loop.timer(self.INTERVAL, self.INTERVAL)

    def start(self) -> None:
        """Start the sweep."""
        self._timer.start(self._sweep)

    def stop(self) -> None:
        """Stop the sweep and release its timer."""
        self._timer.stop()
        self._timer.close()

    def ticks(self, seconds: float) -> int:
        """Return how many ticks surely cover ``seconds``; 0 seconds means no timeout."""
        return math.ceil(seconds / self.INTERVAL) + 1 if seconds > 0 else NEVER

    def watch(self, stream: SocketStream) -> None:
        """Expire ``stream`` from now on."""
        self._streams.add(stream)

    def forget(self, stream: SocketStream) -> None:
        """Stop expiring ``stream``."""
        self._streams.discard(stream)

    def __len__(self) -> int:
        return len(self._streams)

    def _sweep(self) -> None:
        self.now = now = self.now + 1
        late = [s for s in self._streams if s.read_deadline <= now or s.write_deadline <= now]
        for stream in late:
            stream.expire(now)
