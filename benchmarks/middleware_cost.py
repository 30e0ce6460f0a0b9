#!/usr/bin/env python3
"""Measure what one no-op middleware adds to a request, in the stack that the proxy itself builds.

No sockets: a stack of none and a stack of many around an app that answers at once, the difference divided by
their number. The least of many short runs, because noise only ever adds.
"""

from __future__ import annotations

import argparse
import sys
import timeit
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from report import verdict

from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.stack import build_stack

MUST, AIM = 0.3, 0.15  # microseconds
LAYERS = 20
CALLS = 2000


class Inherited(Middleware):
    """The shortest middleware there is: it inherits the call."""


class Written(Middleware):
    """The shortest one that a user would write."""

    def __call__(self, request: Request) -> Response:
        response = self.app(request)
        return response


def answer_at_once() -> App:
    """Make an app whose responses, like those from upstream, already name their maker."""
    response = Response(200, b"hello\n")
    response.made_by = "upstream"
    return lambda request: response


def microseconds(layers: int, kind: type[Middleware], repeats: int) -> float:
    """Return the least time of one call through ``layers`` middleware."""
    app = build_stack([(f"noop{number}", kind) for number in range(layers)], answer_at_once())
    request = Request("GET", "/")
    return min(timeit.repeat(lambda: app(request), number=CALLS, repeat=repeats)) / CALLS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=100, help="(%(default)s)")
    repeats = parser.parse_args().repeats
    print(f"microseconds for each no-op middleware, of {LAYERS}; budget {MUST:g}, aim {AIM:g}")
    bare = microseconds(0, Middleware, repeats)
    for kind in (Inherited, Written):
        cost = (microseconds(LAYERS, kind, repeats) - bare) / LAYERS
        print(f"{kind.__name__.lower():14}{cost:8.3f}   {verdict(cost, MUST, AIM)}")


if __name__ == "__main__":
    main()
