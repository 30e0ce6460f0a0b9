#!/usr/bin/env python3
"""Check thousands of servers, let half of them die and come back, and tell what it costs::

    python -m tests.soak.health [--servers 2000] [--interval 5] [--seconds 30]

Shown are the checks each second, the most in a tenth of one, the CPU of the worker that checks, and how long
it took until all of the dead were known to be, and all of those that came back. The exit status is 0 when
every one of them was told of once, and no other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from tests.support.proxy import Proxy, running_proxy

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell"
PATIENCE = 120


class Servers:
    """``count`` servers in one thread, at addresses of the loopback; counts the checks of each tenth."""

    def __init__(self, count: int) -> None:
        self.checks: Counter[int] = Counter()
        self.addresses = [(f"127.1.{number // 250}.{number % 250 + 1}", 0) for number in range(count)]
        self._loop = asyncio.new_event_loop()
        self._listening: list[asyncio.Server] = []
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.addresses = [self._do(self._listen(address)) for address in self.addresses]

    def urls(self) -> list[str]:
        return [f"http://{host}:{port}" for host, port in self.addresses]

    def stop(self, count: int) -> None:
        """Let the first ``count`` refuse."""
        for server in self._listening[:count]:
            self._loop.call_soon_threadsafe(server.close)

    def start_again(self, count: int) -> None:
        for address in self.addresses[:count]:
            self._do(self._listen(address))

    async def _listen(self, address: tuple[str, int]) -> tuple[str, int]:
        sock = socket.create_server(address)
        self._listening.append(await asyncio.start_server(self._answer, sock=sock))
        return sock.getsockname()  # type: ignore[no-any-return]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.checks[int(time.monotonic() * 10)] += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    def _do(self, coroutine: object) -> tuple[str, int]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()  # type: ignore[arg-type]


def seconds_of_cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seconds_until(proxy: Proxy, text: str, count: int) -> float:
    began = time.monotonic()
    proxy.wait_until(lambda: proxy.error_log().count(text) >= count, f"{count} x {text!r}", PATIENCE)
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=2000, help="(%(default)s)")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of quiet that are measured (%(default)s)"
    )
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    servers, half = Servers(options.servers), options.servers // 2
    cluster = {
        "servers": servers.urls(),
        "health_check": "http",
        "health_interval": f"{options.interval:.3f}",
    }
    config = {"routing": {"default_cluster": "all"}, "clusters": {"all": cluster}}
    with running_proxy({**config, "logging": {"verbosity": "INFO"}}, workers=2, timeout=60) as proxy:
        proxy.wait_for_log("checks the servers")
        time.sleep(2 * options.interval)
        [leader] = map(int, re.findall(r" (\d+) INFO this worker checks", proxy.error_log()))
        servers.checks.clear()
        cpu, began = seconds_of_cpu(leader), time.monotonic()
        time.sleep(options.seconds)
        cpu, passed = seconds_of_cpu(leader) - cpu, time.monotonic() - began
        checks = servers.checks.total()
        print(
            f"{checks / passed:.0f} checks a second, at most {max(servers.checks.values())} in a tenth of one"
        )
        print(f"the worker that checks uses {cpu / passed:.1%} of a CPU, {cpu / checks * 1e6:.0f} us a check")
        servers.stop(half)
        print(f"{half} that died: known after {seconds_until(proxy, 'is unhealthy', half):.1f} s")
        servers.start_again(half)
        print(f"{half} that came back: known after {seconds_until(proxy, 'is healthy, after', half):.1f} s")
        time.sleep(options.interval)
        told = Counter(re.findall(r"http://\S+(?= is (?:unhealthy|healthy))", proxy.error_log()))
    is_right = told == dict.fromkeys(servers.urls()[:half], 2)
    print(
        "each was told of once, and no other"
        if is_right
        else f"not right: {told.most_common(3)}, {len(told)}"
    )
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
