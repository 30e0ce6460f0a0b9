#!/usr/bin/env python3
"""Measure the time from starting Pyrox to its first answer to a request, beside a bare Python's start."""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import time
from statistics import median

from origin import running_origin
from processes import READY_TIMEOUT, Process, StartError, exit_on_signals, free_ports, scratch
from report import verdict
from variants import PEERS, Missing, Site, Variant, chosen_variants

MUST = 0.6  # seconds
INTERVAL = 0.002  # between two tries to get an answer


def is_answered(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/small")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def first_answer(variant: Variant, site: Site) -> float:
    """Start ``variant`` and return the seconds until a request was answered with 200."""
    launch = variant.prepare(site)
    started = time.monotonic()
    with Process(variant.name, launch.command, site.directory / "output.log", launch.env) as process:
        while not is_answered(site.port):
            if process.has_ended() or time.monotonic() > started + READY_TIMEOUT:
                raise StartError(f"{variant.name} did not answer; its log ends:\n{process.log_tail()}")
            time.sleep(INTERVAL)
        return time.monotonic() - started


def bare_python() -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.monotonic() - started


def row(name: str, seconds: list[float]) -> str:
    return f"{name:14}{median(seconds):8.3f}{min(seconds):8.3f}{max(seconds):8.3f}"


def run(arguments: argparse.Namespace) -> None:
    print(f"seconds to the first answer, {arguments.runs} starts; budget {MUST:g} (median)")
    print(f"{'':14}{'median':>8}{'least':>8}{'most':>8}")
    with scratch() as directory, running_origin(directory / "origin") as origin:
        print(row("bare python", [bare_python() for _ in range(arguments.runs)]), flush=True)
        for variant in chosen_variants(arguments.pyrox_command, arguments.peers):
            site = Site(directory / variant.name, free_ports(1)[0], origin.port)
            site.directory.mkdir()
            try:
                seconds = [first_answer(variant, site) for _ in range(arguments.runs)]
            except (Missing, StartError) as reason:
                print(f"{variant.name:14}missing: {reason}", flush=True)
                continue
            met = f"   {verdict(median(seconds), MUST, None)}" if variant.is_pyrox else ""
            print(row(variant.name, seconds) + met, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    option = parser.add_argument
    option("--runs", type=int, default=10, help="(%(default)s)")
    option("--peers", default="", help=f"measure these too, of: {','.join(PEERS)}")
    option("--pyrox-command", action="append", default=[], metavar="NAME=COMMAND", help="one more Pyrox")
    return parser.parse_args()


if __name__ == "__main__":
    with exit_on_signals():
        run(parse_arguments())
