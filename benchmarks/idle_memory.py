#!/usr/bin/env python3
"""Measure the resident memory of one idle keep-alive connection.

Opens many connections, sends one request on each, and divides what the proxy's processes grew by. Twice: at
once, and after a while of silence, when a proxy may have put what it does not need away.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import select
import socket
import time
from dataclasses import dataclass

from load import BROWSER_FIELDS, LoadError, parse_head
from origin import running_origin
from processes import Process, StartError, exit_on_signals, free_ports, scratch
from report import verdict
from variants import PEERS, Missing, Site, Variant, chosen_variants

MUST, AIM = 10.0, 7.0  # KiB a connection
WARM_UP = 200  # connections that make the allocator and the upstream pool grow before the first look
REQUEST = ("GET /small HTTP/1.1\r\nHost: localhost\r\n" + "\r\n".join(BROWSER_FIELDS) + "\r\n\r\n").encode()


@dataclass(frozen=True)
class Memory:
    """KiB, of all processes of a proxy."""

    pss: float
    rss: float

    @classmethod
    def of(cls, process: Process) -> Memory:
        return cls(process.resident_bytes("Pss") / 1024, process.resident_bytes("Rss") / 1024)

    def per_connection(self, before: Memory, count: int) -> Memory:
        return Memory((self.pss - before.pss) / count, (self.rss - before.rss) / count)


def open_used(port: int) -> socket.socket:
    """Open a connection and use it once."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(REQUEST)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status, length = parse_head(head)
    while len(body) < length:
        body += _some(connection)
    if status != 200:
        raise LoadError(f"answered {status}")
    return connection


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise LoadError("closed the connection before its answer was complete")
    return data


def require_open(connections: list[socket.socket]) -> None:
    """A connection that its proxy has closed costs no memory, and must not count as cheap."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    if closed := len(poll.poll(0)):
        raise LoadError(f"{closed} of {len(connections)} idle connections were closed")


def measure(variant: Variant, site: Site, count: int, settle: float) -> tuple[Memory, Memory]:
    """Return the memory per connection at once and after ``settle`` seconds of silence."""
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(variant.start(site))
        warm_up = [stack.enter_context(open_used(site.port)) for _ in range(WARM_UP)]
        time.sleep(settle)
        before = Memory.of(process)
        connections = [stack.enter_context(open_used(site.port)) for _ in range(count)]
        at_once = Memory.of(process)
        time.sleep(settle)
        require_open(warm_up + connections)
        return at_once.per_connection(before, count), Memory.of(process).per_connection(before, count)


def raise_file_limit(needed: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < needed:
        raise SystemExit(f"{needed} open files are needed, {hard} are allowed (ulimit -Hn)")


def row(variant: Variant, at_once: Memory, settled: Memory) -> str:
    line = f"{variant.name:14}{at_once.pss:10.1f}{at_once.rss:10.1f}{settled.pss:12.1f}{settled.rss:12.1f}"
    return line + (f"   {verdict(settled.pss, MUST, AIM)}" if variant.is_pyrox else "")


def run(arguments: argparse.Namespace) -> None:
    raise_file_limit(arguments.connections + 1000)
    print(f"KiB for each of {arguments.connections} idle connections; budget {MUST:g}, aim {AIM:g}")
    print(f"{'':14}{'PSS':>10}{'RSS':>10}{'PSS settled':>12}{'RSS settled':>12}", flush=True)
    with scratch() as directory, running_origin(directory / "origin") as origin:
        for variant in chosen_variants(arguments.pyrox_command, arguments.peers):
            site = Site(directory / variant.name, free_ports(1)[0], origin.port)
            site.directory.mkdir()
            try:
                print(
                    row(variant, *measure(variant, site, arguments.connections, arguments.settle)), flush=True
                )
            except (Missing, StartError, LoadError, OSError) as reason:
                print(f"{variant.name:14}missing: {reason}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--connections", type=int, default=5000, help="(%(default)s)")
    option("--settle", type=float, default=4.0, metavar="SECONDS", help="length of the silence (%(default)s)")
    option("--peers", default="", help=f"measure these too, of: {','.join(PEERS)}")
    option("--pyrox-command", action="append", default=[], metavar="NAME=COMMAND", help="one more Pyrox")
    return parser.parse_args()


if __name__ == "__main__":
    with exit_on_signals():
        run(parse_arguments())
