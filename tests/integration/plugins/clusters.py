"""Middleware that sends requests to clusters, and tells what is in flight at their members."""

from __future__ import annotations

import gc

from pyrox import Middleware, Request, Response
from pyrox.errors import UpstreamError
from pyrox.upstreams import Member
from pyrox.upstreams.guard import Guard


class ByPath(Middleware):
    """Sends ``/users/...`` to the cluster ``users``."""

    def __call__(self, request: Request) -> Response:
        if name := request.path.split("/")[1]:
            request.route_to(name)
        return self.app(request)


class InFlight(Middleware):
    """Answers ``/in_flight`` with how many tries are in flight, by server, where there are any."""

    def __call__(self, request: Request) -> Response:
        if request.path != "/in_flight":
            return self.app(request)
        members = [thing for thing in gc.get_objects() if isinstance(thing, Member)]
        return Response.json_of({m.server.url: m.in_flight for m in members if m.in_flight})


class Reads(Middleware):
    """Reads answers to requests with ``X-Read`` before it passes them on."""

    def __call__(self, request: Request) -> Response:
        answer = self.app(request)
        if "x-read" in request.headers:
            answer.read_body()
        return answer


class TwoRequests(Middleware):
    """Asks for ``/users/first`` on its way, and again when an answer is bad."""

    def __call__(self, request: Request) -> Response:
        if "x-twice" not in request.headers:
            return self.app(request)
        first = Request("GET", "/users/first", {"Host": "a.test"})
        first.route_to("users")
        self.app(first)  # whose body nobody reads
        try:
            return self.app(request)
        except UpstreamError:
            return self.app(request)


class Places(Middleware):
    """Answers ``/places`` with what guarded clusters have to do: exchanges, places taken, waiting."""

    def __call__(self, request: Request) -> Response:
        if request.path != "/places":
            return self.app(request)
        guards = [thing for thing in gc.get_objects() if isinstance(thing, Guard)]
        counts = {
            g.cluster.name: [g.gate.exchanges, sum(g.gate.taken.values()), g.gate.waiting] for g in guards
        }
        return Response.json_of({name: numbers for name, numbers in counts.items() if any(numbers)})
