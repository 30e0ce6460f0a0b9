"""Masters whose files, sockets and peers are not as they left them."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import stat
from pathlib import Path

import pytest

from pyrox.config import parse_settings
from pyrox.green.arbiter_log import give_logs_to_workers
from tests.integration.conftest import PLUGINS
from tests.integration.kit import get
from tests.integration.test_hup import NOT_RELOADED, rewrite
from tests.integration.test_upgrade import CONFIG, master_of
from tests.integration.test_workers import NOWHERE, TELL, as_root, serving
from tests.support.masters import has_ended
from tests.support.origin import OK, Origin, expect_request, send
from tests.support.proxy import running_proxy
from tests.support.wire import Client


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


# --- an upgrade ---------------------------------------------------------------------------------------


def test_new_master_goes_on_and_takes_the_pid_file_when_the_old_one_was_killed() -> None:
    """Nobody has asked for the old one's status yet, so its number, in the pid file, seems to run."""
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy:
        serving(proxy, 1)
        successor = master_of(proxy).start_successor(workers=1)
        os.kill(proxy.pid, signal.SIGKILL)
        proxy.wait_for_log("Master has been promoted")
        successor.wait_for_pid_file(successor.pid)
        with Client(proxy.address) as client:
            assert client.ask(get("/pid")).status == 200
        successor.stop()
        assert not list(proxy.folder.glob("p.pid*"))


def test_address_that_a_new_master_does_not_serve_is_closed_with_the_old_one() -> None:
    kept, dropped = free_ports(2)
    core = {**CONFIG["core"], "bind_host": [f"127.0.0.1:{kept}", f"127.0.0.1:{dropped}"]}
    with running_proxy({**CONFIG, "core": core}, binds=None, python_path=[PLUGINS]) as proxy:
        proxy.wait_for_log("listening at")
        proxy.worker_pids(1)
        rewrite(proxy, {**CONFIG, "core": {**core, "bind_host": f"127.0.0.1:{kept}"}})
        master = master_of(proxy)
        master.upgrade(workers=1)
        with Client(("127.0.0.1", kept)) as client:
            assert client.ask(get("/pid")).status == 200
        with pytest.raises(ConnectionRefusedError):
            Client(("127.0.0.1", dropped))
        master.stop()


# --- a reload -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_does_not_wait_for_middleware_that_a_reload_tries_out(tmp_path: Path, number: int) -> None:
    (tmp_path / "slow_trial.py").write_text(
        "import pathlib, time\nfrom pyrox import Middleware\n"
        f"slow, begun = pathlib.Path({str(tmp_path)!r}, 'slow'), pathlib.Path({str(tmp_path)!r}, 'begun')\n"
        "class SlowTrial(Middleware):\n"
        "    def __init__(self, app):\n        super().__init__(app)\n"
        "        if slow.exists():\n            begun.touch()\n            time.sleep(50)\n"
    )
    middleware = {"stack": "slow", "slow": {"class": "slow_trial.SlowTrial"}}
    with running_proxy({**NOWHERE, "middleware": middleware}, python_path=[tmp_path]) as proxy:
        with Client(proxy.address) as client:
            assert client.ask(get()).status == 502  # so the worker has made its middleware
        (tmp_path / "slow").touch()
        proxy.signal(signal.SIGHUP)
        proxy.wait_until((tmp_path / "begun").exists, "trial of the middleware")
        proxy.signal(number)
        assert proxy.wait(10) == 0


def test_address_may_come_back_before_it_has_gone(tmp_path: Path) -> None:
    (tmp_path / "slow_birth.py").write_text(
        "import time\nimport gevent.monkey\nfrom pyrox import Middleware\n"
        "class SlowBirth(Middleware):\n"
        "    def __init__(self, app):\n        super().__init__(app)\n"
        "        time.sleep(2 if gevent.monkey.is_module_patched('socket') else 0)\n"
    )
    kept, moving = free_ports(2)
    both = {**TELL["core"], "bind_host": [f"127.0.0.1:{kept}", f"127.0.0.1:{moving}"]}
    one = {**both, "bind_host": f"127.0.0.1:{kept}"}
    stack = {"middleware": {"stack": "slow", "slow": {"class": "slow_birth.SlowBirth"}}}
    with running_proxy({**TELL, "core": both}, binds=None, python_path=[PLUGINS, tmp_path]) as proxy:
        proxy.wait_for_log("listening at")
        proxy.worker_pids(1)
        rewrite(proxy, {**TELL, **stack, "core": one})
        proxy.signal(signal.SIGHUP)
        proxy.wait_until(lambda: len(proxy.worker_pids()) == 2, "a new worker")
        rewrite(proxy, {**TELL, "core": both})
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("INFO reloaded")
        assert NOT_RELOADED not in proxy.error_log()
        with Client(("127.0.0.1", moving)) as client:
            assert client.ask(get("/pid")).status == 200


def test_reload_that_cannot_make_a_unix_socket_leaves_the_umask_alone() -> None:
    core = {"bind_host": "127.0.0.1:0"}
    with running_proxy({**NOWHERE, "core": core}, binds=None) as proxy:
        proxy.wait_for_log("listening at")
        inherited = umask_of(os.getpid())
        assert inherited != 0
        rewrite(proxy, {**NOWHERE, "core": {"bind_host": ["127.0.0.1:0", "unix:/no/where/p.sock"]}})
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log(NOT_RELOADED)
        # For a moment it may be another: gunicorn makes the file of a worker's heartbeat without one.
        proxy.wait_until(lambda: umask_of(proxy.pid) == inherited, "return to the umask it had")


def umask_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("Umask:")[2].split()[0], 8)


@pytest.mark.usefixtures("expected_tracebacks")
def test_reload_that_fails_is_undone_also_when_the_last_old_worker_was_killed_meanwhile(
    tmp_path: Path,
) -> None:
    go, bad = tmp_path / "go", tmp_path / "bad"
    (tmp_path / "late_fault.py").write_text(
        "import os, time\nimport gevent.monkey\nfrom pyrox import Middleware\n"
        "class LateFault(Middleware):\n"
        "    def __init__(self, app, fails: bool = False):\n        super().__init__(app)\n"
        "        if fails and gevent.monkey.is_module_patched('socket'):\n"
        f"            open({str(bad)!r}, 'w').close()\n"
        f"            while not os.path.exists({str(go)!r}):\n                time.sleep(0.02)\n"
        "            raise OSError('only a worker sees this')\n"
    )
    tell = {"tell": {"class": "processes.TellWorker"}}
    late = {"class": "late_fault.LateFault"}
    good = {**TELL, "middleware": {"stack": "tell, late", **tell, "late": late}}
    with running_proxy(good, python_path=[PLUGINS, tmp_path]) as proxy:
        [old] = serving(proxy, 1)
        rewrite(
            proxy, {**TELL, "middleware": {"stack": "tell, late", **tell, "late": {**late, "fails": "yes"}}}
        )
        proxy.signal(signal.SIGHUP)
        proxy.wait_until(bad.exists, "a worker that is about to fail")
        os.kill(old, signal.SIGKILL)
        proxy.wait_for_log(f"worker {old} ended by SIGKILL")
        go.touch()
        proxy.wait_for_log(f"{NOT_RELOADED}: a new worker cannot start")
        assert old not in serving(proxy, 1)


# --- what is somebody else's --------------------------------------------------------------------------


def test_unix_socket_that_another_one_serves_is_not_taken_away() -> None:
    with running_proxy(NOWHERE, binds=["unix:{folder}/p.sock"]) as proxy:
        [path] = proxy.addresses()
        assert isinstance(path, str)
        with running_proxy(NOWHERE, binds=[f"unix:{path}"]) as second:
            assert second.wait() == 1
            assert "Address already in use" in second.error_log()
        with Client(path) as client:
            assert client.ask(get()).status == 502


def test_unix_socket_that_nobody_serves_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "stale.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with running_proxy(NOWHERE, binds=[f"unix:{path}"]) as proxy:
        proxy.wait_for_log("listening at")
        with Client(path) as client:
            assert client.ask(get()).status == 502


@as_root
@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_file_that_a_worker_puts_in_the_place_of_a_log_is_not_given_to_it(
    tmp_path: Path, make: object
) -> None:
    """The folder is the workers', who may have been taken over."""
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    logs = tmp_path / "logs"
    logs.mkdir()
    os.chown(logs, pwd.getpwnam("daemon").pw_uid, -1)
    assert callable(make)
    make(secret, logs / "access.log")
    settings = parse_settings(f"[core]\nuser = daemon\n[logging]\naccess_log = {logs}/access.log")
    with pytest.raises(OSError, match=r"access\.log"):
        give_logs_to_workers(settings)
    assert secret.stat().st_uid == 0
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


# --- the end of a master ------------------------------------------------------------------------------


def test_workers_of_a_killed_master_end_their_exchanges_and_say_once_why() -> None:
    answered: list[bool] = []

    def wait(_: object) -> None:
        proxy.wait_until(lambda: "the master is gone" in proxy.error_log(), "the worker's notice")
        answered.append(client.is_silent(0.5))

    with Origin([expect_request(), wait, send(OK)]) as origin:
        config = {**NOWHERE, "routing": {"upstream_hosts": origin.url}, "logging": {"verbosity": "INFO"}}
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            [worker] = proxy.worker_pids(1)
            client.send(get())
            origin.wait_for_requests(1)
            os.kill(proxy.pid, signal.SIGKILL)
            proxy.wait()
            assert client.read_response().status == 200 and answered == [True]
            client.close()
            proxy.wait_until(lambda: has_ended(worker), "end of the worker", 30.0)
            assert proxy.error_log().count("the master is gone") == 1


def test_logs_are_reopened_by_a_worker_that_is_still_being_made(tmp_path: Path) -> None:
    (tmp_path / "slow_maker.py").write_text(
        "import time\nimport gevent.monkey\nfrom pyrox import Middleware, Response\n"
        "class SlowMaker(Middleware):\n"
        "    def __init__(self, app):\n        super().__init__(app)\n"
        "        if gevent.monkey.is_module_patched('socket'):\n"
        "            print('being made')\n            time.sleep(2)\n"
        "    def __call__(self, request):\n        return Response(200, 'ok')\n"
    )
    config = {**NOWHERE, "middleware": {"stack": "slow", "slow": {"class": "slow_maker.SlowMaker"}}}
    with running_proxy(config, python_path=[tmp_path]) as proxy:
        proxy.wait_for_log("being made")
        proxy.wait_until(lambda: (proxy.folder / "access.log").exists(), "the access log")
        (proxy.folder / "access.log").rename(proxy.folder / "access.log.1")
        proxy.signal(signal.SIGUSR1)
        proxy.wait_until(lambda: (proxy.folder / "access.log").exists(), "a new access log")
        with Client(proxy.address) as client:
            assert client.ask(get("/after")).status == 200
        assert "/after" in proxy.access_log(1)[0]
        assert "Traceback" not in proxy.error_log()
