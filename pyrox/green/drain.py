"""``Drain``: how a worker that takes no more connections ends those it has.

Three kinds of connection, three deadlines:

* an *exchange* may finish within ``graceful_timeout``;
* an *idle* connection may be used once more. A close that crosses the client's next request on the wire
  costs that request, and nothing can be done about it but to wait: for a second when the proxy stops,
  until ``graceful_timeout`` when others have taken over and nobody waits for the end. The answer to that
  last request says ``Connection: close``;
* a *tunnel* lives on for ``tunnel_grace`` when the worker was replaced, else as long as an exchange.
"""

from __future__ import annotations

from time import monotonic

from pyrox.green.board import Order
from pyrox.green.engine import Engine

# gunicorn kills a worker that is still there after graceful_timeout; end by ourselves before that.
_MARGIN = 0.5
# Seconds that idle clients have for one more request when the proxy stops.
_LAST_CALL = 1.0


class Drain:
    """The end of one worker's connections; ``begin`` may be called again when the order has changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        core = engine.settings.core
        self._grace = max(core.graceful_timeout - _MARGIN, 0.0)
        self._tunnel_grace = core.tunnel_grace
        self._cut_at = self._end_at = 0.0

    def begin(self, order: int) -> None:
        """Set the deadlines that ``order`` asks for."""
        now = monotonic()
        self._cut_at = self._end_at = now + self._grace
        if order == Order.RETIRE:
            self._end_at = now + max(self._tunnel_grace, self._grace)
        idle = _LAST_CALL if order == Order.STOP else max(self._grace - _LAST_CALL, _LAST_CALL)
        self._engine.drain(idle)

    def proceed(self) -> bool:
        """Cut what is due; returns whether there is anything left to wait for."""
        now = monotonic()
        if now >= self._end_at:
            return False
        if now >= self._cut_at:
            self._engine.cut(spare_tunnels=True)
        return self._engine.accepted > 0
