#!/usr/bin/env python3
"""Replace workers and masters under load, and count every request that failed::

    python -m tests.soak.replacements [--connections 64] [--hups 20] [--upgrades 5] [--kills 20]

Each phase runs twice with clients of our own, which count exactly (keep-alive, then one connection for
each request), and twice with wrk where it is installed. Only the phase of the kills may have failures: at
most as many as the killed workers had connections. The exit status is 0 when that is so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.load import Load
from tests.support.masters import Master
from tests.support.processes import fd_count, open_files, resident_bytes
from tests.support.proxy import Proxy, running_proxy

PLUGINS = Path(__file__).parents[1] / "integration" / "plugins"
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    keepalive_requests 100000;
    server {{ listen unix:{folder}/origin.sock; location / {{ return 200 "{body}"; }} }}
}}
"""


@dataclass
class Result:
    """What came of one phase under one kind of load."""

    answered: int
    failed: int
    detail: str


def reload(master: Master, times: int) -> int:
    for _ in range(times):
        master.reload(workers=2)
    return 0


def upgrade(master: Master, times: int) -> int:
    for _ in range(times):
        master.upgrade(workers=2)
    return 0


def change_number(master: Master, times: int) -> int:
    for number, count in [(signal.SIGTTIN, 3), (signal.SIGTTIN, 4), (signal.SIGTTOU, 3), (signal.SIGTTOU, 2)]:
        master.signal(number)
        master.wait_for_workers(count)
        time.sleep(0.5)
    return 0


def kill(master: Master, times: int) -> int:
    """Returns how many requests may have been in flight in those that were killed."""
    allowed = 0
    for _ in range(times):
        time.sleep(random.uniform(0.1, 1.5))
        victim = random.choice(master.workers())
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGSTOP)  # what is counted must not change
            allowed += len(_connections_of(victim, master.proxy.port))
            os.kill(victim, signal.SIGKILL)
    master.wait_for_workers(2)
    return allowed


def serve_max_requests(master: Master, times: int) -> int:
    seen = set(master.workers())
    while len(seen) < 2 + times:
        time.sleep(0.1)
        seen |= set(master.workers())
    return 0


def _connections_of(pid: int, port: int) -> list[str]:
    """The inodes of the connections that the worker has accepted: those whose own port is the proxy's."""
    own = set(open_files(pid))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mark, listening = f":{port:04X}", "0A"
    inodes = [row[9] for row in rows if row[1].endswith(mark) and row[3] != listening]
    return [inode for inode in inodes if f"socket:[{inode}]" in own]


PHASES: dict[str, tuple[Callable[[Master, int], int], str]] = {
    "HUP": (reload, "hups"),
    "USR2": (upgrade, "upgrades"),
    "TTIN, TTOU": (change_number, "one"),
    "max_requests": (serve_max_requests, "spent"),
    "SIGKILL": (kill, "kills"),
}


@contextlib.contextmanager
def own_clients(proxy: Proxy, connections: int, keep_alive: bool) -> Iterator[Result]:
    result = Result(0, 0, "")
    with Load(proxy.address, connections, keep_alive=keep_alive) as load:
        load.wait_for(500)
        yield result
        load.wait_for(500)
    result.answered, result.failed = load.answered, len(load.failures)
    result.detail = ", ".join(f"{count} x {reason}" for reason, count in load.reasons().items())


@contextlib.contextmanager
def wrk(proxy: Proxy, connections: int, keep_alive: bool) -> Iterator[Result]:
    result = Result(0, 0, "")
    command = ["wrk", "-t1", f"-c{connections}", "-d600", f"http://127.0.0.1:{proxy.port}/"]
    if not keep_alive:
        command += ["-H", "Connection: close"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    yield result
    time.sleep(1)
    process.send_signal(signal.SIGINT)  # wrk reports what it has
    report = process.communicate(timeout=30)[0]
    [answered] = re.findall(r"(\d+) requests in", report)
    lines = re.findall(r"Socket errors: .*|Non-2xx.*", report)
    result.answered = int(answered)
    result.failed = sum(
        int(number) for line in lines for number in re.findall(r"\d+", line.replace("2xx", ""))
    )
    result.detail = "; ".join(lines)


def run_phase(name: str, arguments: argparse.Namespace, origin: str, load: Any, keep_alive: bool) -> bool:
    act, option = PHASES[name]
    core: dict[str, Any] = {"graceful_timeout": 10, "pid_file": "pyrox.pid"}
    if name == "max_requests":
        core |= {"max_requests": arguments.max_requests, "max_requests_jitter": arguments.max_requests // 2}
    config = {
        "core": core,
        "routing": {"upstream_hosts": origin},
        "logging": {"access_log": "", "verbosity": "ERROR"},
        "middleware": {"stack": "tell", "tell": {"class": "processes.TellWorker"}},
    }
    with running_proxy(config, workers=2, python_path=[PLUGINS]) as proxy:
        proxy.worker_pids(2)
        master = Master(proxy, proxy.folder / "pyrox.pid")
        with load(proxy, arguments.connections, keep_alive) as result:
            allowed = act(master, getattr(arguments, option))
        descriptors = [fd_count(pid) for pid in [master.pid, *master.workers()]]
        memory = [resident_bytes(pid) >> 20 for pid in [master.pid, *master.workers()]]
        master.stop()
        ok = result.failed <= allowed
        kind = "keep-alive" if keep_alive else "per request"
        limit = f" (at most {allowed} in flight)" if allowed else ""
        print(
            f"{'ok  ' if ok else 'FAIL'} {name:12} {load.__name__:11} {kind:11} {result.answered:8} answered,"
            f" {result.failed:3} failed{limit}; fds {descriptors}, MiB {memory} {result.detail}",
            flush=True,
        )
        if not ok:
            print(proxy.error_log()[-3000:])
        return ok


@contextlib.contextmanager
def nginx() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, body="x" * 254))
        process = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-e", folder / "error.log"])
        try:
            while not (folder / "origin.sock").exists():
                time.sleep(0.05)
            yield f"unix:{folder}/origin.sock"
        finally:
            process.terminate()
            process.wait(timeout=10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--hups", type=int, default=20)
    parser.add_argument("--upgrades", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--spent", type=int, default=8, help="workers replaced after max_requests")
    parser.add_argument("--max-requests", type=int, default=4000)
    parser.add_argument("--phase", action="append", choices=PHASES, help="only this one; may be repeated")
    arguments = parser.parse_args()
    arguments.one = 1
    loads = [own_clients, wrk] if shutil.which("wrk") else [own_clients]
    with nginx() as origin:
        results = [
            run_phase(name, arguments, origin, load, keep_alive)
            for name in arguments.phase or PHASES
            for load in loads
            for keep_alive in (True, False)
        ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
