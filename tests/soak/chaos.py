#!/usr/bin/env python3
"""Three servers under load, one of them always in trouble: nothing is lost, and nothing is done twice::

    python -m tests.soak.chaos [--seconds 300] [--clients 40] [--seed 1]

Two scripted servers and a real nginx are killed, stopped (SIGSTOP), slowed, made to answer garbage or errors,
to refuse and to reset in the middle of a body, one at a time, at random. Then all three refuse at once.
Every answer must be the one to its request. The exit status is 0 when

- no idempotent request failed later than ``--detection`` seconds after a trouble began or ended,
- no POST was executed twice, as the servers' journals tell,
- the outage brought the servers at most a fifth more requests than there were, and the budget's minimum,
- the workers have as many descriptors in the end as they had in the beginning.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.crowd import Client, Tally
from tests.soak.moody import MOODS
from tests.support.config import Config
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Address

BUDGET, BUDGET_MINIMUM, BUDGET_WINDOW = 0.2, 10, 10.0
_numbers = itertools.count()  # of clients, so that no two requests of a play are alike
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
    log_format journal '$request_method $request_uri';
    access_log {journal} journal;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    keepalive_requests 1000000;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "$request_uri"; }} }}
}}
"""


class Server:
    """One upstream server: a process on a port of its own that can be troubled and cured."""

    troubles: tuple[str, ...] = ("kill", "stop")

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self.name = name
        self.port = port
        self.journal = folder / f"{name}.journal"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def trouble(self, how: str) -> None:
        """Begin a trouble, one of ``troubles``."""
        self.process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGSTOP)

    def cure(self, how: str) -> None:
        """End it."""
        if how == "stop":
            self.process.send_signal(signal.SIGCONT)
        else:
            self.process.wait()
            self.process = self.start()

    def executed(self) -> list[str]:
        """Every request that was executed, ``METHOD TARGET``."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Scripted(Server):
    """``tests.soak.moody``."""

    troubles = ("kill", "stop", *MOODS)

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.soak.moody", "--port", str(self.port)]
        process = subprocess.Popen(
            [*command, "--journal", str(self.journal)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def _say(self, mood: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{mood}\n".encode())
        self.process.stdin.flush()

    def trouble(self, how: str) -> None:
        self._say(how) if how in MOODS else super().trouble(how)

    def cure(self, how: str) -> None:
        self._say("well") if how in MOODS else super().cure(how)


class Nginx(Server):
    """A real nginx, master and worker in one process."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self._config = folder / "nginx.conf"
        text = NGINX.format(folder=folder, port=port, journal=folder / f"{name}.journal")
        self._config.write_text(f"master_process off; {text}")
        super().__init__(name, folder, port)

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["nginx", "-c", str(self._config), "-e", "stderr"], stderr=subprocess.DEVNULL)


@dataclass
class Happening:
    """A request that failed, or a trouble that began or ended; ``when`` is monotonic."""

    when: float
    what: str


@dataclass
class Story:
    """What happened, in order."""

    changes: list[Happening] = field(default_factory=list)
    failures: list[Happening] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def late(self, detection: float) -> list[Happening]:
        """The idempotent requests that failed when the last change was known already."""
        late = []
        for failure in self.failures:
            before = [change for change in self.changes if change.when <= failure.when]
            last = before[-1] if before else Happening(0.0, "nothing")
            if failure.what.startswith("GET") and failure.when - last.when > detection:
                late.append(Happening(failure.when, f"{failure.what}, after {last.what}"))
        return late


class Crowd(threading.Thread):
    """Clients that ask, three GETs to one POST, until they are stopped."""

    def __init__(self, address: Address, clients: int, story: Story) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._clients = clients
        self._story = story
        self.stopped = threading.Event()

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self._clients)))

    async def _one(self) -> None:
        tally, count = Tally(), 0
        client = Client(next(_numbers), self._address, tally)
        await asyncio.sleep(random.random() / 10)
        while not self.stopped.is_set():
            count += 1
            method = "POST" if count % 4 == 0 else "GET"
            self._story.asked[method] += 1
            if fault := await client.ask(method):
                self._story.failures.append(Happening(time.monotonic(), f"{method}: {fault}"))
            else:
                self._story.answered[method] += 1
            await asyncio.sleep(random.uniform(0.05, 0.15))
        client.close()


RETRIES = {
    "retry_on": "reset, timeout, invalid, connect, 503",
    "retries": 3,
    "retry_budget": int(BUDGET * 100),
    "retry_budget_min": BUDGET_MINIMUM,
    "try_timeout": 1,
}
GUARDS = {
    "breaker": 50,
    "breaker_open": 1,
    "health_check": "http",
    "health_path": "/health",
    "health_body": "/health",
    "health_interval": 0.5,
    "health_timeout": 0.5,
    "health_fall": 2,
    "eject_failures": 3,
    "eject_time": 2,
}


def config(servers: list[Server], **guards: object) -> Config:
    """A cluster of the servers, which retries."""
    urls = ", ".join(f"http://127.0.0.1:{server.port}" for server in servers)
    return {
        "clusters": {"three": {"servers": urls, "balance": "least_conn", **RETRIES, **guards}},
        "routing": {"default_cluster": "three"},
        "timeouts": {"upstream_connect": 1},
        "logging": {"access_log": "/dev/null", "verbosity": "ERROR"},
    }


def disturb(servers: list[Server], seconds: float, story: Story) -> None:
    """Trouble one server at a time, for ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        server = random.choice(servers)
        how = random.choice(server.troubles)
        story.changes.append(Happening(time.monotonic(), f"{server.name}: {how}"))
        server.trouble(how)
        time.sleep(random.uniform(3, 8))
        server.cure(how)
        story.changes.append(Happening(time.monotonic(), f"{server.name}: well again after {how}"))
        time.sleep(random.uniform(2, 5))


def _executed(servers: list[Server]) -> int:
    return sum(not line.endswith(" /health") for server in servers for line in server.executed())


def doubles(servers: list[Server]) -> list[str]:
    """Return the POSTs that were executed more than once."""
    executed = Counter(line for server in servers for line in server.executed() if line.startswith("POST"))
    return [line for line, times in executed.items() if times > 1]


@contextlib.contextmanager
def running_servers(folder: Path) -> Iterator[list[Server]]:
    ports = []
    for _ in range(3):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports.append(probe.getsockname()[1])
    servers: list[Server] = []
    try:
        servers.append(Scripted("one", folder, ports[0]))
        servers.append(Scripted("two", folder, ports[1]))
        servers.append(Nginx("nginx", folder, ports[2]))
        yield servers
    finally:
        for server in servers:
            server.close()


@contextlib.contextmanager
def crowd_at(proxy: Proxy, clients: int, story: Story) -> Iterator[None]:
    """Let clients ask while this lasts."""
    crowd = Crowd(proxy.address, clients, story)
    crowd.start()
    try:
        yield
    finally:
        crowd.stopped.set()
        crowd.join()


def one_at_a_time(arguments: argparse.Namespace, servers: list[Server]) -> list[str]:
    """Trouble one server after the other behind a guarded cluster; returns what went wrong."""
    story = Story()
    with running_proxy(config(servers, **GUARDS), workers=arguments.workers) as proxy:
        proxy.worker_pids(arguments.workers)
        with crowd_at(proxy, arguments.clients, story):
            time.sleep(3)
            before = proxy.fd_count()
            disturb(servers, arguments.seconds, story)
            time.sleep(5)
        time.sleep(2)
        after = proxy.fd_count()
    print(f"{len(story.changes) // 2} troubles: {dict(Counter(c.what for c in story.changes[::2]))}")
    print(f"asked {dict(story.asked)}, answered {dict(story.answered)}, failed {len(story.failures)}")
    print(f"failures: {dict(Counter(failure.what for failure in story.failures))}")
    print(f"descriptors of the workers: {before} in the beginning, {after} in the end")
    faults = [f"late: {failure.what}" for failure in story.late(arguments.detection)]
    return [*faults, *([f"{after} descriptors, were {before}"] if after > before else [])]


def all_at_once(arguments: argparse.Namespace, servers: list[Server]) -> list[str]:
    """Let all servers fail behind a cluster that has nothing but its budget; returns what went wrong."""
    story = Story()
    troubles = {server: "error" if isinstance(server, Scripted) else "kill" for server in servers}
    with running_proxy(config(servers), workers=arguments.workers) as proxy:
        proxy.worker_pids(arguments.workers)
        with crowd_at(proxy, arguments.clients, story):
            time.sleep(3)
            for server, how in troubles.items():
                server.trouble(how)
            asked, got = sum(story.asked.values()), _executed(servers)
            time.sleep(arguments.outage)
            asked, got = sum(story.asked.values()) - asked, _executed(servers) - got
            for server, how in troubles.items():
                server.cure(how)
            time.sleep(2)
            story.failures.clear()
            time.sleep(3)
    windows = arguments.outage / BUDGET_WINDOW + 1
    # What was asked before the outage, too, is in the first window of the budget.
    most = asked + BUDGET * sum(story.asked.values()) + BUDGET_MINIMUM * windows * arguments.workers
    print(f"outage: {asked} requests became {got} at the servers, at most {most:.0f} may")
    faults = [f"not recovered: {failure.what}" for failure in story.failures]
    return [*faults, *([f"{got} requests in the outage, {most:.0f} may be"] if got > most else [])]


def run(arguments: argparse.Namespace) -> list[str]:
    """Run the whole play; returns what went wrong."""
    with tempfile.TemporaryDirectory(prefix="pyrox-chaos-") as name, running_servers(Path(name)) as servers:
        faults = [*one_at_a_time(arguments, servers), *all_at_once(arguments, servers)]
        return [*faults, *(f"executed twice: {line}" for line in doubles(servers))]


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--outage", type=float, default=20)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--detection", type=float, default=3.0, help="seconds (%(default)s)")
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    if shutil.which("nginx") is None:
        print("nginx is needed: apt-get install nginx-light", file=sys.stderr)
        return 2
    random.seed(arguments.seed)
    faults = run(arguments)
    for fault in faults[:20]:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
