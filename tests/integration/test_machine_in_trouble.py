"""What the machine does to a proxy: no room for files, a pause of everything."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from tests.integration.kit import get
from tests.support.masters import Master
from tests.support.processes import children_of
from tests.support.proxy import running_proxy
from tests.support.wire import Client

HEALTH = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "middleware": {"stack": "health"},
    "logging": {"verbosity": "INFO"},
}


def test_worker_is_replaced_where_there_is_no_room_for_a_file(tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    with running_proxy(HEALTH, env={"TMPDIR": str(room)}) as proxy:
        with Client(proxy.address) as client:
            assert client.ask(get("/-/healthy")).status == 200
        master, [victim] = Master(proxy), proxy.worker_pids(1)
        shutil.rmtree(room)
        os.kill(victim, signal.SIGKILL)
        master.wait_for_workers(1, none_of=[victim])
        with Client(proxy.address) as client:
            assert client.ask(get("/-/healthy")).status == 200


def rounds_of(pid: int) -> int:
    """How often a process has gone to sleep by itself."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_proxy_that_stood_still_as_a_whole_keeps_its_workers() -> None:
    """As a container that was frozen: the master must not take the time for the workers' silence."""
    timeout = 3
    with running_proxy({**HEALTH, "core": {"worker_timeout": timeout}}, workers=2) as proxy:
        workers = proxy.worker_pids(2)
        with Client(proxy.address) as client:
            assert client.ask(get("/-/healthy")).status == 200
            for pid in (proxy.pid, *workers):
                os.kill(pid, signal.SIGSTOP)
            time.sleep(timeout + 1)
            before = rounds_of(proxy.pid)
            os.kill(proxy.pid, signal.SIGCONT)
            proxy.wait_until(lambda: rounds_of(proxy.pid) > before + 2, "three looks at the workers")
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            assert client.ask(get("/-/healthy")).status == 200
        assert children_of(proxy.pid) == workers
