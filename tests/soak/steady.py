#!/usr/bin/env python3
"""Mixed load for a long time: memory, descriptors and streams must stay what they are::

    python -m tests.soak.steady [--minutes 30] [--users 20] [--report docs/soak.md]

The load test's users (``loadtests/``: REST, transfers, churn, slow clients, WebSockets, events) judge every
answer. In the first half nothing else happens, so that it shows what workers gather; in the second half the
proxy is reloaded each minute, so that it shows what the master gathers. The exit status is 0 when no request
failed, the idle proxy has as many descriptors and streams in the end as in the beginning, and no process
grew by more than ``--growth`` MiB after its first quarter of a half. Needs ``pip install -e .[load]``.

Streams stand for greenlets: each client's has one of its own, and Python's collector, which is asked, does
not see greenlets that wait.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from tests.soak.scene import WORKERS, Upstream, base_config, cpu_seconds, merged, settled, warm_up
from tests.support.config import Config
from tests.support.masters import Master
from tests.support.processes import fd_count, resident_bytes
from tests.support.proxy import ROOT, Proxy, running_proxy
from tests.support.wire import Client

PLUGINS = ROOT / "tests" / "integration" / "plugins"
RELOAD_EVERY = 60.0
CENSUS = b"GET /census HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
STACK: Config = {
    "middleware": {
        "stack": "tell, census, request_id, security_headers, rate_limit, compress, headers",
        "tell": {"class": "processes.TellWorker"},
        "census": {"class": "routing.Census"},
        "rate_limit": {"policies": "1000000/minute per client"},
        "headers": {"response_set": "X-Soak: yes"},
    },
    "core": {"tunnel_grace": 20},
    "logging": {"access_log": "/dev/null", "verbosity": "WARNING"},
}


@dataclass(frozen=True)
class Sample:
    """What was found at one moment; the workers' numbers are sums."""

    minute: float
    reloads: int
    requests: int
    failures: int
    master_kib: int
    workers_kib: int
    descriptors: int
    streams: int


class Locust:
    """The load test, on its way."""

    def __init__(self, proxy: Proxy, users: int, seconds: float, folder: Path) -> None:
        self._stats = folder / "load_stats.csv"
        command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless"]
        options = ["-u", str(users), "-r", "2", "-t", f"{seconds:.0f}s", "--csv", str(folder / "load")]
        host = ["--host", f"http://127.0.0.1:{proxy.port}", "--html", str(folder / "load.html")]
        self._log = (folder / "locust.log").open("w+b")
        self.process = subprocess.Popen(
            [*command, *options, *host, "--only-summary"], cwd=ROOT, stdout=self._log, stderr=self._log
        )

    def counts(self) -> tuple[int, int]:
        """How many requests were made, and how many failed."""
        if not self._stats.exists():
            return 0, 0
        with self._stats.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["Name"] == "Aggregated"]
        return (int(rows[0]["Request Count"]), int(rows[0]["Failure Count"])) if rows else (0, 0)

    def end(self) -> str:
        """Wait for its end; returns what was wrong, if anything was."""
        status = self.process.wait(120)
        self._log.seek(0)
        return "" if status == 0 else self._log.read().decode(errors="replace")[-3000:]


def streams_of(proxy: Proxy) -> int:
    """The sum of the workers' streams; each worker is asked until it has answered."""
    found: dict[bytes, int] = {}
    deadline = time.monotonic() + 10
    while len(found) < WORKERS and time.monotonic() < deadline:
        with Client(proxy.address) as client:
            answer = client.ask(CENSUS)
        counts = json.loads(answer.body)
        found[answer.get("x-worker") or b""] = counts["ClientStream"] + counts["UpstreamStream"]
    return sum(found.values())


class Watch:
    """Takes samples of a proxy under load, and reloads it when that is due."""

    def __init__(self, proxy: Proxy, locust: Locust, seconds: float, interval: float) -> None:
        self.samples: list[Sample] = []
        self.reloads = 0
        self._proxy = proxy
        self._master = Master(proxy)
        self._locust = locust
        self._began = time.monotonic()
        self._half = self._began + seconds / 2
        self._interval = interval

    def watch(self) -> None:
        """Until the load ends."""
        reload_at = self._half
        while self._locust.process.poll() is None:
            if time.monotonic() >= reload_at:
                reload_at += RELOAD_EVERY
                self._master.reload(WORKERS)
                self.reloads += 1
            self._take()
            time.sleep(self._interval)

    def _take(self) -> None:
        streams = streams_of(self._proxy)
        workers = self._master.workers()
        memory = sum(map(resident_bytes, workers)) >> 10
        minute = round((time.monotonic() - self._began) / 60, 1)
        own = resident_bytes(self._proxy.pid) >> 10
        descriptors = sum(map(fd_count, [self._proxy.pid, *workers]))
        sample = Sample(minute, self.reloads, *self._locust.counts(), own, memory, descriptors, streams)
        self.samples.append(sample)
        print(row_of(sample), flush=True)


def row_of(sample: Sample) -> str:
    """A row of the table."""
    return "| " + " | ".join(f"{value:,}" for value in astuple(sample)) + " |"


def table_of(samples: list[Sample]) -> str:
    """A table in Markdown."""
    names = [field.name.replace("_kib", ", KiB") for field in fields(Sample)]
    rule = "|" + "--:|" * len(names)
    return "\n".join(["| " + " | ".join(names) + " |", rule, *map(row_of, samples)])


def growth_of(sizes: list[int]) -> int:
    """KiB from the second quarter's mean to the last quarter's: what comes in the first is warming up."""
    quarter = max(1, len(sizes) // 4)
    second, last = sizes[quarter : 2 * quarter], sizes[-quarter:]
    return sum(last) // len(last) - sum(second) // max(1, len(second)) if second else 0


def judge(samples: list[Sample], growth: float) -> tuple[list[str], list[str]]:
    """Return what the run says of memory, and what is wrong about it."""
    quiet = [sample for sample in samples if not sample.reloads]
    grown = {
        "the two workers, while nothing was reloaded": growth_of([each.workers_kib for each in quiet]),
        "the master, in all": growth_of([sample.master_kib for sample in samples]),
    }
    told = [f"{name} grew by {kib} KiB" for name, kib in grown.items()]
    return told, [line for line, kib in zip(told, grown.values(), strict=True) if kib > growth * 1024]


def run(arguments: argparse.Namespace) -> list[str]:
    """Run it; returns what went wrong."""
    seconds = arguments.minutes * 60
    upstream = Upstream()
    with tempfile.TemporaryDirectory(prefix="pyrox-steady-") as name:
        config = merged(base_config(upstream), STACK)
        try:
            with running_proxy(config, workers=WORKERS, python_path=[PLUGINS]) as proxy:
                proxy.worker_pids(WORKERS)
                Master(proxy).reload(WORKERS)  # the first one adds a descriptor to each worker
                warm_up(proxy.address)
                before, streams = settled(proxy), streams_of(proxy)
                locust = Locust(proxy, arguments.users, seconds, Path(name))
                watch = Watch(proxy, locust, seconds, arguments.interval)
                watch.watch()
                failure = locust.end()
                after, streams_after = settled(proxy), streams_of(proxy)
                used = sum(map(cpu_seconds, Master(proxy).workers()))
                warnings = [line for line in proxy.error_log().splitlines() if " WARNING " in line]
        finally:
            upstream.close()
    told, faults = judge(watch.samples, arguments.growth)
    told.append(f"idle, it had {before.descriptors} descriptors before and {after.descriptors} after")
    told.append(
        f"idle, its workers had {streams} streams before and {streams_after} after, with those that ask"
    )
    told.append(f"the error log had {len(warnings)} warnings; the last workers used {used:.1f} s of CPU")
    if after.descriptors > before.descriptors or streams_after > streams:
        faults.append("descriptors or streams were left behind")
    faults.extend([failure] if failure else [])
    report(arguments, watch, told, faults)
    return faults


def report(arguments: argparse.Namespace, watch: Watch, told: list[str], faults: list[str]) -> None:
    """Print what was found, and write it to the file that was asked for."""
    requests, failures = watch.samples[-1].requests, watch.samples[-1].failures
    text = [
        "# A soak",
        "",
        f"`python -m tests.soak.steady --minutes {arguments.minutes:g} --users {arguments.users}`: "
        f"{requests:,} requests of mixed users, each answer judged, {failures} failures; "
        f"{watch.reloads} reloads, one a minute in the second half. "
        f"This run was {arguments.minutes:g} minutes long.",
        "",
        *(f"- {line}" for line in told),
        f"- {'**failed**' if faults else 'passed'}",
        "",
        "Requests are those that had ended by then. Memory is what is resident; the workers' memory and",
        "streams, to clients and to servers, are sums. Descriptors are those of all three processes.",
        "",
        table_of(watch.samples),
        "",
    ]
    print("\n".join(text))
    if arguments.report:
        Path(arguments.report).write_text("\n".join(text))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument(
        "--interval", type=float, default=30, help="seconds between two samples (%(default)s)"
    )
    parser.add_argument("--growth", type=float, default=4, help="MiB to grow by (%(default)s)")
    parser.add_argument("--report", default="", help="file to write the report to, in Markdown")
    faults = run(parser.parse_args())
    for fault in faults:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
