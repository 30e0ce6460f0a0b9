#!/usr/bin/env python3
"""Spoil one of three servers after the other under load, then all of them, and count what came of it::

    python -m tests.soak.bad_servers [--seconds 120] [--clients 24] [--workers 2] [--seed 1]

Every few seconds another server is killed, stopped, slowed, or resets, breaks off its heads or bodies,
answers garbage or 503. Clients send GETs and POSTs, each with a number of its own, and the servers write down
what they execute. It fails when a POST was executed twice, when a GET failed other than by a body that broke
off, or more than a moment after its server went bad; or when retries in the full outage at the end were more
than a fifth.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.soak.bad_origin import MODES
from tests.support.config import Config, Value
from tests.support.proxy import running_proxy
from tests.support.wire import Address

NAMES = ("one", "two", "three")
SPOILS = (*MODES[1:], "killed", "stopped")
DETECTION = 3.0  # seconds that the first failures of a bad server may take: time-outs and a breaker's volume
WELL = 3.0  # seconds between two bad servers
BAD = 6.0
OUTAGE = 12.0
RETRIES: dict[str, Value] = {
    "retry_on": "connect, reset, timeout, invalid, 502, 503",
    "retries": 2,
    "try_timeout": 1,
}
# Open for at least as long as a server is bad, and closed again before the next one is.
BREAKER: dict[str, Value] = {
    "breaker": 30,
    "breaker_volume": 5,
    "breaker_window": 5,
    "breaker_open": 8,
    "breaker_open_max": 8,
}


@dataclass(frozen=True)
class Answer:
    """What one request came to, and when."""

    method: str
    number: int
    when: float
    outcome: str


class Servers:
    """Three processes, one of which may be bad."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: _free_port() for name in NAMES}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in NAMES:
            self.set_mode(name, "well")
            self.start(name)

    def start(self, name: str) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.soak.bad_origin",
            str(self.folder),
            name,
            str(self.ports[name]),
        ]
        self.processes[name] = subprocess.Popen(command)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ports[name])).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)

    def set_mode(self, name: str, mode: str) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(mode)
        new.rename(self.folder / f"{name}.mode")

    def spoil(self, name: str, how: str) -> None:
        if how == "killed":
            self.processes[name].kill()
            self.processes[name].wait()
        elif how == "stopped":
            self.processes[name].send_signal(signal.SIGSTOP)
        else:
            self.set_mode(name, how)

    def mend(self, name: str, how: str) -> None:
        if how == "killed":
            self.start(name)
        elif how == "stopped":
            self.processes[name].send_signal(signal.SIGCONT)
        self.set_mode(name, "well")

    def executed(self) -> Counter[tuple[str, int]]:
        """How often each request was executed, by method and number."""
        lines = (
            line.split() for name in NAMES for line in (self.folder / f"{name}.log").read_text().splitlines()
        )
        return Counter((method, int(number)) for method, number in lines)

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


class Clients:
    """Clients that ask without a pause, in a thread of their own."""

    def __init__(self, address: Address, count: int, first: int = 0) -> None:
        self._address = address
        self._count = count
        self._numbers = iter(range(first, 1 << 60))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.answers: list[Answer] = []

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask_on_and_on() for _ in range(self._count)))

    async def _ask_on_and_on(self) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            method = "POST" if number % 3 == 0 else "GET"
            try:
                async with asyncio.timeout(30):
                    outcome = await self._ask(method, number)
            except (OSError, asyncio.IncompleteReadError) as error:
                outcome = type(error).__name__
            self.answers.append(Answer(method, number, time.monotonic(), outcome))
            await asyncio.sleep(0.005)

    async def _ask(self, method: str, number: int) -> str:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            length = "Content-Length: 3\r\n" if method == "POST" else ""
            body = "pay" if method == "POST" else ""
            writer.write(f"{method} /{number} HTTP/1.1\r\nHost: a.test\r\n{length}\r\n{body}".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
            return head.split(b" ")[1].decode()
        finally:
            writer.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pyrox-soak-") as name:
        servers = Servers(Path(name))
        try:
            return run(servers, options)
        finally:
            servers.kill()


def run(servers: Servers, options: argparse.Namespace) -> int:
    with running_proxy(config_of(servers, {**RETRIES, **BREAKER}), workers=options.workers) as proxy:
        with Clients(proxy.address, options.clients) as clients:
            problems = spoil_one_after_the_other(servers, clients, options)
    with running_proxy(config_of(servers, RETRIES), workers=options.workers) as proxy:
        problems += spoil_all(servers, proxy.address, options)
    return report(servers, clients, problems)


def config_of(servers: Servers, options: dict[str, Value]) -> Config:
    urls = ", ".join(f"http://127.0.0.1:{port}" for port in servers.ports.values())
    return {
        "routing": {"default_cluster": "users"},
        "logging": {"verbosity": "CRITICAL"},
        "clusters": {"users": {"servers": urls, **options}},
    }


def spoil_one_after_the_other(servers: Servers, clients: Clients, options: argparse.Namespace) -> list[str]:
    chance, problems = random.Random(options.seed), []
    ends = time.monotonic() + options.seconds
    ways = list(SPOILS)
    time.sleep(WELL)
    while time.monotonic() < ends:
        if not ways:
            ways = list(SPOILS)
        how, name = ways.pop(chance.randrange(len(ways))), chance.choice(NAMES)
        begun, before = time.monotonic(), len(clients.answers)
        servers.spoil(name, how)
        time.sleep(BAD)
        failed = [a for a in clients.answers[before:] if a.outcome != "200"]
        servers.mend(name, how)
        time.sleep(WELL)
        problems += judge(how, begun, failed)
        total = len(clients.answers) - before
        counts = dict(Counter((a.method, a.outcome) for a in failed))
        last = max((a.when - begun for a in failed), default=0.0)
        print(f"{name} {how}: {total} answers, failed {counts}, the last after {last:.1f} s", flush=True)
    return problems


def judge(how: str, begun: float, failed: list[Answer]) -> list[str]:
    gets = [answer for answer in failed if answer.method == "GET"]
    late = [answer for answer in gets if answer.when - begun > DETECTION]
    problems = [f"{how}: {len(late)} GETs failed after detection"] if late else []
    if gets and how != "part of a body":
        problems.append(f"{how}: {len(gets)} GETs failed that could have been sent again")
    return problems


def spoil_all(servers: Servers, address: Address, options: argparse.Namespace) -> list[str]:
    """A full outage, and no breaker: every server answers 503 to everything."""
    before = sum(servers.executed().values())
    for name in NAMES:
        servers.set_mode(name, "503")
    with Clients(address, options.clients, first=1 << 40) as clients:
        time.sleep(OUTAGE)
    asked, seen = len(clients.answers), sum(servers.executed().values()) - before
    refused = sum(answer.outcome == "503" for answer in clients.answers)
    print(f"full outage: {asked} requests, {refused} answered with 503, {seen} tries at the servers")
    # Each worker's minimum of 3 in 10 seconds comes on top.
    most = asked * 1.2 + 3 * options.workers * (OUTAGE / 10 + 1)
    return [] if seen <= most else [f"{seen} tries for {asked} requests in a full outage"]


def report(servers: Servers, clients: Clients, problems: list[str]) -> int:
    executed = servers.executed()
    twice = [number for (method, number), count in executed.items() if method == "POST" and count > 1]
    if twice:
        problems.append(f"{len(twice)} POSTs were executed twice: {twice[:10]}")
    gets = sum(count for (method, _), count in executed.items() if method == "GET")
    answers = Counter(answer.method for answer in clients.answers)
    print(
        f"{answers['GET']} GETs and {answers['POST']} POSTs; {gets} GETs executed; {len(twice)} POSTs twice"
    )
    print("\n".join(problems) or "no problem")
    return 1 if problems else 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
