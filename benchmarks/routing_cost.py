#!/usr/bin/env python3
"""Measure what a cluster adds to a request, for each way of balancing, in the forwarder that the proxy uses.

No sockets: the forwarder gets connections that answer at once, so that all but the choice of the server, and
keeping account of it, is the same for each. The default is one server in turn. The least of many short runs,
because noise only ever adds.
"""

from __future__ import annotations

import argparse
import sys
import timeit
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from report import verdict

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
CALLS = 500
SERVERS = 5
SECRET = "0123456789abcdef0123456789abcdef"
CHECKED = ("health_check = http",)
RETRIES = ("retry_on = reset, timeout, 503",)
LIMITS = ("max_connections = 100", "max_exchanges = 100", "queue = 10")
BREAKER = ("breaker = 50",)
TRY_TIMEOUT = ("try_timeout = 1",)
WATCHED = ("eject_failures = 5", "eject_deviation = 1.9")
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

    def checkout(self, server: Any, **_: object) -> Connection:
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


def microseconds(cluster: Cluster, repeats: int, field: bytes = b"") -> float:
    """Return the least time of one request through the forwarder."""
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

    def ask() -> None:
        forward(heads.request(raw))

    return min(timeit.repeat(ask, number=CALLS, repeat=repeats)) / CALLS * 1e6


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=300, help="(%(default)s)")
    repeats = parser.parse_args().repeats
    equal, weighted = servers([1] * SERVERS), servers([5, 3, 2, 1, 1])
    sticky, field = pinned()
    cases: list[tuple[str, Cluster, bytes]] = [
        (f"round_robin, {SERVERS} servers", cluster_of(equal, "round_robin"), b""),
        ("round_robin, weights", cluster_of(weighted, "round_robin"), b""),
        ("round_robin, checks", ailing(cluster_of(equal, "round_robin", *CHECKED)), b""),
        ("round_robin, ejections", ailing(cluster_of(equal, "round_robin", *WATCHED)), b""),
        ("least_conn, idle", cluster_of(equal, "least_conn"), b""),
        ("least_conn, busy", busy(cluster_of(equal, "least_conn")), b""),
        ("least_conn, busy, weights", busy(cluster_of(weighted, "least_conn")), b""),
        ("random_two, busy", busy(cluster_of(equal, "random_two")), b""),
        ("random_two, busy, weights", busy(cluster_of(weighted, "random_two")), b""),
        ("ewma, busy", busy(cluster_of(equal, "ewma")), b""),
        ("hash, one key", cluster_of(equal, "hash"), b""),
        ("sticky, with its cookie", sticky, field),
    ]
    guarded = {
        "retries": RETRIES,
        "limits and a queue": LIMITS,
        "breakers": BREAKER,
        "retries and try_timeout": RETRIES + TRY_TIMEOUT,
        "retries, limits, breakers": RETRIES + LIMITS + BREAKER,
    }
    print(f"microseconds for each request, over the default; budget {MUST:g}, aim {AIM:g}")
    default = make_clusters(["http://10.0.0.1:80"], {}, Random(1).random)["upstream_hosts"]
    base = microseconds(default, repeats)
    print(f"{'default, and all the rest':30}{base:8.3f}")
    for name, cluster, header in cases:
        again = microseconds(default, repeats, header)  # beside it: the machine's speed changes
        cost = microseconds(cluster, repeats, header) - again
        # A cookie has to be read, judged and taken out: that is no part of the budget.
        print(f"{name:30}{cost:8.3f}   {'' if header else verdict(cost, MUST, AIM)}".rstrip())
    print(f"\nguarded, budget {MUST_GUARDED:g}, aim {AIM_GUARDED:g}")
    for name, options in guarded.items():
        again = microseconds(default, repeats)
        cost = microseconds(cluster_of(equal, "round_robin", *options), repeats) - again
        print(f"{name:30}{cost:8.3f}   {verdict(cost, MUST_GUARDED, AIM_GUARDED)}".rstrip())


if __name__ == "__main__":
    main()
