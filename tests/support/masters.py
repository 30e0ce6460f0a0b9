"""The master in charge of a proxy: its workers, its signals, and who takes over from it."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path

from tests.support.processes import children_of
from tests.support.proxy import Proxy


class Master:
    """The master of ``proxy``; ``pid`` changes with an upgrade, for which it needs a ``pid_file``."""

    def __init__(self, proxy: Proxy, pid_file: Path | None = None) -> None:
        self.pid = proxy.pid
        self.proxy = proxy
        self._pid_file = pid_file

    def workers(self) -> list[int]:
        """The workers that the master started, oldest first; not a new master, which has workers itself."""
        return [pid for pid in children_of(self.pid) if not children_of(pid)]

    def signal(self, number: int) -> None:
        """Send the master a signal."""
        os.kill(self.pid, number)

    def wait_for_workers(self, count: int, none_of: Collection[int] = (), timeout: float = 30.0) -> list[int]:
        """Wait until there are exactly ``count`` workers, and none of the old ones; returns them."""

        def are_there() -> bool:
            workers = self.workers()
            return len(workers) == count and not set(none_of) & set(workers)

        self.proxy.wait_until(are_there, f"{count} workers, none of {none_of}", timeout)
        return self.workers()

    def reload(self, workers: int) -> None:
        """Send HUP and wait until none but new workers are there."""
        old = self.workers()
        self.signal(signal.SIGHUP)
        self.wait_for_workers(workers, none_of=old)

    def start_successor(self, workers: int) -> Master:
        """Send USR2 and wait until the new master has its workers; both are in charge then."""
        before = children_of(self.pid)
        self.signal(signal.SIGUSR2)
        new: list[int] = []

        def is_there() -> bool:
            new[:] = [pid for pid in children_of(self.pid) if pid not in before and children_of(pid)]
            return bool(new)

        self.proxy.wait_until(is_there, "a new master", 30.0)
        successor = Master(self.proxy, self._pid_file)
        successor.pid = new[0]
        successor.wait_for_workers(workers)
        return successor

    def upgrade(self, workers: int) -> None:
        """Send USR2, then TERM to the old master; wait until the new one is the only one, and knows it."""
        successor = self.start_successor(workers)
        self.signal(signal.SIGTERM)
        self.wait_for_end()
        self.pid = successor.pid
        self.wait_for_pid_file(self.pid)

    def wait_for_pid_file(self, pid: int, suffix: str = "") -> None:
        """Wait until the pid file names ``pid``."""
        path = Path(f"{self._pid_file}{suffix}")
        self.proxy.wait_until(lambda: _text_of(path) == f"{pid}\n", f"pid {pid} in {path}")

    def wait_for_end(self, timeout: float = 30.0) -> None:
        """Wait until the master is no more."""
        self.proxy.wait_until(lambda: has_ended(self.pid, self.proxy), "end of the master", timeout)

    def stop(self, timeout: float = 30.0) -> None:
        """Send TERM and wait until the master is no more."""
        if not has_ended(self.pid, self.proxy):
            self.signal(signal.SIGTERM)
        self.wait_for_end(timeout)


def has_ended(pid: int, proxy: Proxy | None = None) -> bool:
    """Whether ``pid`` is gone, or a zombie that nobody has asked for."""
    if proxy is not None:
        proxy.process.poll()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in ("Z", "X")


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
