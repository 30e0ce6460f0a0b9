"""``Router``: which cluster a request goes to."""

from __future__ import annotations

from collections.abc import Mapping

from pyrox.errors import NoRoute
from pyrox.http.message import Request
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.server import WSGI, parse_server

# Destinations come from middleware and may be made from client input: remember only so many.
_MAX_ADHOC = 1024


class Router:
    """Sends a request to the cluster ``default``, or to where its middleware or its route sent it."""

    def __init__(self, clusters: Mapping[str, Cluster], default: str) -> None:
        self._clusters = clusters
        self._default = clusters.get(default)  # None: what no route takes goes nowhere
        self._adhoc: dict[str, Cluster] = {}

    def route(self, request: Request) -> Cluster:
        """Return the cluster for ``request``; raises ``NoRoute`` (404) for an unknown name."""
        if request.route is None:
            if self._default is None:
                raise NoRoute("no route takes it")
            return self._default
        return self._clusters.get(request.route) or self._adhoc_cluster(request.route)

    def _adhoc_cluster(self, destination: str) -> Cluster:
        cluster = self._adhoc.get(destination)
        if cluster is None:
            if destination.startswith(WSGI):  # to import what a middleware names could be to import anything
                raise NoRoute(f"route_to: the configuration names no {destination}")
            try:
                cluster = Cluster(destination, [Member(parse_server(destination))])
            except ValueError as error:
                raise NoRoute(f"route_to: no cluster of that name, and {error}") from None
            if len(self._adhoc) >= _MAX_ADHOC:
                self._adhoc.clear()
            self._adhoc[destination] = cluster
        return cluster
