#!/usr/bin/env python3
"""Measure Pyrox beside a raw relay and other proxies, and print ratios beside the budgets.

CPU microseconds per request of each proxy's processes; the variants take turns in short slices, in random
order, so that whatever else the machine does falls on all of them alike. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import ssl
import sys
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import report
from load import LoadError
from machine import OtherWork, describe
from origin import LARGE_BODY, SMALL_BODY, Origin, make_certificate, running_origin
from processes import Process, StartError, exit_on_signals, free_ports, scratch
from report import Result, Slice
from variants import PEERS, Certificate, Missing, Site, Variant, chosen, chosen_variants
from workloads import WORKLOADS, Target, Workload


class Bench:
    """One run: where its files are, what stands behind the proxies, and how long it may take."""

    def __init__(self, directory: Path, origin: Origin, certificate: Certificate, deadline: float) -> None:
        self.directory = directory
        self.origin = origin
        self.certificate = certificate
        self.deadline = deadline

    def site(self, variant: Variant, workload: Workload) -> Site:
        """Make the directory and choose the port for one variant in one workload."""
        directory = self.directory / f"{workload.name}-{variant.name}"
        directory.mkdir()
        (port,) = free_ports(1)
        return Site(directory, port, self.origin.port, self.certificate if workload.tls else None)

    def has_time(self) -> bool:
        return time.monotonic() < self.deadline


def measure(bench: Bench, workload: Workload, variants: list[Variant], rounds: int, seconds: int) -> Result:
    """Run one workload over all variants. The first round warms up and is not counted."""
    result = Result(workload, pyroxes=[variant.name for variant in variants if variant.is_pyrox])
    with contextlib.ExitStack() as stack:
        running = start_all(bench, workload, variants, result, stack)
        others = OtherWork([bench.origin.process, *(process for process, _ in running.values())])
        for number in range(rounds + 1):
            if number > 1 and not bench.has_time():
                note(f"{workload.name}: out of time after {number - 1} rounds")
                break
            note(f"{workload.name}: round {number} of {rounds}")
            take_turns(bench, running, result, seconds, counted=number > 0)
        result.other_work = others.share()
    return result


Running = dict[str, tuple[Process, int]]


def start_all(
    bench: Bench, workload: Workload, variants: list[Variant], result: Result, stack: contextlib.ExitStack
) -> Running:
    """Start every variant and see that it answers rightly; what does not goes to ``result.absent``."""
    running: Running = {}
    for variant in variants:
        try:
            if workload.keeps_alive and not variant.keeps_alive:
                raise Missing("answers only the first request of a connection")
            site = bench.site(variant, workload)
            process = stack.enter_context(variant.start(site))
        except (Missing, StartError) as reason:
            result.absent[variant.name] = str(reason)
            continue
        try:
            probe(site, workload)
        except LoadError as reason:
            result.absent[variant.name] = with_log(reason, process)
        else:
            running[variant.name] = (process, site.port)
    return running


def probe(site: Site, workload: Workload) -> None:
    """Ask once over a connection of its own: a wrong answer must not be measured."""
    connection = HTTPConnection("127.0.0.1", site.port, timeout=10)
    if site.certificate:
        trust = ssl.create_default_context(cafile=str(site.certificate.cert))
        connection = HTTPSConnection("localhost", site.port, timeout=10, context=trust)
    expected = LARGE_BODY if workload.path == "/large" else SMALL_BODY
    try:
        connection.request("POST" if workload.path == "/sink" else "GET", workload.path)
        response = connection.getresponse()
        length = len(response.read())
    except (OSError, HTTPException) as error:
        raise LoadError(f"does not answer: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if (response.status, length) != (200, expected):
        raise LoadError(f"answers {response.status} with {length} bytes instead of 200 with {expected}")


def take_turns(bench: Bench, running: Running, result: Result, seconds: int, counted: bool) -> None:
    """Give each variant one slice, in random order; one whose load breaks is out from then on."""
    for name in random.sample(list(running), len(running)):
        process, port = running[name]
        target = Target(port, bench.origin.directory)
        before, ticks_before = process.cpu_seconds(), process.mode_ticks()
        try:
            done = result.workload.drive(target, seconds * result.workload.slices)
            if not done.requests:
                raise LoadError("not one request was answered in a slice")
        except (LoadError, OSError) as reason:
            result.absent[name] = with_log(reason, process)
            result.slices.pop(name, None)
            del running[name]
            continue
        if counted:
            used, ticks = process.cpu_seconds() - before, process.mode_ticks()
            modes = (ticks[0] - ticks_before[0], ticks[1] - ticks_before[1])
            result.slices.setdefault(name, []).append(Slice(used, *modes, done))


def with_log(reason: Exception, process: Process) -> str:
    return f"{reason}; its log ends:\n{process.log_tail()}"


def note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    option = parser.add_argument
    option("--workloads", default=",".join(WORKLOADS), help="of: %(default)s")
    option("--peers", default=",".join(PEERS), help="of: %(default)s")
    option("--rounds", type=int, default=10, help="slices per variant (%(default)s)")
    option("--slice", type=int, default=1, metavar="SECONDS", help="length of a turn (%(default)s)")
    option(
        "--limit", type=float, default=45, metavar="MINUTES", help="start no round after this (%(default)s)"
    )
    option("--only-ratios", action="store_true", help="leave the absolute figures out")
    option("--workers", type=int, default=1, metavar="N", help="measure Pyrox with N workers, too")
    option("--json", type=Path, metavar="FILE", help="write slices, figures and ratios there too")
    option(
        "--pyrox-command",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more Pyrox to measure, such as 'before=env PYTHONPATH=/other/checkout python -m pyrox'",
    )
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    names = chosen(arguments.workloads, dict(WORKLOADS), "workload")
    variants = chosen_variants(arguments.pyrox_command, arguments.peers, arguments.workers)
    deadline = time.monotonic() + arguments.limit * 60
    results: list[Result] = []
    with scratch() as directory, running_origin(directory / "origin") as origin:
        bench = Bench(directory, origin, make_certificate(directory), deadline)
        for name in names:
            result = measure(bench, WORKLOADS[name], variants, arguments.rounds, arguments.slice)
            results.append(result)
            print(report.text(result, arguments.only_ratios), flush=True)
    if arguments.json:
        run_as = {"rounds": arguments.rounds, "slice_seconds": arguments.slice}
        measured = [report.as_json(result) for result in results]
        everything = {"machine": describe(), "command": sys.argv, **run_as, "results": measured}
        arguments.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    with exit_on_signals():
        run(parse_arguments())
