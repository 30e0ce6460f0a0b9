"""The processes a benchmark starts: free ports, start, readiness, CPU and memory used, and a sure end.

Everything is ended by its process id, in the order last started, first ended. Each child gets its own
session, so that Ctrl-C reaches the benchmark alone, which then ends the others.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

READY_TIMEOUT = 20.0  # seconds; a cold Caddy on a busy machine needs a few
STOP_TIMEOUT = 5.0


class StartError(RuntimeError):
    """A process did not come up; the message ends with the last lines of its log."""


def free_ports(count: int) -> list[int]:
    """Return ``count`` different loopback ports that were free a moment ago."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def descendants(pid: int) -> list[int]:
    """Return ``pid`` and every process below it that is alive."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in children.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread ended between the listing and the read
    return found


def _task_nanoseconds(path: Path) -> int:
    try:
        return int(path.read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Process:
    """One running command with the tree of processes below it.

    ``log`` receives its standard output and error. Raises ``StartError`` when it cannot be executed.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            try:
                self._popen = subprocess.Popen(
                    [*_die_with_parent(), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=log.parent,
                    env={**os.environ, **(env or {})},
                    start_new_session=True,
                )
            except OSError as error:
                raise StartError(f"{name}: {error}") from error

    @property
    def pid(self) -> int:
        return self._popen.pid

    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def cpu_seconds(self) -> float:
        """CPU time, user and system, of all threads of all its processes since they started.

        From ``schedstat``, in nanoseconds: ``utime`` and ``stime`` count in ticks of 10 ms.
        """
        paths = [p for pid in descendants(self.pid) for p in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(map(_task_nanoseconds, paths)) / 1e9

    def mode_ticks(self) -> tuple[int, int]:
        """CPU time in user and in kernel mode, in clock ticks: good for shares over many turns only."""
        user = system = 0
        for pid in descendants(self.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                user, system = user + int(fields[11]), system + int(fields[12])
        return user, system

    def resident_bytes(self, kind: str = "Pss") -> int:
        """Resident memory of all its processes; ``kind`` is a row of smaps_rollup: "Pss" or "Rss"."""
        total = 0
        for pid in descendants(self.pid):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(kind + ":"):
                    total += int(line.split()[1]) * 1024
        return total

    def wait_ready(self, port: int, timeout: float = READY_TIMEOUT) -> None:
        """Return once ``port`` accepts connections. Raises ``StartError`` when it never does."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not self.has_ended():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise StartError(f"{self.name} did not listen; its log ends:\n{self.log_tail()}")

    def log_tail(self, lines: int = 5, width: int = 240) -> str:
        return "\n".join(line[:width] for line in self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End the process and everything below it; returns when all are gone."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        for pid in _session_members(self.pid):
            with contextlib.suppress(ProcessLookupError):  # ended by itself meanwhile
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _session_members(session: int) -> list[int]:
    """Return the processes of a session: what a child left behind, and nobody else's."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(entry.name)) == session:
                    members.append(int(entry.name))
    return members


def _die_with_parent() -> list[str]:
    """Have the kernel end the child too if the benchmark itself is killed (util-linux, if there)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory that is gone afterwards, whatever happened."""
    directory = Path(tempfile.mkdtemp(prefix="pyrox-bench-"))
    directory.chmod(0o755)  # nginx workers run as another user when it is started by root
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """Make SIGTERM unwind the stack as Ctrl-C does, and both end the program without a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
