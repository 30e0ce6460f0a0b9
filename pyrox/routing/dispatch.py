"""``build_routes``: settings -> the app inside the global stack that sends each request down its route."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.middleware.stack import build_stack, load_route_stacks
from pyrox.routing.actions import make_action
from pyrox.routing.rule import parse_rule
from pyrox.routing.table import RoutedRule, RouteTable
from pyrox.settings import RouteSettings, Settings


class Engine(Protocol):
    """What routes need of whoever moves the bytes."""

    def forward(self, route: RouteSettings | None) -> App:
        """Return the innermost app; it waits as long as ``route`` says, None for what takes no route."""

    def mirror(self, route: RouteSettings, app: App) -> App:
        """Return ``app`` with copies of its requests sent to the mirror of ``route``."""

    def enter(self, route: RouteSettings, app: App) -> App:
        """Return ``app`` under the limits of ``route``, from its stack inwards."""


def make_table(settings: Settings) -> RouteTable:
    """Return the table of all routes; their rules have been checked."""
    return RouteTable(
        [
            RoutedRule(name, parse_rule(route.match), route.priority or len(route.match))
            for name, route in settings.routes.sections.items()
        ]
    )


def build_routes(settings: Settings, engine: Engine) -> App:
    """Return the app that finds the route of a request and calls what it is made of.

    A request that takes none goes to the default cluster, or to where a middleware routed it.

    Raises ``ConfigError`` when a stack cannot be made.
    """
    table = make_table(settings)
    stacks = load_route_stacks(settings)
    apps: list[tuple[str, App]] = []
    for entry in table.rules:
        route = settings.routes.sections[entry.name]
        action = make_action(route, engine.forward(route), partial(engine.mirror, route))
        apps.append((entry.name, engine.enter(route, build_stack(stacks[entry.name], action))))
    return Dispatcher(table.find, apps, engine.forward(None))


class Dispatcher:
    """Calls the app of the route that ``find`` names, ``unrouted`` when it names none.

    ``apps``: the name and the app of each route, in the order of the table.
    """

    def __init__(
        self, find: Callable[[Request], int | None], apps: list[tuple[str, App]], unrouted: App
    ) -> None:
        self._find = find
        self._apps = apps
        self._unrouted = unrouted

    def __call__(self, request: Request) -> Response:
        """Answer ``request``; raises ``ClientError`` 400 for a path that could be of two routes."""
        rank = self._find(request)
        if rank is None:
            return self._unrouted(request)
        name, app = self._apps[rank]
        if request.exchange is not None:
            request.exchange.route = name  # for the access log
        return app(request)
