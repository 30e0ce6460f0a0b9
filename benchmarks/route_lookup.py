#!/usr/bin/env python3
"""Measure what routes add to a request: finding the route, and the way through it to the forwarder.

No sockets: the app that the proxy builds of a configuration with so many routes, around a forwarder that
answers at once, less that forwarder alone. The least of many short runs, because noise only ever adds.
"""

from __future__ import annotations

import argparse
import gc
import sys
import timeit
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from report import verdict

from pyrox.config import parse_settings
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.routing.dispatch import build_routes
from pyrox.settings import RouteSettings, Settings

MUST, AIM = 3.0, 2.0  # microseconds
CALLS = 1000

_HOST_AND_PATH = "Host(`h{host}.test`) && PathPrefix(`/v{path}/users`)"
# Of "host" and "path" all that a route demands is known from the index; the others are tried as well.
RULES = {
    "host and path": _HOST_AND_PATH,
    "and method": f"{_HOST_AND_PATH} && Method(`GET`)",
    "or header": f"{_HOST_AND_PATH} && (Method(`PUT`) || !Header(`X-Beta`, `1`))",
}

_ODD = "the same, of a path with %2F"


class Bare:
    """An engine whose forwarder answers at once, and that sets no limits."""

    def __init__(self) -> None:
        response = Response(200, b"hello\n")
        response.made_by = "upstream"
        self.app: App = lambda request: response

    def forward(self, route: RouteSettings | None) -> App:
        return self.app

    def mirror(self, route: RouteSettings, app: App) -> App:
        return app

    def enter(self, route: RouteSettings, app: App) -> App:
        return app


def configured(routes: int, hosts: int, rule: str) -> Settings:
    """Return settings with so many routes, spread over so many hosts."""
    lines = ["[routes]"]
    for number in range(routes):
        match = rule.format(host=number % hosts, path=number // hosts)
        lines += [f"[[r{number}]]", f"match = {match}", "cluster = http://a"]
    return parse_settings(lines)


def request_for(number: int, hosts: int, target: str) -> Request:
    """Return a request as a browser sends it, for the route of that number."""
    names = ("User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Referer", "Cookie")
    fields = [("Host", f"h{number % hosts}.test:8080"), *((name, "a" * 40) for name in names)]
    return Request("GET", target.format(path=number // hosts), fields)


def microseconds(app: App, request: Request, repeats: int) -> float:
    """Return the least time of one call."""
    return min(timeit.repeat(lambda: app(request), number=CALLS, repeat=repeats)) / CALLS * 1e6


def rows(repeats: int) -> Iterator[tuple[str, float]]:
    """Yield what is measured, and what it adds."""
    bare = Bare()
    plain, odd = "/v{path}/users/42?page=1", "/v{path}/users/a%2Fb?page=1"
    for routes, hosts in ((1, 1), (1000, 100), (10000, 100), (10000, 10000)):
        for name, rule in RULES.items():
            app = build_routes(configured(routes, hosts, rule), bare)
            request = request_for(routes - 1, hosts, plain)
            alone = microseconds(bare.app, request, repeats)
            yield f"{routes} routes, {hosts} hosts: {name}", microseconds(app, request, repeats) - alone
    yield _ODD, microseconds(app, request_for(9999, hosts, odd), repeats) - alone


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200, help="(%(default)s)")
    repeats = parser.parse_args().repeats
    gc.disable()
    print(f"microseconds that routes add to a request; budget {MUST:g}, aim {AIM:g}")
    for name, cost in rows(repeats):
        said = "(no budget: it is looked up for each reading)" if name == _ODD else verdict(cost, MUST, AIM)
        print(f"{name:46}{cost:7.2f}   {said}")


if __name__ == "__main__":
    main()
