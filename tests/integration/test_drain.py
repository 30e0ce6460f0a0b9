"""Stopping: nothing that was asked for and not refused may be lost; signals do what they should."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from functools import partial

import pytest

from tests.integration.kit import CHUNKED_HEAD, InThread, get, post
from tests.support.masters import Master
from tests.support.origin import OK, Origin, expect_close, expect_request, send, send_chunk, serve, wait
from tests.support.processes import open_files
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

GRACE = {"core": {"graceful_timeout": 5}}


class Load:
    """One raw client after the other on one thread, each asking until its connection is announced closed.

    ``lost`` counts the requests that got no complete answer although nobody had said that the connection
    would close.
    """

    def __init__(self, proxy: Proxy, request: bytes, reconnects: bool) -> None:
        self.proxy = proxy
        self.request = request
        self.reconnects = reconnects
        self.answered = 0
        self.lost: list[str] = []
        self._stop = threading.Event()
        self._thread = InThread(self._run)

    def stop(self) -> None:
        self._stop.set()
        self._thread.result()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                client = Client(self.proxy.address)
            except ConnectionRefusedError:
                return  # the listener is closed: nothing was asked
            with client:
                self._ask_until_closed(client)
            if not self.reconnects:
                return

    def _ask_until_closed(self, client: Client) -> None:
        first = True
        while not self._stop.is_set():
            try:
                answer = client.ask(self.request)
            except (PeerClosed, OSError) as failure:
                # A connection the kernel had taken but no process ever saw cannot be saved.
                if not first:
                    self.lost.append(repr(failure))
                return
            first = False
            if answer.status != 200 or not answer.is_complete:
                self.lost.append(repr(answer))
            self.answered += 1
            if answer.get("connection") == b"close":
                return


@pytest.mark.parametrize("workers", [1, 2])
def test_term_under_load_loses_no_request_and_exits_0_within_the_grace_time(workers: int) -> None:
    with Origin(serve(OK)) as origin:
        config = {"routing": {"upstream_hosts": origin.url}, **GRACE}
        with running_proxy(config, workers=workers) as proxy:
            proxy.worker_pids(workers)
            loads = [Load(proxy, get("/"), reconnects=False) for _ in range(6)]
            loads += [Load(proxy, post("/", b"x" * 2000), reconnects=False) for _ in range(2)]
            origin.wait_until(lambda: all(load.answered > 20 for load in loads), "load")
            started = time.monotonic()
            assert proxy.terminate() == 0
            assert time.monotonic() - started < 5
            for load in loads:
                load.stop()
            assert [load.lost for load in loads] == [[]] * 8


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.2])
def test_term_that_meets_workers_at_their_start_is_not_lost_on_them(moment: float) -> None:
    config = {"routing": {"upstream_hosts": "http://127.0.0.1:1"}, "core": {"graceful_timeout": 8}}
    with running_proxy(config, workers=2) as proxy:
        proxy.wait_for_log("listening at")
        time.sleep(moment)
        started = time.monotonic()
        assert proxy.terminate() == 0
        assert time.monotonic() - started < 5


def test_term_under_load_of_new_connections_answers_whoever_was_let_in() -> None:
    with Origin(serve(OK)) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}, **GRACE}) as proxy:
            loads = [Load(proxy, get("/"), reconnects=True) for _ in range(4)]
            loads += [Load(proxy, get("/", "Connection: close"), reconnects=True) for _ in range(4)]
            origin.wait_until(lambda: all(load.answered > 20 for load in loads), "load")
            assert proxy.terminate() == 0
            for load in loads:
                load.stop()
            assert [load.lost for load in loads] == [[]] * 8


def test_term_under_wrk_leaves_no_request_unanswered() -> None:
    program = shutil.which("wrk")
    if program is None:
        pytest.skip("wrk is not installed")
    with running_proxy({"routing": {"upstream_hosts": "demo"}, **GRACE}) as proxy:
        with Client(proxy.address) as client:  # wrk's two seconds are not to pass while the worker starts
            assert client.ask(get("/bytes/10")).status == 200
            own = len(proxy.access_log(1))
        command = [program, "-t1", "-c16", "-d2", f"http://127.0.0.1:{proxy.port}/bytes/10"]
        load = InThread(partial(subprocess.run, command, capture_output=True, timeout=30, text=True))
        proxy.access_log(100)
        assert proxy.terminate() == 0
        report = load.result().stdout
        lines = len(proxy.access_log()) - own
    answered = re.search(r"(\d+) requests in", report)
    assert answered is not None
    assert int(answered[1]) == lines
    # Connections refused after the listener was closed count as write errors.
    assert "Socket errors" not in report or "connect 0, read 0," in report
    assert "Non-2xx" not in report


def test_slow_response_in_flight_is_completed_before_the_exit() -> None:
    more = threading.Event()
    script = [
        expect_request(),
        send(CHUNKED_HEAD),
        send_chunk(b"first"),
        wait(more),
        send_chunk(b"last"),
        send_chunk(b""),
    ]
    with (
        Origin(script) as origin,
        running_proxy({"routing": {"upstream_hosts": origin.url}, **GRACE}) as proxy,
    ):
        with Client(proxy.address) as client:
            client.send(get())
            head = client.read_response_head()
            body = client.stream_body_of(head)
            assert next(body) == b"first"
            proxy.signal(signal.SIGTERM)
            _wait_until_refused(proxy)
            more.set()
            assert b"".join(body) == b"last"
            assert client.read_until_closed()[0] == b""
        assert proxy.wait() == 0


def test_response_that_waits_for_its_upstream_is_completed_and_announces_the_close() -> None:
    go = threading.Event()
    with Origin([expect_request(), wait(go), send(OK)]) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}, **GRACE}) as proxy:
            with Client(proxy.address) as client:
                client.send(get())
                origin.wait_for_requests(1)
                proxy.signal(signal.SIGTERM)
                _wait_until_refused(proxy)
                go.set()
                answer = client.read_response()
                assert (answer.body, answer.get("connection")) == (b"ok", b"close")
            assert proxy.wait() == 0


def test_idle_client_may_ask_once_more_while_the_proxy_drains() -> None:
    with Origin(serve(OK)) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}, **GRACE}) as proxy:
            with Client(proxy.address) as client:
                assert client.ask(get()).get("connection") is None
                proxy.signal(signal.SIGTERM)
                _wait_until_refused(proxy)
                assert client.ask(get()).get("connection") == b"close"
                assert client.read_until_closed() == (b"", "eof")
            assert proxy.wait() == 0


def test_exchange_that_outlasts_the_grace_time_is_cut_off() -> None:
    with Origin([expect_request(), expect_close()]) as origin:
        with running_proxy(
            {"routing": {"upstream_hosts": origin.url}, "core": {"graceful_timeout": 1}}
        ) as proxy:
            with Client(proxy.address) as client:
                client.send(get())
                origin.wait_for_requests(1)
                started = time.monotonic()
                assert proxy.terminate() == 0
                assert time.monotonic() - started < 3
                assert client.read_until_closed()[0] == b""
                assert any('" 499 ' in line for line in proxy.access_log(1))


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_quit_and_interrupt_stop_at_once(number: signal.Signals) -> None:
    with Origin([expect_request(), expect_close()]) as origin:
        with running_proxy(
            {"routing": {"upstream_hosts": origin.url}, "core": {"graceful_timeout": 30}}
        ) as proxy:
            with Client(proxy.address) as client:
                client.send(get())
                origin.wait_for_requests(1)
                started = time.monotonic()
                proxy.signal(number)
                assert proxy.wait() == 0
                assert time.monotonic() - started < 5


def test_usr1_reopens_both_logs() -> None:
    config = {
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "logging": {"logfile": "${PYROX_TEST_FOLDER}/pyrox.log", "console": False},
    }
    with running_proxy(config) as proxy, Client(proxy.address) as client:
        assert client.ask(get("/before")).status == 502
        proxy.access_log(1)
        for name in ("access.log", "pyrox.log"):
            (proxy.folder / name).rename(proxy.folder / f"{name}.1")
        proxy.signal(signal.SIGUSR1)
        proxy.wait_until(lambda: (proxy.folder / "access.log").exists(), "a new access log")
        proxy.wait_until(lambda: (proxy.folder / "pyrox.log").exists(), "a new error log")
        assert client.ask(get("/after")).status == 502
        [line] = proxy.access_log(1)
        assert "/after" in line
        assert "/before" in (proxy.folder / "access.log.1").read_text()
        proxy.wait_until(lambda: "/after" in (proxy.folder / "pyrox.log").read_text(), "the new error log")


def test_workers_leave_when_their_master_was_killed() -> None:
    with Origin(serve(OK)) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}}, workers=2) as proxy:
            workers = proxy.worker_pids(2)
            with Client(proxy.address) as client:
                assert client.ask(get()).status == 200
            proxy.signal(signal.SIGKILL)
            proxy.wait()
            proxy.wait_until(lambda: not any(_is_alive(pid) for pid in workers), "end of the workers")


def test_worker_that_was_killed_is_replaced_and_the_other_serves_on() -> None:
    with Origin(serve(OK)) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}}, workers=2) as proxy:
            victim = proxy.worker_pids(2)[0]
            os.kill(victim, signal.SIGKILL)
            for _ in range(20):
                with Client(proxy.address) as client:
                    assert client.ask(get()).status == 200
            proxy.wait_until(lambda: len(set(proxy.worker_pids()) - {victim}) == 2, "a new worker")


def test_both_of_two_workers_serve() -> None:
    with Origin(serve(OK)) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}}, workers=2) as proxy:
            workers = proxy.worker_pids(2)
            idle = [_sockets_of(pid) for pid in workers]
            clients: list[Client] = []
            deadline = time.monotonic() + 10.0  # the second worker may come up long after the first
            while time.monotonic() < deadline and len(clients) < 2000:
                clients += [Client(proxy.address) for _ in range(50)]
                for client in clients[-50:]:
                    client.send(get())
                assert {client.read_response().status for client in clients[-50:]} == {200}
                held = [_sockets_of(pid) - before for pid, before in zip(workers, idle, strict=True)]
                if min(held) > 10:
                    break
            for client in clients:
                client.close()
    assert min(held) > 10


def test_hup_with_a_bad_configuration_keeps_serving_with_the_old_one() -> None:
    with Origin(serve(OK)) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}}) as proxy:
            [worker] = proxy.worker_pids(1)
            with Client(proxy.address) as client:
                assert client.ask(get()).status == 200
                (proxy.folder / "pyrox.ini").write_text("[routing]\nupstream_hots = nowhere\n")
                proxy.signal(signal.SIGHUP)
                proxy.wait_for_log("still serving with the old configuration")
                assert client.ask(get()).status == 200
            assert proxy.worker_pids(1) == [worker]


def test_hup_with_a_good_configuration_takes_it_over_and_loses_no_request() -> None:
    with Origin(serve(OK)) as old, Origin(serve(OK)) as new:
        with running_proxy({"routing": {"upstream_hosts": old.url}, **GRACE}) as proxy:
            loads = [Load(proxy, get("/"), reconnects=True) for _ in range(4)]
            old.wait_until(lambda: all(load.answered > 20 for load in loads), "load")
            path = proxy.folder / "pyrox.ini"
            path.write_text(path.read_text().replace(old.url, new.url))
            proxy.signal(signal.SIGHUP)
            new.wait_until(lambda: len(new.requests) > 100, "load on the new origin")
            for load in loads:
                load.stop()
            assert [load.lost for load in loads] == [[]] * 4


def test_tunnel_is_cut_at_the_end_of_the_grace_time_not_before() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
    with Origin([expect_request(), send(switch), expect_close()]) as origin:
        with running_proxy(
            {"routing": {"upstream_hosts": origin.url}, "core": {"graceful_timeout": 2}}
        ) as proxy:
            with Client(proxy.address) as client:
                client.send(get("/", "Connection: Upgrade", "Upgrade: talk"))
                assert client.read_response_head().status == 101
                proxy.signal(signal.SIGTERM)
                _wait_until_refused(proxy)
                client.send(b"still here")
                assert proxy.wait() == 0
                assert origin.wait_for_end().received.endswith(b"still here")


def _wait_until_refused(proxy: Proxy) -> None:
    """Wait until the listener is closed: the drain has begun."""

    def is_refused() -> bool:
        try:
            Client(proxy.address).close()
        except ConnectionRefusedError:
            return True
        return False

    proxy.wait_until(is_refused, "closed listener")


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def _sockets_of(pid: int) -> int:
    return sum(name.startswith("socket:") for name in open_files(pid))


# --- drain_delay

PROBE = get("/-/healthy")
LATER = {
    "core": {"graceful_timeout": 5, "drain_delay": 1000, "pid_file": "p.pid"},
    "logging": {"verbosity": "INFO"},
    "middleware": {"stack": ["health"]},
}


def statuses(proxy: Proxy, request: bytes, count: int = 8) -> set[int]:
    """What each of ``count`` new connections gets; enough for two workers to be asked."""
    found = set()
    for _ in range(count):
        with Client(proxy.address) as client:
            found.add(client.ask(request).status)
    return found


@pytest.mark.parametrize("last", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_probes_hear_of_a_term_drain_delay_before_anything_else_does(last: signal.Signals) -> None:
    with Origin(serve(OK), timeout=100) as origin:
        config = {**LATER, "routing": {"upstream_hosts": origin.url}}
        with running_proxy(config, workers=2) as proxy, Client(proxy.address) as kept:
            proxy.worker_pids(2)
            assert kept.ask(PROBE).status == 200
            proxy.signal(signal.SIGTERM)
            proxy.wait_for_log("stopping in 1000 s; until then all is served")
            assert (kept.ask(PROBE).status, statuses(proxy, PROBE)) == (503, {503})
            assert statuses(proxy, get()) == {200}
            answer = kept.ask(get())
            assert (answer.status, answer.get("connection")) == (200, None)
            [one, other] = proxy.worker_pids(2)
            os.kill(one, signal.SIGKILL)
            proxy.wait_until(lambda: len(set(proxy.worker_pids(2)) - {one, other}) == 1, "a new worker")
            assert (statuses(proxy, PROBE), statuses(proxy, get())) == ({503}, {200})
            proxy.signal(last)
            assert proxy.wait() == 0


def test_proxy_ends_after_drain_delay() -> None:
    core = {**LATER["core"], "drain_delay": 0.3}
    with running_proxy({**LATER, "core": core, "routing": {"upstream_hosts": "http://127.0.0.1:1"}}) as proxy:
        proxy.worker_pids(1)
        assert statuses(proxy, PROBE) == {200}
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert "stopping in 0.3 s" in proxy.error_log()


def test_what_was_told_to_stop_stops_whatever_comes_before_its_end() -> None:
    with running_proxy({**LATER, "routing": {"upstream_hosts": "http://127.0.0.1:1"}}) as proxy:
        proxy.worker_pids(1)
        master = Master(proxy, proxy.folder / "p.pid")
        master.signal(signal.SIGTERM)
        proxy.wait_for_log("stopping in 1000 s")
        master.reload(workers=1)
        assert statuses(proxy, PROBE) == {503}
        master.signal(signal.SIGUSR2)
        proxy.wait_for_log("USR2 ignored: the proxy is about to end")
        master.signal(signal.SIGTERM)
        assert proxy.wait() == 0


def test_neither_reload_nor_upgrade_takes_drain_delay() -> None:
    with running_proxy({**LATER, "routing": {"upstream_hosts": "http://127.0.0.1:1"}}) as proxy:
        proxy.worker_pids(1)
        assert statuses(proxy, PROBE) == {200}
        master = Master(proxy, proxy.folder / "p.pid")
        master.reload(workers=1)
        assert statuses(proxy, PROBE) == {200}
        master.upgrade(workers=1)
        assert statuses(proxy, PROBE) == {200}
        master.signal(signal.SIGINT)
        master.wait_for_end()
