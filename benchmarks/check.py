#!/usr/bin/env python3
"""Tell whether the road of a request has become slower than it was when benchmarks/recorded.json was written.

No sockets, no load: what Python does for a request is compared with a loop of plain Python, in the same
process and in turns, so that the speed of the machine, and what else it does, falls on both. What counts is
the ratio. Measuring goes on until no ratio is more than the tolerance above the recorded one, or until the
time is up; noise passes, a slower road does not. Ends with 1 then, and with 0 on another version of Python
than the recorded one, of which nothing can be said.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import filter_cost
import routing_cost
from road import POST, REQUESTS, travel
from turns import least_of_each

RECORDED = Path(__file__).resolve().parent / "recorded.json"
TURNS = 10  # between two looks at the ratios
CALIBRATION = "calibration"
BARE = "[routing]\nupstream_hosts = http://10.0.0.1:80\n[logging]\naccess_log = "
DEFAULT = f"""{BARE}/dev/null
[middleware]
stack = request_id, headers, access_control
[[headers]]
response_set = X-Served-By: pyrox
[[access_control]]
allow = 127.0.0.0/8
"""


class Part:
    """What the calibration works with: objects, dicts and bytes, as a proxy does."""

    __slots__ = ("fields", "name")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.fields = [(name, name, b"value")]

    def encoded(self) -> bytes:
        return b"".join([b"%b: %b\r\n" % (name, value) for _, name, value in self.fields])


def calibrate() -> None:
    """Run a fixed amount of plain Python, of the length of a few hundred requests."""
    seen: dict[bytes, bytes] = {}
    for number in range(4000):
        part = Part(b"name-%d" % (number & 63))
        seen[part.name] = part.encoded()
        if part.name not in seen or seen[part.name].find(b"\r\n") < 0:
            raise AssertionError(part.name)


def measured() -> dict[str, Callable[[], object]]:
    """Return what is compared with the calibration."""
    legacy = filter_cost.request_maker(filter_cost.PIPELINE + "request")
    _, routed, _ = routing_cost.everything().values()
    return {
        "GET, no middleware, no log": travel(BARE),
        "GET, three middleware": travel(DEFAULT),
        "POST, three middleware": travel(DEFAULT, POST),
        "GET, routes, checks, least_conn": routed,
        "legacy pipeline": lambda: [legacy() for _ in range(REQUESTS)],
    }


def measure(tolerance: float, recorded: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Return the ratios, measured until they are good or for ``seconds``."""
    variants = {CALIBRATION: calibrate, **measured()}
    least = dict.fromkeys(variants, float("inf"))
    until = time.monotonic() + seconds
    while True:
        for name, cost in least_of_each(variants, TURNS, 1).items():
            least[name] = min(least[name], cost)
        ratios = {name: cost / least[CALIBRATION] for name, cost in least.items() if name != CALIBRATION}
        is_good = all(ratios[name] <= recorded.get(name, 0) * (1 + tolerance) for name in ratios)
        if is_good or time.monotonic() > until:
            return ratios


def show(ratios: Mapping[str, float], recorded: Mapping[str, float], tolerance: float) -> bool:
    """Print the ratios beside those recorded; returns whether all are as good."""
    print(
        f"{'relative to plain Python':34}{'now':>8}{'recorded':>10}{'change':>9}   (up to {tolerance:+.0%})"
    )
    is_good = True
    for name, ratio in ratios.items():
        before = recorded.get(name)
        if before is None:
            print(f"{name:34}{ratio:8.3f}         -   not recorded yet: --record")
            continue
        change = ratio / before - 1
        is_slower = change > tolerance
        is_good = is_good and not is_slower
        print(f"{name:34}{ratio:8.3f}{before:10.3f}{change:+9.1%}   {'SLOWER' if is_slower else ''}".rstrip())
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="store_true", help="write benchmarks/recorded.json anew")
    parser.add_argument("--tolerance", type=float, default=0.25, help="a part of the ratio (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="measure no longer (%(default)s)")
    options = parser.parse_args()
    python = ".".join(platform.python_version_tuple()[:2])
    if options.record:
        ratios = measure(0, {}, options.seconds)
        rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
        RECORDED.write_text(json.dumps({"python": python, "ratios": rounded}, indent=1) + "\n")
        return 0
    recorded = json.loads(RECORDED.read_text())
    if recorded["python"] != python:
        print(f"recorded on Python {recorded['python']}, this is {python}: nothing to compare with")
        return 0
    ratios = measure(options.tolerance, recorded["ratios"], options.seconds)
    return 0 if show(ratios, recorded["ratios"], options.tolerance) else 1


if __name__ == "__main__":
    sys.exit(main())
