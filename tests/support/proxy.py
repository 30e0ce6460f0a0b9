"""The real proxy, in processes of its own::

    with running_proxy({"routing": {"upstream_hosts": origin.url}}) as proxy:
        with Client(proxy.address) as client:
            assert client.ask(b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n").status == 200

The listening socket is made here and handed over, so a client that connects before the worker is up just
waits in the backlog, and one that connects to a proxy that died is refused. A failed test shows the log of
the proxies it used (see ``tests/conftest.py``).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.config import Config, as_ini
from tests.support.processes import children_of, fd_count, resident_bytes
from tests.support.wire import TIMEOUT, Address

ROOT = Path(__file__).resolve().parents[2]
POLL = 0.02

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

# Every proxy that ran since the last test began, for the report of a failure.
recent: list[Proxy] = []


class Proxy:
    """A proxy that runs; made by ``running_proxy``."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.port = port
        self.address = ("127.0.0.1", port)
        self._last_log = ""

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def addresses(self) -> list[Address]:
        """Where the proxy says it listens, in the order of its ``binds``; waits until it does."""
        self.wait_for_log("listening at ")
        listed = self.error_log().partition("listening at ")[2].partition(" worker")[0]
        return [_address_of(name) for name in listed.split(", ")[:-1]]

    def worker_pids(self, count: int = 0) -> list[int]:
        """The workers' process ids, waiting until there are at least ``count``."""
        # Before it listens, the master forks children that are no workers, to try the configuration.
        self.wait_for_log(" listening at ")
        self.wait_until(lambda: len(children_of(self.pid)) >= count, f"{count} workers")
        return children_of(self.pid)

    def error_log(self) -> str:
        """Everything the proxy wrote to stderr and stdout so far."""
        with contextlib.suppress(FileNotFoundError):
            self._last_log = (self.folder / "error.log").read_text(errors="replace")
        return self._last_log

    def access_log(self, count: int = 0) -> list[str]:
        """The lines of the access log, waiting until there are at least ``count``."""
        self.wait_until(lambda: len(self._access_lines()) >= count, f"{count} access log lines")
        return self._access_lines()

    def wait_for_log(self, text: str) -> None:
        """Wait until the error log holds ``text``."""
        self.wait_until(lambda: text in self.error_log(), f"{text!r} in the error log")

    def wait_until(self, is_true: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
        """Ask ``is_true()`` until it is; ``TimeoutError`` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not is_true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {what} within {timeout} s")
            time.sleep(POLL)

    def fd_count(self) -> int:
        """How many descriptors the workers have open, summed."""
        return sum(fd_count(pid) for pid in self.worker_pids(1))

    def rss(self) -> int:
        """The workers' resident memory in bytes, summed."""
        return sum(resident_bytes(pid) for pid in self.worker_pids(1))

    def signal(self, number: int) -> None:
        """Send the master a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Wait until the proxy has ended; returns its exit status, negative for a signal."""
        return self.process.wait(timeout)

    def terminate(self, timeout: float = 30.0) -> int:
        """Send SIGTERM and wait; returns the exit status."""
        if self.is_running:
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill_all(self) -> None:
        """Kill what is left of the process group: the master, its workers, their children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def _access_lines(self) -> list[str]:
        try:
            return (self.folder / "access.log").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []


@contextlib.contextmanager
def running_proxy(
    config: Config | str,
    *,
    workers: int | None = 1,
    env: Mapping[str, str] | None = None,
    python_path: Sequence[str | Path] = (),
    arguments: Sequence[str] = (),
    program: Sequence[str] = ("-m", "pyrox"),
    binds: Sequence[str] | None = (),
    timeout: float = TIMEOUT,
) -> Iterator[Proxy]:
    """Run ``python -m pyrox`` with ``config`` until the end of the ``with`` block.

    A dict of sections gets ``[logging] access_log`` and ``console`` unless it sets them; a str is the whole
    file, and may write its access log to ``${PYROX_TEST_FOLDER}/access.log``. ``env`` is added to the
    environment, ``python_path`` to PYTHONPATH, ``arguments`` to the command line; ``program`` is what Python
    runs. With ``binds`` the proxy makes its listeners itself (``{folder}`` in them is the proxy's folder);
    ask for ``addresses`` then. None for ``binds`` or ``workers`` leaves them to the file. The proxy is
    stopped with SIGTERM at the end; one that is still there ``timeout`` seconds later is killed, and that is
    a failure.
    """
    with tempfile.TemporaryDirectory(prefix="pyrox-test-") as name:
        folder = Path(name)
        (folder / "pyrox.ini").write_text(config if isinstance(config, str) else as_ini(config, folder))
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            own = [f"fd://{listener.fileno()}"] if binds == () else binds or ()
            options = _options(folder, [bind.format(folder=folder) for bind in own], workers)
            command = [sys.executable, *program, *options, *arguments]
            process = _spawn(command, folder, listener, _environment(folder, env or {}, python_path))
            proxy = Proxy(process, listener.getsockname()[1], folder)
        recent.append(proxy)
        try:
            yield proxy
            _stop(proxy, timeout)
        finally:
            proxy.kill_all()
            proxy.error_log()


def _address_of(name: str) -> Address:
    if name.startswith("unix:"):
        return name.removeprefix("unix:")
    host, _, port = name.rpartition("//")[2].rpartition(":")
    return host.strip("[]"), int(port)


def _options(folder: Path, binds: Sequence[str], workers: int | None) -> list[str]:
    options = ["-c", str(folder / "pyrox.ini")]
    if workers is not None:
        options += ["-w", str(workers)]
    for bind in binds:
        options += ["--bind", bind]
    return options


def _environment(folder: Path, env: Mapping[str, str], python_path: Sequence[str | Path]) -> dict[str, str]:
    paths = [str(ROOT), *map(str, python_path), os.environ.get("PYTHONPATH", "")]
    added = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYROX_TEST_FOLDER": str(folder)}
    return {**os.environ, **added, **env}


def _spawn(
    command: list[str], folder: Path, listener: socket.socket, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with (folder / "error.log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _die_with_parent() -> None:
    # A pytest that is killed runs no finally.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(proxy: Proxy, timeout: float) -> None:
    if proxy.is_running:
        proxy.signal(signal.SIGTERM)
        try:
            proxy.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the proxy did not stop within {timeout} s of SIGTERM") from None
