#!/usr/bin/env python3
"""Measure what a cluster adds to a request, for each way of balancing, in the forwarder that the proxy uses.

No sockets: the forwarder gets connections that answer at once, so that all but the choice of the server, and
keeping account of it, is the same for each. The default is one server in turn. All take turns; the least of
many short runs, because noise only ever adds.

Last, all of it together, on the whole road through a worker: a thousand routes, the last of which leads to a
busy cluster with checks and least_conn. There the caches of the processor hold other things as well, so that
the same code takes two to three times as long as in a loop of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from report import verdict
from road import REQUESTS, travel
from turns import least_of_each

from pyrox.config import parse_settings
from pyrox.green.forwarder import Forwarder
from pyrox.http.framing import ChunkLimits
from pyrox.http.head import HeadLimits
from pyrox.http.head_cache import HeadCache
from pyrox.http.message import Request, Response
from pyrox.router import Router
from pyrox.upstreams.building import make_clusters
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Reason

MUST, AIM = 2.0, 1.0  # microseconds over the default
MUST_GUARDED, AIM_GUARDED = 5.0, 3.0  # of a cluster that does something about failure and overload
MUST_TOGETHER, AIM_TOGETHER = 5.0, 3.0  # of routes, checks and least_conn in one
CALLS = 500
ONE_SERVER = "[logging]\naccess_log = /dev/null\n[routing]\nupstream_hosts = http://10.0.0.1:80\n"
ROUTES = 1000
SERVERS = 5
SECRET = "0123456789abcdef0123456789abcdef"
CHECKED = ("health_check = http",)
RETRIES = ("retry_on = reset, timeout, 503",)
LIMITS = ("max_connections = 100", "max_exchanges = 100", "queue = 10")
BREAKER = ("breaker = 50",)
TRY_TIMEOUT = ("try_timeout = 1",)
WATCHED = ("eject_failures = 5", "eject_deviation = 1.9")
DEFAULT, ALONE = "default, and all the rest", "default"
WITH_COOKIE, DEFAULT_WITH_COOKIE = "sticky, with its cookie", "default, with a cookie"
REQUEST = b"GET /path?user=42 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8\r\nAccept: */*\r\n%b\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nDate: x\r\n\r\n"


class Stream:
    """A stream that takes what is sent, and holds the body of the answer."""

    failure = None

    def __init__(self) -> None:
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.buffer = b"ok"


class Connection:
    """A connection that has the answer already."""

    is_reused = True

    def __init__(self, server: Any) -> None:
        self.server = server
        self.stream = Stream()

    def read_response(self, method: str, heads: HeadCache, patience: int) -> Response:
        return heads.response(RESPONSE, method)


class Pool:
    """A pool that holds a connection to each server for ever."""

    def __init__(self) -> None:
        self._idle: dict[str, Connection] = {}

    def checkout(self, server: Any, *_: object) -> Connection:
        connection = self._idle.get(server.url)
        if connection is None:
            connection = self._idle[server.url] = Connection(server)
        return connection

    def checkin(self, connection: Connection) -> None:
        pass


def cluster_of(servers: str, balance: str, *options: str) -> Cluster:
    """Return the cluster that such a section makes."""
    needs = {"hash": "hash_on = query:user", "sticky": f"cookie_secret = {SECRET}"}
    lines = [f"servers = {servers}", f"balance = {balance}", needs.get(balance, ""), *options]
    settings = parse_settings(["[clusters]", "[[users]]", *lines])
    return make_clusters(["http://default"], settings.clusters.sections, Random(1).random)["users"]


def servers(weights: Sequence[int]) -> str:
    return ", ".join(f"http://10.0.0.{number} weight={weight}" for number, weight in enumerate(weights))


def asker(cluster: Cluster, field: bytes = b"") -> Callable[[], object]:
    """Return what sends one request through the forwarder."""
    heads = HeadCache(HeadLimits())
    pool: Any = Pool()
    forward = Forwarder(
        Router({cluster.name: cluster}, cluster.name),
        pool,
        heads,
        ChunkLimits(),
        first_byte_patience=8,
        read_patience=8,
        preserve_host=True,
        current_exchange=lambda: None,
    )
    raw = REQUEST % field

    return lambda: forward(heads.request(raw))


def busy(cluster: Cluster) -> Cluster:
    """Let every member have something in flight, each a little more than the one before."""
    for number, member in enumerate(cluster.members):
        member.in_flight = 4 * int(member.full_weight) + number % 3
    return cluster


def ailing(cluster: Cluster) -> Cluster:
    """Let one member be unhealthy."""
    cluster.exclude(cluster.members[0], Reason.UNHEALTHY, 0.0)
    return cluster


def pinned() -> tuple[Cluster, bytes]:
    """A sticky cluster, and the field of a client that brings its cookie."""
    cluster = cluster_of(servers([1] * SERVERS), "sticky")
    request = Request("GET", "/")
    response = Response(200)
    cluster.answered(cluster.choose(request, 0.0), request, response, 0.0, 0.0)
    cookie = (response.headers.get("set-cookie") or "").partition(";")[0]
    return cluster, f"Cookie: {cookie}\r\n".encode()


def balancing() -> dict[str, Callable[[], object]]:
    """Return a cluster for each way of choosing a server; what brings a cookie is measured beside its own."""
    equal, weighted = servers([1] * SERVERS), servers([5, 3, 2, 1, 1])
    sticky, cookie = pinned()
    return {
        f"round_robin, {SERVERS} servers": asker(cluster_of(equal, "round_robin")),
        "round_robin, weights": asker(cluster_of(weighted, "round_robin")),
        "round_robin, checks": asker(ailing(cluster_of(equal, "round_robin", *CHECKED))),
        "round_robin, ejections": asker(ailing(cluster_of(equal, "round_robin", *WATCHED))),
        "least_conn, idle": asker(cluster_of(equal, "least_conn")),
        "least_conn, busy": asker(busy(cluster_of(equal, "least_conn"))),
        "least_conn, busy, weights": asker(busy(cluster_of(weighted, "least_conn"))),
        "random_two, busy": asker(busy(cluster_of(equal, "random_two"))),
        "random_two, busy, weights": asker(busy(cluster_of(weighted, "random_two"))),
        "ewma, busy": asker(busy(cluster_of(equal, "ewma"))),
        "hash, one key": asker(cluster_of(equal, "hash")),
        WITH_COOKIE: asker(sticky, cookie),
        DEFAULT_WITH_COOKIE: asker(default_cluster(), cookie),
    }


def guarding() -> dict[str, Callable[[], object]]:
    """Return a cluster for each way of doing something about failure and overload."""
    options = {
        "retries": RETRIES,
        "limits and a queue": LIMITS,
        "breakers": BREAKER,
        "retries and try_timeout": RETRIES + TRY_TIMEOUT,
        "retries, limits, breakers": RETRIES + LIMITS + BREAKER,
    }
    equal = servers([1] * SERVERS)
    return {name: asker(cluster_of(equal, "round_robin", *each)) for name, each in options.items()}


def default_cluster() -> Cluster:
    return make_clusters(["http://10.0.0.1:80"], {}, Random(1).random)["upstream_hosts"]


def checked_road(*options: str) -> Callable[[], None]:
    """Return the road through routes to a busy cluster with checks and least_conn, and these options."""
    cluster = ["[clusters]", "[[users]]", f"servers = {servers([1] * SERVERS)}", "balance = least_conn"]
    routes = ["[routes]"]
    for number in range(ROUTES):
        match = f"Host(`h{number % 100}.test`) && PathPrefix(`/v{number // 100}/users`)"
        routes += [f"[[r{number}]]", f"match = {match}", "cluster = users"]

    def prepare(clusters: Mapping[str, Cluster]) -> None:
        ailing(busy(clusters["users"]))

    return travel(ONE_SERVER + "\n".join([*cluster, *CHECKED, *options, *routes]), prepare=prepare)


def everything() -> dict[str, Callable[[], object]]:
    """Return the road of the default configuration, and that of a configuration with all of it."""
    return {
        ALONE: travel(ONE_SERVER),
        f"{ROUTES} routes, checks, least_conn": checked_road(),
        "the same, and ejections": checked_road(*WATCHED),
    }


def show(costs: dict[str, float], base: float, must: float, aim: float) -> None:
    for name, cost in costs.items():
        print(f"{name:32}{cost - base:8.3f}   {verdict(cost - base, must, aim)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=300, help="(%(default)s)")
    repeats = parser.parse_args().repeats
    variants = {DEFAULT: asker(default_cluster()), **balancing(), **guarding()}
    costs = least_of_each(variants, repeats, CALLS)
    base = costs.pop(DEFAULT)
    guarded = {name: costs.pop(name) for name in guarding()}
    with_cookie = costs.pop(WITH_COOKIE) - costs.pop(DEFAULT_WITH_COOKIE)
    print(f"microseconds for each request, over the default; budget {MUST:g}, aim {AIM:g}")
    print(f"{DEFAULT:32}{base:8.3f}")
    show(costs, base, MUST, AIM)
    # A cookie has to be read, judged and taken out: that is no part of the budget.
    print(f"{WITH_COOKIE:32}{with_cookie:8.3f}")
    print(f"\nguarded, budget {MUST_GUARDED:g}, aim {AIM_GUARDED:g}")
    show(guarded, base, MUST_GUARDED, AIM_GUARDED)
    least = least_of_each(everything(), repeats, 1)
    together = {name: cost / REQUESTS for name, cost in least.items()}
    alone = together.pop(ALONE)
    print(f"\nthe whole road, budget {MUST_TOGETHER:g}, aim {AIM_TOGETHER:g}")
    print(f"{ALONE:32}{alone:8.3f}")
    show(together, alone, MUST_TOGETHER, AIM_TOGETHER)


if __name__ == "__main__":
    main()
