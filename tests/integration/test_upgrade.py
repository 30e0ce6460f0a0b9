"""USR2: a new master takes the listening sockets over, in place, and the way back."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get
from tests.integration.test_hup import ECHO, assert_echo, open_tunnel
from tests.integration.test_workers import TELL, serving
from tests.support.load import Load
from tests.support.masters import Master, has_ended
from tests.support.origin import Origin
from tests.support.processes import children_of
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

CONFIG = {**TELL, "core": {"graceful_timeout": 5, "pid_file": "p.pid"}}


def master_of(proxy: Proxy) -> Master:
    return Master(proxy, proxy.folder / "p.pid")


@pytest.mark.parametrize("keep_alive", [True, False])
def test_two_upgrades_under_load_lose_no_request(keep_alive: bool) -> None:
    with running_proxy(CONFIG, workers=2, python_path=[PLUGINS]) as proxy:
        serving(proxy, 2)
        master = master_of(proxy)
        first = master.pid
        with Load(proxy.address, 12, keep_alive=keep_alive, target="/pid") as load:
            load.wait_for(200)
            for _ in range(2):
                master.upgrade(workers=2)
            load.wait_for(200)
        assert load.failures == []
        assert master.pid != first and has_ended(first, proxy)
        assert proxy.process.returncode == 0
        master.stop()
        assert not (proxy.folder / "p.pid").exists()


def test_new_master_is_the_same_command_in_the_same_directory() -> None:
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy:
        serving(proxy, 1)
        successor = master_of(proxy).start_successor(workers=1)
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (proxy.pid, successor.pid)]
        assert lines[0].split(b"\0")[1:] == lines[1].split(b"\0")[1:]
        assert lines[1].split(b"\0")[1:3] == [b"-m", b"pyrox"]
        assert os.readlink(f"/proc/{successor.pid}/cwd") == str(proxy.folder)
        successor.stop()


def test_console_script_is_upgraded_too(tmp_path: Path) -> None:
    """Started as a file, as pip's script does it: that file's directory must not hide other modules."""
    script = tmp_path / "pyrox-command"
    script.write_text("import sys\nfrom pyrox.cli import main\nsys.exit(main())\n")
    with running_proxy(CONFIG, python_path=[PLUGINS], program=[str(script)]) as proxy:
        serving(proxy, 1)
        master = master_of(proxy)
        master.upgrade(workers=1)
        with Client(proxy.address) as client:
            assert client.ask(get("/pid")).status == 200
        master.stop()


def test_upgrade_is_called_off_by_a_term_to_the_new_master() -> None:
    with running_proxy(CONFIG, workers=2, python_path=[PLUGINS]) as proxy:
        before = serving(proxy, 2)
        master = master_of(proxy)
        with Load(proxy.address, 8, keep_alive=True, target="/pid") as load:
            load.wait_for(50)
            successor = master.start_successor(workers=2)
            assert (proxy.folder / "p.pid.2").read_text() == f"{successor.pid}\n"
            successor.stop()
            load.wait_for(200)
        assert load.failures == []
        assert set(master.workers()) == before
        assert not (proxy.folder / "p.pid.2").exists()
        assert (proxy.folder / "p.pid").read_text() == f"{proxy.pid}\n"
        master.upgrade(workers=2)  # the next attempt is possible
        master.stop()


def test_winch_lets_the_old_workers_go_and_hup_brings_them_back() -> None:
    with running_proxy(CONFIG, workers=2, python_path=[PLUGINS]) as proxy:
        old = serving(proxy, 2)
        master = master_of(proxy)
        with Load(proxy.address, 8, keep_alive=True, target="/pid") as load:
            load.wait_for(50)
            successor = master.start_successor(workers=2)
            serving_both = serving(proxy, 4)
            master.signal(signal.SIGWINCH)
            proxy.wait_until(lambda: not master.workers(), "end of the old workers", 30.0)
            load.wait_for(50)
            master.signal(signal.SIGHUP)
            master.wait_for_workers(2, none_of=old)
            successor.stop()
            load.wait_for(50)
        assert load.failures == []
        assert len(serving_both - old) == 2
        assert serving(proxy, 2) == set(master.workers())


def test_new_master_that_cannot_start_changes_nothing() -> None:
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy:
        before = serving(proxy, 1)
        good = (proxy.folder / "pyrox.ini").read_text()
        (proxy.folder / "pyrox.ini").write_text("[core]\nproceses = 1\n")
        proxy.signal(signal.SIGUSR2)
        proxy.wait_for_log("unknown option; did you mean processes?")
        proxy.wait_for_log("ended with status 2; this one goes on")
        assert serving(proxy, 1) == before
        (proxy.folder / "pyrox.ini").write_text(good)
        master = master_of(proxy)
        master.upgrade(workers=1)
        master.stop()


def test_second_upgrade_at_a_time_is_refused() -> None:
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy:
        serving(proxy, 1)
        master = master_of(proxy)
        successor = master.start_successor(workers=1)
        proxy.wait_for_log("upgrading from the master")  # before that a signal ends it
        for pid in (master.pid, successor.pid):
            os.kill(pid, signal.SIGUSR2)
        proxy.wait_until(lambda: proxy.error_log().count("USR2 ignored") == 2, "two refusals")
        assert [pid for pid in children_of(master.pid) if children_of(pid)] == [successor.pid]
        successor.stop()


def test_unix_socket_outlives_the_master_that_made_it() -> None:
    with running_proxy(CONFIG, python_path=[PLUGINS], binds=["unix:{folder}/p.sock"]) as proxy:
        [path] = proxy.addresses()
        assert isinstance(path, str)
        master = master_of(proxy)
        master.wait_for_workers(1)
        with Load(path, 4, keep_alive=True, target="/pid") as load:
            load.wait_for(20)
            master.upgrade(workers=1)
            load.wait_for(20)
        assert load.failures == []
        master.stop()
        assert not Path(path).exists()


def test_daemon_is_reloaded_and_upgraded_in_place(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    core = {"daemon": True, "pid_file": str(tmp_path / "d.pid"), "graceful_timeout": 5}
    log = {"logfile": str(tmp_path / "d.log"), "console": False}
    with running_proxy(
        {**TELL, "core": core, "logging": log}, python_path=[PLUGINS], binds=[f"127.0.0.1:{address[1]}"]
    ) as starter:
        assert starter.wait(30) == 0
        master = Master(starter, tmp_path / "d.pid")
        master.pid = int((tmp_path / "d.pid").read_text())
        try:
            with Load(address, 4, keep_alive=True, target="/pid") as load:
                load.wait_for(20)
                master.reload(workers=1)
                master.upgrade(workers=1)
                load.wait_for(20)
            assert load.failures == []
            assert os.readlink(f"/proc/{master.pid}/fd/1") == os.devnull
        finally:
            master.stop()


def test_tunnel_outlives_winch_and_ends_in_the_grace_time_of_the_old_master() -> None:
    core = {"graceful_timeout": 2, "pid_file": "p.pid"}
    with Origin(ECHO) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}, "core": core}) as proxy:
            with open_tunnel(proxy) as tunnel:
                master = master_of(proxy)
                successor = master.start_successor(workers=1)
                master.signal(signal.SIGWINCH)
                assert tunnel.is_silent(2.5)
                assert_echo(tunnel)
                master.signal(signal.SIGTERM)
                assert tunnel.read_until_closed()[0] == b""
                assert proxy.wait() == 0
            with open_tunnel(proxy) as tunnel:
                assert_echo(tunnel)
            successor.stop()
