#!/usr/bin/env python3
"""Three proxy hosts and five origin hosts, in network namespaces: cut links, heal them, flap DNS::

    python -m tests.soak.network            # as root

The hosts hang on one bridge; the clients and the nameserver are at it. After each change the proxies have
``--patience`` seconds to find out; then every request must be answered, by all servers that can be reached
and by no others. In the end the proxies must have no more descriptors than in the beginning. The exit status
is 0 when all of that is so; if not, the last lines of standard output, where the acts are told, say why.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.soak.crowd import Client, Tally
from tests.support.config import as_ini
from tests.support.nameserver import Nameserver
from tests.support.processes import children_of, fd_count

PREFIX = "pyrox-soak"
HUB = f"{PREFIX}-hub"
NETWORK = "10.77.0"
ORIGINS = {number: f"{NETWORK}.{10 + number}" for number in range(1, 6)}
PROXIES = {number: f"{NETWORK}.{20 + number}" for number in range(1, 4)}
NAME = "origins.test"


def ip(*arguments: str, inside: str = "") -> None:
    """Run ``ip``, in the namespace ``inside`` if one is named."""
    command = ["ip", *(["-n", inside] if inside else []), *arguments]
    subprocess.run(command, check=True, capture_output=True)


def host_of(address: str) -> str:
    """The namespace of a host."""
    return f"{PREFIX}-{address.rpartition('.')[2]}"


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Make the hub with its bridge, and a namespace for each host with a cable to it."""
    names = [HUB, *map(host_of, (*ORIGINS.values(), *PROXIES.values()))]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("link", "set", "lo", "up", inside=name)
        ip("link", "add", "bridge", "type", "bridge", inside=HUB)
        ip("addr", "add", f"{NETWORK}.1/24", "dev", "bridge", inside=HUB)
        ip("link", "set", "bridge", "up", inside=HUB)
        for address in (*ORIGINS.values(), *PROXIES.values()):
            name, port = host_of(address), f"port{address.rpartition('.')[2]}"
            ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name, inside=HUB)
            ip("link", "set", port, "master", "bridge", "up", inside=HUB)
            ip("addr", "add", f"{address}/24", "dev", "eth0", inside=name)
            ip("link", "set", "eth0", "up", inside=name)
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def link(address: str, state: str) -> None:
    """Cut (``down``) or heal (``up``) the link of a host."""
    ip("link", "set", f"port{address.rpartition('.')[2]}", state, inside=HUB)


@contextlib.contextmanager
def at(host: str, *command: str, until: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a command in the namespace of a host, from the line that begins with ``until`` on."""
    with subprocess.Popen(
        ["ip", "netns", "exec", host, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if until in line:
                    break
            else:
                raise RuntimeError(f"{command} ended with {process.wait()}")
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def config(nameserver: str, folder: Path) -> str:
    """The configuration of each proxy."""
    cluster = {
        "servers": f"http://{NAME}:8000 resolve",
        "retry_on": "reset, timeout, connect",
        "try_timeout": 1,
        "health_check": "http",
        "health_interval": 0.5,
        "health_timeout": 0.5,
        "health_fall": 2,
    }
    return as_ini(
        {
            "clusters": {"five": cluster},
            "routing": {"default_cluster": "five"},
            "discovery": {"nameservers": nameserver, "min_ttl": 0.5, "dns_timeout": 1},
            "timeouts": {"upstream_connect": 1},
            "logging": {"access_log": "/dev/null", "verbosity": "ERROR"},
        },
        folder,
    )


class Play:
    """The hosts that run, the names they have, and what went wrong so far."""

    def __init__(self, dns: Nameserver, patience: float, clients: int) -> None:
        self.dns = dns
        self.faults: list[str] = []
        self._patience = patience
        self._clients = clients

    def name(self, *origins: int) -> None:
        """Let the name have the addresses of these origins."""
        self.dns.set(NAME, "A", [ORIGINS[number] for number in origins], ttl=1)

    def act(
        self, what: str, change: Callable[[], object], origins: set[int], proxies: Iterable[int] = PROXIES
    ) -> None:
        """Make a change; then these origins, and no others, must answer all that these proxies are asked."""
        change()
        asyncio.run(ask(PROXIES.values(), self._clients, self._patience))  # not judged
        tallies = asyncio.run(ask([PROXIES[number] for number in proxies], self._clients, 3.0))
        for proxy, tally in tallies.items():
            expected = {f"{ORIGINS[number]}:8000".encode() for number in origins}
            print(f"{what}: {proxy} {tally}")
            if tally.faults:
                self.fault(f"{what}: {proxy} failed {dict(tally.faults)}")
            if set(tally.servers) != expected:
                self.fault(f"{what}: {proxy} had answers of {sorted(tally.servers)}, not {sorted(expected)}")

    def fault(self, what: str) -> None:
        """Take note of what is not as it should be, and say so where the acts are told."""
        print(f"  not as it should be: {what}")
        self.faults.append(what)


async def ask(addresses: Iterable[str], clients: int, seconds: float) -> dict[str, Tally]:
    """Let ``clients`` ask each proxy for ``seconds``."""
    tallies = {address: Tally() for address in addresses}
    end = time.monotonic() + seconds

    async def one(address: str, number: int) -> None:
        client = Client(number, (address, 8080), tallies[address])
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(client.ask(), max(end - time.monotonic(), 0.1))
            await asyncio.sleep(0.05)
        client.close()

    await asyncio.gather(*(one(address, number) for address in tallies for number in range(clients)))
    return tallies


def perform(play: Play) -> None:
    """All acts, in order."""
    play.act("two origins are cut off", lambda: [link(ORIGINS[n], "down") for n in (1, 2)], {3, 4, 5})
    play.act("and back", lambda: [link(ORIGINS[n], "up") for n in (1, 2)], {1, 2, 3, 4, 5})
    play.act("a proxy is cut off", lambda: link(PROXIES[1], "down"), {1, 2, 3, 4, 5}, {2, 3})
    play.act("and back", lambda: link(PROXIES[1], "up"), {1, 2, 3, 4, 5})
    play.act("DNS names three others", lambda: play.name(3, 4, 5), {3, 4, 5})
    play.act("DNS names none", lambda: play.dns.remove(NAME), {3, 4, 5})
    play.act("DNS names two", lambda: play.name(1, 2), {1, 2})
    play.act("DNS flaps, and ends with five", lambda: flap(play), {1, 2, 3, 4, 5})
    play.dns.is_silent = True
    play.act("DNS is silent, one origin is cut off", lambda: link(ORIGINS[5], "down"), {1, 2, 3, 4})
    play.dns.is_silent = False
    play.act("all is well", lambda: link(ORIGINS[5], "up"), {1, 2, 3, 4, 5})


def flap(play: Play) -> None:
    for origins in ((1, 2), (3, 4, 5), (2,), (1, 2, 3, 4, 5)) * 3:
        play.name(*origins)
        asyncio.run(ask(PROXIES.values(), 5, 1.0))


def run(arguments: argparse.Namespace) -> list[str]:
    """Start everything, perform, and compare the end with the beginning."""
    python = sys.executable
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyrox-network-")))
        dns = stack.enter_context(Nameserver(f"{NETWORK}.1"))
        (folder / "pyrox.ini").write_text(config(dns.address, folder))
        play = Play(dns, arguments.patience, arguments.clients)
        play.name(1, 2, 3, 4, 5)
        for address in ORIGINS.values():
            farm = [python, "-m", "tests.soak.farm", "--servers", "1", "--host", address, "--port", "8000"]
            stack.enter_context(at(host_of(address), *farm, until="8000"))
        masters = []
        for address in PROXIES.values():
            proxy = [python, "-m", "pyrox", "-c", str(folder / "pyrox.ini"), "--bind", f"{address}:8080"]
            masters.append(stack.enter_context(at(host_of(address), *proxy, until="listening at")))
        play.act("to begin with", lambda: None, {1, 2, 3, 4, 5})
        before = [_descriptors(master.pid) for master in masters]
        perform(play)
        time.sleep(2)
        after = [_descriptors(master.pid) for master in masters]
        print(f"descriptors of the proxies: {before} in the beginning, {after} in the end")
        most = 2 * arguments.clients  # idle connections to the origins come and go
        if any(now > then + most for then, now in zip(before, after, strict=True)):
            play.fault(f"descriptors: {after}, were {before}")
        return play.faults


def _descriptors(master: int) -> int:
    return sum(fd_count(pid) for pid in children_of(master))


def judged(perform: Callable[[], list[str]]) -> int:
    """Perform, and say at the end what was wrong, also when it broke off; returns the exit status."""
    try:
        faults = perform()
    except BaseException as error:
        print(f"FAILED: it broke off with {error!r}", flush=True)
        raise
    for fault in faults:
        print(f"FAILED: {fault}", flush=True)
    print("all is as it should be" if not faults else f"{len(faults)} times not as it should be", flush=True)
    return 1 if faults else 0


def inside_hub() -> int:
    """Run this program again in the namespace of the hub; returns its exit status."""
    with network():
        again = [sys.executable, "-m", "tests.soak.network", *sys.argv[1:], "--inside"]
        status = subprocess.call(["ip", "netns", "exec", HUB, *again])
    if status:
        print(f"FAILED: what ran in {HUB} ended with {status}", flush=True)
    return status


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--patience", type=float, default=7.0, help="seconds (%(default)s)")
    parser.add_argument("--clients", type=int, default=10, help="of each proxy (%(default)s)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("network namespaces take root", file=sys.stderr)
        return 2
    return judged(lambda: run(arguments)) if arguments.inside else inside_hub()


if __name__ == "__main__":
    sys.exit(main())
