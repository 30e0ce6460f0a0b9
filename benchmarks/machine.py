"""What machine it is, and whether it was ours: how much of its CPU other work took."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from processes import Process

QUIET = 0.1  # a larger share of other work than this is worth a warning
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # the places of idle and iowait in the first line of /proc/stat


def describe() -> str:
    """Return in a line what the figures were measured on: processor, cores, kernel, Python."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = f"{os.cpu_count()} cores"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return ", ".join([*models[:1], cores, f"Linux {platform.release().partition('-')[0]}", python])


class OtherWork:
    """Counts from its creation on; ``processes`` are the running ones that belong to the benchmark."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._started = time.monotonic()
        self._other = self._other_seconds()

    def share(self) -> float:
        """Return the part of the machine's CPU time, 0 to 1, that others used (kernel threads too)."""
        elapsed = (time.monotonic() - self._started) * (os.cpu_count() or 1)
        return max(0.0, (self._other_seconds() - self._other) / elapsed)

    def _other_seconds(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)  # the load tools
        here = resource.getrusage(resource.RUSAGE_SELF)
        ours = ended.ru_utime + ended.ru_stime + here.ru_utime + here.ru_stime
        return _busy_seconds() - ours - sum(process.cpu_seconds() for process in self._processes)


def _busy_seconds() -> float:
    counters = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(value for place, value in enumerate(counters) if place not in _IDLE) / _TICKS
