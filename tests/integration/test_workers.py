"""Workers: an even share of the connections, an end in time, the account they run as."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get
from tests.support.load import Load
from tests.support.masters import Master, has_ended
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

NOWHERE = {"routing": {"upstream_hosts": "http://127.0.0.1:1"}}
TELL = {
    **NOWHERE,
    "core": {"graceful_timeout": 5},
    "logging": {"verbosity": "INFO"},
    "middleware": {"stack": "tell", "tell": {"class": "processes.TellWorker"}},
}


def with_core(**options: str | int | float) -> dict[str, dict[str, object]]:
    return {**TELL, "core": {**TELL["core"], **options}}


def worker_of(client: Client) -> int:
    """Which worker serves this connection."""
    answer = client.ask(get("/pid"))
    assert answer.status == 200
    return int(answer.get("x-worker") or b"0")


def serving(proxy: Proxy, count: int) -> set[int]:
    """The workers, once each of them has answered."""
    seen: set[int] = set()

    def have_all_answered() -> bool:
        with Client(proxy.address) as client:
            seen.add(worker_of(client))
        return len(seen) == count

    proxy.wait_until(have_all_answered, f"answers of {count} workers", 30.0)
    return seen


# --- even load ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_workers() -> Iterator[Proxy]:
    with running_proxy(TELL, workers=3, python_path=[PLUGINS]) as proxy:
        serving(proxy, 3)
        yield proxy


def is_even(counts: Counter[int]) -> bool:
    return len(counts) == 3 and max(counts.values()) <= 2 * min(counts.values())


def test_long_connections_opened_at_once_are_shared_evenly(three_workers: Proxy) -> None:
    clients = [Client(three_workers.address) for _ in range(120)]
    try:
        assert is_even(Counter(map(worker_of, clients)))
    finally:
        for client in clients:
            client.close()


def test_long_connections_opened_one_after_the_other_are_shared_evenly(three_workers: Proxy) -> None:
    clients: list[Client] = []
    counts: Counter[int] = Counter()
    try:
        for _ in range(45):
            clients.append(Client(three_workers.address))
            counts[worker_of(clients[-1])] += 1
        assert is_even(counts)
    finally:
        for client in clients:
            client.close()


def test_connections_for_one_request_each_are_shared_evenly(three_workers: Proxy) -> None:
    counts: Counter[int] = Counter()
    for _ in range(90):
        with Client(three_workers.address) as client:
            counts[worker_of(client)] += 1
    assert is_even(counts)
    with Load(three_workers.address, 12, keep_alive=False, target="/pid") as load:
        load.wait_for(900)
    assert load.failures == []
    assert is_even(Counter({int(pid): count for pid, count in load.workers.items()}))


def test_worker_that_stands_still_is_not_waited_for() -> None:
    with running_proxy(TELL, workers=2, python_path=[PLUGINS]) as proxy:
        stopped, other = serving(proxy, 2)
        os.kill(stopped, signal.SIGSTOP)
        try:
            for _ in range(40):
                with Client(proxy.address) as client:
                    assert worker_of(client) == other
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_worker_at_its_limit_of_connections_leaves_the_others_work_to_do() -> None:
    with running_proxy(with_core(worker_connections=3), workers=2, python_path=[PLUGINS]) as proxy:
        serving(proxy, 2)
        clients = [Client(proxy.address) for _ in range(6)]
        assert Counter(map(worker_of, clients)).most_common(1)[0][1] == 3
        waiting = Client(proxy.address)
        waiting.send(get("/pid"))
        assert waiting.is_silent(0.2)
        clients[0].close()
        assert waiting.read_response().status == 200
        for client in [*clients, waiting]:
            client.close()


def test_zero_processes_are_one_for_each_cpu_that_may_be_used() -> None:
    cpu = min(os.sched_getaffinity(0))
    script = (
        f"import os; os.sched_setaffinity(0, [{cpu}]); from pyrox.cli import main; raise SystemExit(main())"
    )
    with running_proxy(TELL, workers=0, python_path=[PLUGINS], program=["-c", script]) as proxy:
        proxy.wait_for_log(", 1 worker, ")
    with running_proxy(TELL, workers=0, python_path=[PLUGINS]) as proxy:
        assert len(serving(proxy, len(os.sched_getaffinity(0)))) == len(proxy.worker_pids())


# --- an end in time -----------------------------------------------------------------------------------


def test_worker_is_replaced_after_max_requests_and_no_request_fails() -> None:
    config = with_core(max_requests=300, max_requests_jitter=100)
    with running_proxy(config, workers=2, python_path=[PLUGINS]) as proxy:
        master = Master(proxy)
        first = set(serving(proxy, 2))
        with Load(proxy.address, 8, keep_alive=True, target="/pid") as load:
            # Their number says nothing: under this load one or the other is always being replaced.
            proxy.wait_until(lambda: not first & set(master.workers()), "others in their place", 30.0)
            load.wait_for(200)
        with Load(proxy.address, 8, keep_alive=False, target="/pid") as other_load:
            other_load.wait_for(1000)
        assert load.failures == other_load.failures == []
        limits = [
            int(line.partition(" has had ")[2].split()[0])
            for line in proxy.error_log().splitlines()
            if " has had " in line
        ]
        assert limits and all(300 <= limit <= 400 for limit in limits)


HANG = {**TELL, "middleware": {"stack": "tell, hang", "tell": {"class": "processes.TellWorker"}}}


@pytest.mark.parametrize("target, clue", [("/loop", "processes.py"), ("/c", "SIGKILL")])
def test_worker_that_hangs_is_killed_and_replaced_and_the_log_says_where(target: str, clue: str) -> None:
    config = with_core(worker_timeout=2)
    config["middleware"] = {**HANG["middleware"], "hang": {"class": "processes.Hang"}}
    with running_proxy(config, workers=2, python_path=[PLUGINS]) as proxy:
        serving(proxy, 2)
        with Client(proxy.address, timeout=20) as client, Client(proxy.address) as idle:
            victim = worker_of(client)
            while worker_of(idle) == victim:
                idle.close()
                idle = Client(proxy.address)
            client.send(get(target))
            assert client.read_until_closed()[0] == b""
            assert worker_of(idle) != victim  # the other one goes on
            proxy.wait_until(lambda: has_ended(victim), "end of the worker")
        Master(proxy).wait_for_workers(2, none_of=[victim])
        assert "WORKER TIMEOUT" in proxy.error_log()
        proxy.wait_for_log(clue)


def test_worker_that_was_killed_costs_only_what_it_had_in_flight() -> None:
    with running_proxy(TELL, workers=2, python_path=[PLUGINS]) as proxy:
        victim = serving(proxy, 2).pop()
        with Load(proxy.address, 16, keep_alive=True, target="/pid") as load:
            load.wait_for(200)
            os.kill(victim, signal.SIGKILL)
            Master(proxy).wait_for_workers(2, none_of=[victim])
            load.wait_for(200)
        assert len(load.failures) <= 16 * 2 / 3
        assert all("later request" in failure.reason for failure in load.failures), load.reasons()


def test_worker_told_to_leave_by_hand_is_replaced_while_it_drains() -> None:
    with running_proxy(TELL, workers=1, python_path=[PLUGINS]) as proxy, Client(proxy.address) as client:
        old = worker_of(client)
        os.kill(old, signal.SIGTERM)
        proxy.wait_until(lambda: serving(proxy, 1) != {old}, "answer of another worker")


# --- a start that fails -------------------------------------------------------------------------------

CLUMSY = """
import os
from pyrox import Middleware
class Clumsy(Middleware):
    def __init__(self, app):
        super().__init__(app)
        if os.path.exists({mark!r}) and os.getppid() != {me}:
            raise OSError("cannot start now")
"""


@pytest.mark.usefixtures("expected_tracebacks")
def test_worker_that_cannot_start_again_leaves_the_others_alone(tmp_path: Path) -> None:
    """At the start all is well; what breaks later must not end the workers that serve."""
    mark = tmp_path / "broken"
    (tmp_path / "clumsy.py").write_text(CLUMSY.format(mark=str(mark), me=os.getpid()))
    config = {
        **TELL,
        "middleware": {
            "stack": "tell, clumsy",
            "tell": {"class": "processes.TellWorker"},
            "clumsy": {"class": "clumsy.Clumsy"},
        },
    }
    with running_proxy(config, workers=2, python_path=[PLUGINS, tmp_path]) as proxy:
        victim, other = serving(proxy, 2)
        mark.touch()
        os.kill(victim, signal.SIGKILL)
        proxy.wait_until(lambda: proxy.error_log().count("cannot start now") >= 2, "two attempts")
        for _ in range(5):
            with Client(proxy.address) as client:
                assert worker_of(client) == other
        mark.unlink()
        assert other in serving(proxy, 2)


# --- who they are -------------------------------------------------------------------------------------

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
# Where Python lives in root's home, nobody else can import anything.
for_all = pytest.mark.skipif(
    any(not os.stat(parent).st_mode & 0o005 for parent in Path(os.__file__).parents),
    reason="this Python cannot be read by other users",
)
IDENTITY = {**NOWHERE, "middleware": {"stack": "identity", "identity": {"class": "processes.Identity"}}}


@pytest.fixture
def readable_plugins(tmp_path: Path) -> Iterator[Path]:
    """The plugins where an unprivileged user may read them."""
    folder = Path("/tmp") / f"pyrox-plugins-{os.getpid()}"
    folder.mkdir()
    (folder / "processes.py").write_text((PLUGINS / "processes.py").read_text())
    folder.chmod(0o755)
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@as_root
def test_workers_have_their_group_and_none_of_the_masters() -> None:
    group = grp.getgrnam("nogroup").gr_gid
    with running_proxy(
        {**IDENTITY, "core": {"user": "root", "group": "nogroup", "umask": "027"}}, python_path=[PLUGINS]
    ) as proxy:
        with Client(proxy.address) as client:
            answer = client.ask(get("/identity"))
        assert answer.body.decode() == f"0 {group} [{group}] 027"


@as_root
@for_all
def test_workers_run_as_user_and_group_with_no_group_left_of_the_masters(readable_plugins: Path) -> None:
    account, group = pwd.getpwnam("daemon"), grp.getgrnam("nogroup")
    config = {**IDENTITY, "core": {"user": "daemon", "group": "nogroup", "umask": "027"}}
    with running_proxy(config, python_path=[readable_plugins]) as proxy:
        proxy.folder.chmod(0o755)
        with Client(proxy.address) as client:
            answer = client.ask(get("/identity"))
        assert answer.body.decode() == f"{account.pw_uid} {group.gr_gid} [{group.gr_gid}] 027"
        assert os.stat(f"/proc/{proxy.pid}").st_uid == 0
        log = proxy.folder / "access.log"
        assert (log.stat().st_uid, log.stat().st_gid) == (account.pw_uid, group.gr_gid)


@as_root
@for_all
def test_logs_of_unprivileged_workers_are_reopened_in_a_directory_that_is_not_theirs(
    readable_plugins: Path,
) -> None:
    config = {
        **IDENTITY,
        "core": {"user": "daemon"},
        "logging": {"logfile": "pyrox.log", "console": False, "verbosity": "WARNING"},
    }
    with running_proxy(config, python_path=[readable_plugins]) as proxy:
        proxy.folder.chmod(0o755)
        with Client(proxy.address) as client:
            client.ask(get("/before"))
            proxy.access_log(1)
            for name in ("access.log", "pyrox.log"):
                (proxy.folder / name).rename(proxy.folder / f"{name}.1")
            proxy.signal(signal.SIGUSR1)
            proxy.wait_until(lambda: (proxy.folder / "access.log").exists(), "a new access log")

            def is_in_the_new_log() -> bool:
                client.ask(get("/after"))
                return "/after" in (proxy.folder / "pyrox.log").read_text()

            proxy.wait_until(is_in_the_new_log, "the worker's line in the new error log")
        assert any("/after" in line for line in proxy.access_log(1))


def test_umask_holds_for_unix_sockets() -> None:
    config = {**NOWHERE, "core": {"umask": "077"}}
    with running_proxy(config, binds=["unix:{folder}/p.sock"]) as proxy:
        [path] = proxy.addresses()
        assert isinstance(path, str)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700


def test_processes_are_named_after_proc_name() -> None:
    with running_proxy({**NOWHERE, "core": {"proc_name": "edge-of-the-world"}}) as proxy:
        names = {pid: Path(f"/proc/{pid}/comm") for pid in (proxy.pid, *proxy.worker_pids(1))}
        proxy.wait_until(
            lambda: {path.read_text() for path in names.values()} == {"edge-of-the-wor\n"}, "the names"
        )


# --- pid file and daemon ------------------------------------------------------------------------------


def test_pid_file_is_there_while_the_master_runs_and_keeps_a_second_one_away() -> None:
    with running_proxy({**NOWHERE, "core": {"pid_file": "p.pid"}}) as proxy:
        proxy.wait_for_log("listening at")
        path = proxy.folder / "p.pid"
        assert path.read_text() == f"{proxy.pid}\n"
        with running_proxy({**NOWHERE, "core": {"pid_file": str(path)}}) as second:
            assert second.wait() == 1
            assert f"runs with pid {proxy.pid} already" in second.error_log()
        assert path.read_text() == f"{proxy.pid}\n"
        assert proxy.terminate() == 0
        assert not path.exists()


def test_stale_pid_file_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "stale.pid"
    path.write_text(f"{_unused_pid()}\n")
    with running_proxy({**NOWHERE, "core": {"pid_file": str(path)}}) as proxy:
        proxy.wait_until(lambda: path.read_text() == f"{proxy.pid}\n", "its own pid")


def _unused_pid() -> int:
    return next(pid for pid in range(300_000, 4_000_000) if not os.path.exists(f"/proc/{pid}"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _daemon(tmp_path: Path, port: int) -> dict[str, object]:
    return {
        **NOWHERE,
        "core": {"daemon": True, "pid_file": str(tmp_path / "d.pid"), "bind_host": f"127.0.0.1:{port}"},
        "logging": {"logfile": str(tmp_path / "d.log"), "console": False},
    }


def test_daemon_serves_when_its_command_returns_and_ends_on_term(tmp_path: Path) -> None:
    port = _free_port()
    with running_proxy(_daemon(tmp_path, port), binds=[f"127.0.0.1:{port}"]) as starter:
        assert starter.wait(30) == 0
        pid = int((tmp_path / "d.pid").read_text())
        try:
            with Client(("127.0.0.1", port)) as client:
                assert client.ask(get()).status == 502
            assert os.getsid(pid) != pid  # it can get no terminal again
            assert os.readlink(f"/proc/{pid}/fd/1") == os.devnull
        finally:
            os.kill(pid, signal.SIGTERM)
        starter.wait_until(lambda: has_ended(pid), "end of the daemon")
        assert not (tmp_path / "d.pid").exists()


def test_command_says_that_its_daemon_could_not_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running_proxy(_daemon(tmp_path, port), binds=[f"127.0.0.1:{port}"]) as starter:
            assert starter.wait(30) == 1
            assert f"cannot listen at '127.0.0.1:{port}': Address already in use" in starter.error_log()
    assert not (tmp_path / "d.pid").exists()
