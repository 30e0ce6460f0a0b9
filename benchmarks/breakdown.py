#!/usr/bin/env python3
"""Say where the time of a small GET goes: the parts of Pyrox, and the system calls, as tables in Markdown.

A real worker behind wrk, in front of the benchmark's origin. Shares of the parts are from Pyrox's own profile
(`enable_profiling`), shares of the system calls from `perf` and their number from `strace`; what is not
installed, or not permitted, is left out. Measuring goes on until the worker has used so much CPU time: on a
busy machine it takes longer, and microseconds are too many, but shares are the same.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import load
from machine import describe
from origin import Origin, running_origin
from processes import Process, descendants, exit_on_signals, free_ports, scratch
from variants import Launch, Site, Variant, pyrox
from workloads import CONNECTIONS

SLICE = 2  # seconds of load between two looks at the clock
WARM_UP = 0.5  # seconds of CPU time
MARKS = "<!-- figures: make breakdown -->\n", "<!-- end of figures -->\n"
SMALL = 0.005  # a part with a smaller share than this is one of the others
RARE = 0.1  # a system call that is made less often, and has no share, is not shown

# A stack belongs to the first part whose pattern is in it; functions stand in it outermost first.
PARTS = (
    ("waiting and waking", r"^Hub\.run|\._wait_readable "),
    ("access log", r"/access_log\.py"),
    ("head of the request: encoding", r"/forwarder\.py.*;encode_request_head "),
    ("request to the server: sending", r"/forwarder\.py.*;SocketStream\.send "),
    ("answer of the server: receiving", r"/forwarder\.py.*;SocketStream\.receive "),
    ("head of the answer: reading", r"/upstream\.py.*/stream\.py|/head_cache\.py.*response"),
    ("forwarder, balancing, pool", r"/forwarder\.py|/upstreams/|/router\.py"),
    ("middleware `{}`", r".*pyrox/middleware/(?!stack\.py)(\w+)\.py"),
    ("middleware: what lies between", r"pyrox/middleware/"),
    ("head of the answer: encoding", r";encode_response_head "),
    ("answer to the client: sending", r";SocketStream\.send "),
    ("request of the client: receiving", r";SocketStream\.receive "),
    ("head of the request: reading", r"/(stream|head_cache|head|target|forwarding)\.py"),
    ("the client's loop", r"pyrox/green/client\.py"),
)
OTHERS = "others"
ENTRY = "entry and exit, interrupts"


@dataclass
class Figures:
    """What was measured: CPU microseconds of a request, and how they are shared, each as parts of 1."""

    microseconds: float
    kernel: float
    parts: Mapping[str, float]
    calls: Mapping[str, float]  # how many for each request; empty when strace cannot tell
    call_shares: Mapping[str, float]  # empty when perf cannot tell


def part_of(stack: str) -> str:
    """Return the part that a line of the profile belongs to."""
    for name, pattern in PARTS:
        if found := re.search(pattern, stack):
            return name.format(*found.groups())
    return OTHERS


def shares(counts: Counter[str]) -> dict[str, float]:
    """Return each as a part of all, the largest first; what is small is put together, at the end."""
    total = counts.total()
    named = [(name, count) for name, count in counts.most_common() if name != OTHERS]
    large = {name: count for name, count in named if count >= SMALL * total}
    large[OTHERS] = total - sum(large.values())
    return {name: count / total for name, count in large.items() if count}


def parts_of(folded: str) -> dict[str, float]:
    """Return the shares of the parts in a profile."""
    counts: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, microseconds = line.rpartition(" ")
        counts[part_of(stack)] += int(microseconds)
    return shares(counts)


def calls_of(summary: str) -> Counter[str]:
    """Return how often each system call was made, from what `strace -c` prints."""
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", summary, re.MULTILINE)
    return Counter({f"`{name}`": int(count) for count, name in rows if name != "total"})


def call_shares_of(script: str) -> dict[str, float]:
    """Return the shares of the system calls in all CPU time, from what `perf script` prints."""
    samples = [sample for sample in script.split("\n\n") if sample.strip()]
    counts: Counter[str] = Counter()
    for sample in samples:
        if call := re.search(r"__(?:x64|arm64)_sys_(\w+)", sample):
            counts[f"`{call[1]}`"] += 1
        elif "[kernel.kallsyms]" in sample:
            counts[ENTRY] += 1
    return {
        name: count / len(samples) for name, count in counts.most_common() if count >= SMALL * len(samples)
    }


class Bench:
    """A worker under load."""

    def __init__(self, site: Site, process: Process) -> None:
        self._url = f"http://127.0.0.1:{site.port}/small"
        self.directory = site.directory
        self.process = process

    @property
    def worker(self) -> int:
        """The process id of the only child of the master."""
        return descendants(self.process.pid)[-1]

    def drive(self, cpu_seconds: float) -> int:
        """Let requests come until they have cost so much, and return how many."""
        until, requests = self.process.cpu_seconds() + cpu_seconds, 0
        while self.process.cpu_seconds() < until:
            done = load.wrk(self._url, "get", SLICE, CONNECTIONS)
            if done.errors:
                raise SystemExit(f"{done.errors} requests failed; the log ends:\n{self.process.log_tail()}")
            requests += done.requests
        return requests

    def traced(self, cpu_seconds: float, *command: str) -> int:
        """Let requests come while a tool watches the worker, and return how many."""
        with Process(command[0], command, self.directory / f"{command[0]}.log"):
            return self.drive(cpu_seconds)


@contextlib.contextmanager
def running_worker(directory: Path, origin: Origin, *core: str) -> Iterator[Bench]:
    """Start Pyrox with these lines in its section ``core``, and warm it up."""
    directory.mkdir()
    (port,) = free_ports(1)
    site = Site(directory, port, origin.port)

    def prepare(site: Site) -> Launch:
        launch = pyrox().prepare(site)
        config = site.directory / "pyrox.ini"
        config.write_text(config.read_text().replace("[core]\n", "\n".join(["[core]", *core, ""])))
        return launch

    with Variant("pyrox", prepare).start(site) as process:
        bench = Bench(site, process)
        bench.drive(WARM_UP)
        yield bench


def measure(directory: Path, origin: Origin, cpu_seconds: float) -> Figures:
    """Measure the parts with a profiled worker, the system calls with another."""
    profile = directory / "profile"
    with running_worker(profile, origin, "enable_profiling = yes", f"profile_dir = {profile}") as bench:
        started, (user, system) = bench.process.cpu_seconds(), bench.process.mode_ticks()
        requests = bench.drive(cpu_seconds)
        microseconds = (bench.process.cpu_seconds() - started) / requests * 1e6
        user_now, system_now = bench.process.mode_ticks()
    kernel = (system_now - system) / (user_now - user + system_now - system)
    parts = parts_of(next(profile.glob("*.folded")).read_text())
    with running_worker(directory / "calls", origin) as bench:
        return Figures(microseconds, kernel, parts, count_calls(bench), sample_calls(bench, cpu_seconds))


def count_calls(bench: Bench) -> dict[str, float]:
    """Return how many system calls of each kind a request makes, if strace can tell."""
    if not shutil.which("strace"):
        return {}
    summary = bench.directory / "strace.out"
    requests = bench.traced(WARM_UP, "strace", "-c", "-f", "-p", str(bench.worker), "-o", str(summary))
    counts = calls_of(summary.read_text()) if summary.exists() else Counter()
    return {name: count / requests for name, count in counts.most_common()}


def sample_calls(bench: Bench, cpu_seconds: float) -> dict[str, float]:
    """Return the share of each system call in all CPU time, if perf can tell."""
    if not shutil.which("perf"):
        return {}
    data = str(bench.directory / "perf.data")
    sampling = ("perf", "record", "-e", "cpu-clock", "-g", "-F", "1000", "-p", str(bench.worker), "-o", data)
    bench.traced(cpu_seconds, *sampling)
    done = subprocess.run(["perf", "script", "-i", data], capture_output=True, text=True, check=False)
    return call_shares_of(done.stdout)


def tables(figures: Figures) -> str:
    """Return everything in Markdown."""
    of_which = f"{figures.kernel:.0%} of them in the kernel"
    lines = [
        f"{figures.microseconds:.1f} microseconds of CPU time for a request, {of_which}; {describe()}.",
        "",
        "| part, with its system calls | us | share |",
        "|---|--:|--:|",
    ]
    lines += [f"| {name} | {_cost(share, figures)}" for name, share in figures.parts.items()]
    if figures.calls or figures.call_shares:
        lines += ["", "| in the kernel | calls for each request | us | share |", "|---|--:|--:|--:|"]
        names = [*figures.call_shares, *(each for each in figures.calls if each not in figures.call_shares)]
        lines += [_call_row(name, figures) for name in names if _is_shown(name, figures)]
    return "\n".join(lines) + "\n"


def _cost(share: float, figures: Figures) -> str:
    return f"{share * figures.microseconds:.1f} | {share:.0%} |"


def _call_row(name: str, figures: Figures) -> str:
    count = f"{figures.calls[name]:.2f}" if name in figures.calls else ""
    share = figures.call_shares.get(name)
    return f"| {name} | {count} | " + (_cost(share, figures) if share else " | |")


def _is_shown(name: str, figures: Figures) -> bool:
    return figures.calls.get(name, 0) >= RARE or name in figures.call_shares


def write(path: Path, figures: str) -> None:
    """Put the figures between their marks in a page."""
    start, end = MARKS
    before, _, rest = path.read_text().partition(start)
    path.write_text(before + start + figures + end + rest.partition(end)[2])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu-seconds", type=float, default=20, help="of the worker (%(default)s)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args()
    with scratch() as directory, running_origin(directory / "origin") as origin:
        figures = tables(measure(directory, origin, options.cpu_seconds))
    print(figures)
    if options.write:
        write(options.write, figures)


if __name__ == "__main__":
    with exit_on_signals():
        main()
