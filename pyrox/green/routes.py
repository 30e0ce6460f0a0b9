"""``EngineRoutes``: what routes need of the engine. Apps with waits of their own, limits, mirrors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrox.errors import ClientError
from pyrox.green.body import BodyReader, LimitedReader
from pyrox.green.exchange import LiveExchange
from pyrox.green.forwarder import Forwarder
from pyrox.green.mirror import Mirror
from pyrox.http.framing import CHUNKED
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.settings import RouteSettings

if TYPE_CHECKING:
    from pyrox.green.engine import Engine

# (ticks until the first byte, ticks between reads, whose exchange it is) -> a forwarder
MakeForwarder = Callable[[int, int, Callable[[], LiveExchange | None]], Forwarder]


class EngineRoutes:
    """Makes the apps at both ends of each route's stack."""

    def __init__(self, engine: Engine, make_forwarder: MakeForwarder) -> None:
        self._engine = engine
        self._make_forwarder = make_forwarder
        self._forwarders: dict[tuple[float, float, bool], Forwarder] = {}

    def forward(self, route: RouteSettings | None) -> App:
        """Return a forwarder that waits as long as ``route`` says."""
        return self._forwarder(route, is_alone=False)

    def mirror(self, route: RouteSettings, app: App) -> App:
        """Return ``app`` with copies of its requests sent to the route's mirror."""
        return Mirror(route, app, self._forwarder(route, is_alone=True))

    def enter(self, route: RouteSettings, app: App) -> App:
        """Return ``app`` under the route's limits of time and size."""
        if route.max_body_size:
            app = _limit_body(app, route.max_body_size)
        if route.exchange is not None:
            app = self._limit_time(app, route.exchange)
        return app

    def _forwarder(self, route: RouteSettings | None, is_alone: bool) -> Forwarder:
        """Routes that wait alike share one; one that ``is_alone`` works for no client's exchange."""
        timeouts = self._engine.settings.timeouts
        first_byte, read = timeouts.upstream_first_byte, timeouts.upstream_read
        if route is not None:
            first_byte = first_byte if route.upstream_first_byte is None else route.upstream_first_byte
            read = read if route.upstream_read is None else route.upstream_read
        key = (first_byte, read, is_alone)
        if key not in self._forwarders:
            ticks = self._engine.clock.ticks
            owner = _nobody if is_alone else self._engine.current_exchange
            self._forwarders[key] = self._make_forwarder(ticks(first_byte), ticks(read), owner)
        return self._forwarders[key]

    def _limit_time(self, app: App, timeout: float) -> App:
        restart = self._engine.restart_exchange_timer

        def limited(request: Request) -> Response:
            if isinstance(request.exchange, LiveExchange):
                restart(request.exchange, timeout)
            return app(request)

        return limited


def _nobody() -> None:
    return None


def _limit_body(app: App, limit: int) -> App:
    def limited(request: Request) -> Response:
        body = request._body
        length = len(body) if isinstance(body, bytes) else request.content_length or 0
        if length > limit:
            raise ClientError(f"request body over max_body_size {limit} of its route", status=413)
        if request.content_length == CHUNKED and isinstance(body, BodyReader | LimitedReader):
            request._body = LimitedReader(body, limit)
        return app(request)

    return limited
