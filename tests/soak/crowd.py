#!/usr/bin/env python3
"""Thousands of clients to a similar number of upstream servers, on one machine::

    python -m tests.soak.crowd [--servers 2000] [--clients 3000] [--seconds 30] [--idle 10000]

Every client keeps a connection, asks, verifies that the answer is its own, thinks, and asks again. Then as
many connections as ``--idle`` says are opened, used once, left alone, and used once more. Prints what was
answered, by how many servers, how long it took, and what a worker needed for it. The exit status is 0 when
every request was answered rightly and every server was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Address

PATIENCE = 60.0


@dataclass
class Tally:
    """What came of many requests."""

    answered: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    servers: Counter[bytes] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        times = sorted(self.seconds)
        p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
        busiest = max(self.servers.values(), default=0)
        return (
            f"{self.answered} answered, {sum(self.faults.values())} failed {dict(self.faults) or ''}; "
            f"{len(self.servers)} servers, the busiest {busiest} times; "
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {times[-1] * 1000:.0f} ms"
        )


class Client:
    """One client with a connection that it keeps."""

    def __init__(self, number: int, address: Address, tally: Tally) -> None:
        self._number = number
        self._address = address
        self._tally = tally
        self._asked = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str = "GET") -> str:
        """Send one request and judge its answer; returns what is wrong with it, ``""`` for nothing."""
        started = time.monotonic()
        self._asked += 1
        target = b"/%d/%d" % (self._number, self._asked)
        try:
            body = await asyncio.wait_for(self._exchange(method.encode(), target), PATIENCE)
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
            if type(error) is not ValueError:
                self.close()
            return self._failed(f"{error}" if type(error) is ValueError else type(error).__name__)
        own, _, server = body.strip().partition(b" ")
        if own != target:
            return self._failed("another's answer")
        self._tally.answered += 1
        self._tally.servers[server] += 1
        self._tally.seconds.append(time.monotonic() - started)
        return ""

    def _failed(self, fault: str) -> str:
        self._tally.faults[fault] += 1
        return fault

    async def _exchange(self, method: bytes, target: bytes) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        length = b"Content-Length: 0\r\n" if method == b"POST" else b""
        writer.write(b"%b %b HTTP/1.1\r\nHost: crowd.test\r\n%b\r\n" % (method, target, length))
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(
            int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        )
        if b"\r\nconnection: close\r\n" in head.lower():
            self.close()
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(head.partition(b"\r\n")[0].decode("latin-1"))
        return body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def load(address: Address, clients: int, seconds: float, think: float) -> Tally:
    """Let ``clients`` ask for ``seconds``, each after a pause of about ``think``."""
    tally = Tally()
    end = time.monotonic() + seconds

    async def one(number: int) -> None:
        client = Client(number, address, tally)
        await asyncio.sleep(random.uniform(0, think))
        while time.monotonic() < end:
            await client.ask()
            await asyncio.sleep(random.uniform(0.5, 1.5) * think)
        client.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return tally


async def hold(proxy: Proxy, count: int) -> tuple[Tally, float]:
    """Hold ``count`` connections, each used at the beginning and at the end; returns KiB each, too."""
    tally = Tally()
    clients = [Client(number, proxy.address, tally) for number in range(count)]
    before = proxy.rss()
    for start in range(0, count, 200):
        await asyncio.gather(*(client.ask() for client in clients[start : start + 200]))
    await asyncio.sleep(5)
    held = (proxy.rss() - before) / 1024 / max(count, 1)
    for start in range(0, count, 200):
        await asyncio.gather(*(client.ask() for client in clients[start : start + 200]))
    for client in clients:
        client.close()
    return tally, held


@contextmanager
def farm(count: int) -> Iterator[list[int]]:
    """Run ``count`` upstream servers; gives their ports."""
    command = [sys.executable, "-m", "tests.soak.farm", "--servers", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield [int(port) for port in process.stdout.readline().split()]
        finally:
            process.terminate()


def run(arguments: argparse.Namespace) -> bool:
    """Run both parts; returns whether all went well."""
    with farm(arguments.servers) as ports:
        config = {
            "clusters": {
                "farm": {
                    "servers": ", ".join(f"http://127.0.0.1:{port}" for port in ports),
                    "balance": arguments.balance,
                }
            },
            "routing": {"default_cluster": "farm"},
            "logging": {"access_log": "/dev/null"},
        }
        with running_proxy(config, workers=arguments.workers) as proxy:
            proxy.worker_pids(arguments.workers)
            tally = asyncio.run(load(proxy.address, arguments.clients, arguments.seconds, arguments.think))
            print(
                f"{arguments.clients} clients, {arguments.servers} servers, {arguments.seconds:g} s: {tally}"
            )
            print(f"workers: {proxy.rss() / 2**20:.0f} MiB resident, {proxy.fd_count()} descriptors")
            idle, each = asyncio.run(hold(proxy, arguments.idle))
            print(f"{arguments.idle} idle connections: {idle}; {each:.1f} KiB of the workers for each")
        is_right = not tally.faults and not idle.faults
        return is_right and len(tally.servers) == arguments.servers


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--think", type=float, default=1.5, help="seconds between two requests of a client")
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--balance", default="round_robin")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the proxy inherits it
    return 0 if run(parser.parse_args()) else 1


if __name__ == "__main__":
    sys.exit(main())
