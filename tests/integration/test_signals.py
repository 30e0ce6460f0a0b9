"""Signals to the master, and what the service manager hears and hands over."""

from __future__ import annotations

import os
import pty
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get
from tests.integration.test_workers import NOWHERE, TELL, serving
from tests.support.config import as_ini
from tests.support.load import Load
from tests.support.masters import Master, has_ended
from tests.support.processes import children_of
from tests.support.proxy import ROOT, running_proxy
from tests.support.wire import Client


@pytest.mark.parametrize("keep_alive", [True, False])
def test_workers_come_and_go_with_ttin_and_ttou_and_no_request_fails(keep_alive: bool) -> None:
    with running_proxy(TELL, workers=1, python_path=[PLUGINS]) as proxy:
        [first] = serving(proxy, 1)
        master = Master(proxy)
        with Load(proxy.address, 12, keep_alive=keep_alive, target="/pid") as load:
            load.wait_for(100)
            for count in (2, 3):
                master.signal(signal.SIGTTIN)
                master.wait_for_workers(count)
            assert first in serving(proxy, 3)
            for count in (2, 1):
                master.signal(signal.SIGTTOU)
                master.wait_for_workers(count)
            load.wait_for(100)
            assert not has_ended(proxy.pid)
        assert load.failures == []
        assert len(load.workers) == 3 or not keep_alive
        assert first not in serving(proxy, 1)  # the oldest goes first


def test_last_worker_does_not_go_with_ttou() -> None:
    with running_proxy(TELL, workers=1, python_path=[PLUGINS]) as proxy:
        before = serving(proxy, 1)
        proxy.signal(signal.SIGTTOU)
        proxy.wait_for_log("Handling signal: ttou")
        proxy.signal(signal.SIGTTIN)
        assert before < serving(proxy, 2)


def test_winch_of_a_terminal_that_changed_its_size_is_ignored(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = {**NOWHERE, "core": {"bind_host": f"127.0.0.1:{port}"}, "logging": {"verbosity": "DEBUG"}}
    path = tmp_path / "pyrox.ini"
    path.write_text(as_ini(config, tmp_path))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "pyrox", "-c", str(path)])
    try:
        _read_until(terminal, b"listening at")
        os.kill(pid, signal.SIGWINCH)
        _read_until(terminal, b"SIGWINCH ignored")
        assert len(children_of(pid)) == 1
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        os.close(terminal)


def _read_until(terminal: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 4096)


# --- systemd ------------------------------------------------------------------------------------------


class ServiceManager:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(20)

    def hears(self) -> dict[str, str]:
        """The next message."""
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def hears_nothing_more(self) -> bool:
        self._socket.settimeout(0.1)
        try:
            self._socket.recv(4096)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(tmp_path / "notify")
    yield manager
    manager.close()


def test_service_manager_hears_of_start_reload_and_stop_once_each(manager: ServiceManager) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path)}
    with running_proxy(TELL, workers=2, python_path=[PLUGINS], env=environment) as proxy:
        assert manager.hears() == {"READY": "1", "STATUS": "2 workers"}
        good = (proxy.folder / "pyrox.ini").read_text()
        (proxy.folder / "pyrox.ini").write_text("nonsense\n")
        for status, text in (("not reloaded", good), ("2 workers", good)):
            proxy.signal(signal.SIGHUP)
            reloading = manager.hears()
            assert reloading["RELOADING"] == "1" and int(reloading["MONOTONIC_USEC"]) > 0
            assert manager.hears() == {"READY": "1", "STATUS": status}
            (proxy.folder / "pyrox.ini").write_text(text)
        assert proxy.terminate() == 0
        assert manager.hears() == {"STOPPING": "1"}
        assert manager.hears_nothing_more()


def test_service_is_ready_only_when_its_workers_are(manager: ServiceManager, tmp_path: Path) -> None:
    (tmp_path / "slow_start.py").write_text(
        "import time\nfrom pyrox import Middleware\n"
        "class SlowStart(Middleware):\n"
        "    def __init__(self, app):\n        super().__init__(app)\n        time.sleep(0.5)\n"
    )
    config = {**NOWHERE, "middleware": {"stack": "slow", "slow": {"class": "slow_start.SlowStart"}}}
    environment = {"NOTIFY_SOCKET": str(manager.path)}
    with running_proxy(config, python_path=[tmp_path], env=environment) as proxy:
        assert manager.hears()["READY"] == "1"
        with Client(proxy.address, timeout=0.3) as client:
            assert client.ask(get()).status == 502


def test_service_manager_follows_an_upgrade(manager: ServiceManager) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path)}
    config = {**TELL, "core": {**TELL["core"], "pid_file": "p.pid"}}
    with running_proxy(config, python_path=[PLUGINS], env=environment) as proxy:
        assert manager.hears()["READY"] == "1"
        master = Master(proxy, proxy.folder / "p.pid")
        successor = master.start_successor(workers=1)
        assert manager.hears()["READY"] == "1"
        master.signal(signal.SIGTERM)
        assert manager.hears() == {"MAINPID": str(successor.pid)}  # the old master may still speak
        assert manager.hears() == {"MAINPID": str(successor.pid)}
        successor.stop()
        assert manager.hears() == {"STOPPING": "1"}


# Puts the socket that is handed over where systemd puts it, and says so.
ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[sys.argv.index("--bind") + 1].removeprefix("fd://")), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="pyrox.socket")
options = [argument for argument in sys.argv[1:] if argument != "--bind" and "fd://" not in argument]
os.execv(sys.executable, [sys.executable, "-m", "pyrox", *options])
"""


def test_sockets_of_the_service_manager_are_served_through_reload_and_upgrade() -> None:
    config = {
        **TELL,
        "core": {"graceful_timeout": 5, "pid_file": "p.pid", "bind_host": "unix:/no/where/p.sock"},
    }
    with running_proxy(config, program=["-c", ACTIVATED], workers=2, python_path=[PLUGINS]) as proxy:
        serving(proxy, 2)
        master = Master(proxy, proxy.folder / "p.pid")
        with Load(proxy.address, 8, keep_alive=False, target="/pid") as load:
            load.wait_for(50)
            master.reload(workers=2)
            for _ in range(2):
                master.upgrade(workers=2)
            load.wait_for(50)
        assert load.failures == []
        environment = Path(f"/proc/{master.workers()[0]}/environ").read_bytes()
        assert b"LISTEN_FDS" not in environment
        master.stop()
