#!/usr/bin/env python3
"""Send kinds of request down the road for a profile: where does the time go, and where has a change put it?

These are the kinds that check.py counts. The profile is Pyrox's own, for pstats and for flame graphs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import filter_cost
import routing_cost
from callgrind import Call, count_each
from middleware_cost import Written
from road import POST, REQUESTS, travel, varied

from pyrox import log_format
from pyrox.log_values import Clock
from pyrox.profiler import Profiler

BARE = "[routing]\nupstream_hosts = http://10.0.0.1:80\n[logging]\naccess_log = "
DEFAULT = f"""{BARE}/dev/null
[middleware]
stack = request_id, headers, access_control
[[headers]]
response_set = X-Served-By: pyrox
[[access_control]]
allow = 127.0.0.0/8
"""
LAYERS = 20
NAMES = [f"noop{number}" for number in range(LAYERS)]
NO_OPS = f"{BARE}\n[middleware]\nstack = {', '.join(NAMES)}\n" + "".join(
    f"[[{name}]]\nclass = {Written.__module__}.{Written.__qualname__}\n" for name in NAMES
)
LEGACY = f"{BARE}\n{filter_cost.PIPELINE}request\n"

KINDS: dict[str, Callable[[], Call]] = {
    "bare": lambda: travel(BARE),
    "get": lambda: travel(DEFAULT),
    "post": lambda: travel(DEFAULT, POST),
    "varied": lambda: travel(DEFAULT, varied()),
    "routes": routing_cost.checked_road,
    "legacy": lambda: travel(LEGACY),
    "no-ops": lambda: travel(NO_OPS),
}
PLAIN = "plain"


class Part:
    """What plain Python works with: objects, tuples and bytes, as a proxy does."""

    __slots__ = ("fields", "name")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.fields = [(name, b"value"), (b"Other", b"x")]

    def encoded(self) -> bytes:
        return b"".join([b"%b: %b\r\n" % field for field in self.fields])

    def is_named(self, name: bytes) -> bool:
        return self.has(name) and self.fields is not None

    def has(self, name: bytes) -> bool:
        return self.name == name


def plain_turn() -> bytes:
    """Run some plain Python, about two microseconds of it: what a road is compared with.

    Its calls and its making of objects are so mixed that it gains from an optimised build of the interpreter
    what a road gains from it.
    """
    part = Part(b"name")
    for _ in range(8):
        if not part.is_named(b"name"):
            raise AssertionError(part.name)
    return part.encoded()


def plain_turns(turns: int) -> None:
    for _ in range(turns):
        plain_turn()


def burdened(prepare: Callable[[], Call], turns: int) -> Callable[[], Call]:
    """Return what makes the same road with ``turns`` of plain Python more for each request."""

    def prepared() -> Call:
        travel_once = prepare()

        def call() -> None:
            travel_once()
            plain_turns(turns * REQUESTS)

        return call

    return prepared


def profile(kinds: list[str], times: int, directory: str) -> None:
    """Send each kind ``times`` times, and write one profile of all of it."""
    sends = [KINDS[name]() for name in kinds]
    profiler = Profiler()
    profiler.start()
    for send in sends:
        for _ in range(times):
            send()
    profiler.stop()
    print(*profiler.write(directory), sep="\n")


class StillClock(Clock):
    """Always noon: a new second costs the log half a request, and a slow count has more of them."""

    def __init__(self) -> None:
        super().__init__(repeat(1_800_000_000.0).__next__)


def count(kinds: list[str], burden: int, directory: Path) -> None:
    """Print the instructions of each kind, and of as many turns of plain Python, as JSON."""
    log_format.Clock = StillClock  # type: ignore[misc]
    prepares = {name: burdened(KINDS[name], burden) for name in kinds}
    prepares[PLAIN] = lambda: lambda: plain_turns(REQUESTS)
    print(json.dumps(count_each(prepares, directory)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("kinds", nargs="+", choices=KINDS, metavar="KIND", help=f"of: {', '.join(KINDS)}")
    option("--times", type=int, default=500, metavar="N", help=f"N times {REQUESTS} requests (%(default)s)")
    option("--directory", default=".", help="where the profile is written")
    option("--burden", type=int, default=0, help=argparse.SUPPRESS)
    option("--count-in", type=Path, help=argparse.SUPPRESS)  # for check.py: callgrind's directory
    options = parser.parse_args()
    if options.count_in:
        count(options.kinds, options.burden, options.count_in)
    else:
        profile(options.kinds, options.times, options.directory)


if __name__ == "__main__":
    main()
