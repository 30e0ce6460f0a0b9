"""Middleware that lets one proxy serve many tests, each with an origin of its own."""

from __future__ import annotations

import gc
from collections import Counter

from pyrox import Middleware, Request, Response
from pyrox.middleware import App


class RouteByField(Middleware):
    """Sends a request to the server that its X-Origin field names, and the field nowhere."""

    def __call__(self, request: Request) -> Response:
        origin = request.headers.pop("x-origin", None)
        if origin is not None:
            request.route_to(origin)
        return self.app(request)


class Census(Middleware):
    """Answers ``/census`` with how many objects of the engine's there are, by type."""

    kinds = ("greenlet", "Greenlet", "ClientStream", "UpstreamStream", "UpstreamExchange", "LiveExchange")

    def __call__(self, request: Request) -> Response:
        if request.path != "/census":
            return self.app(request)
        gc.collect()
        found = Counter(type(thing).__name__ for thing in gc.get_objects())
        return Response.json_of({kind: found[kind] for kind in self.kinds})


class Garbage(Middleware):
    """Answers ``/garbage`` with how many objects only the collector could free since it was asked last."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        gc.disable()

    def __call__(self, request: Request) -> Response:
        if request.path != "/garbage":
            return self.app(request)
        return Response.json_of(gc.collect())
