"""HUP: a new configuration, or none at all; nobody notices but those it is for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS, Certificates
from tests.integration.kit import get
from tests.integration.test_workers import NOWHERE, TELL, serving
from tests.support.config import Config, as_ini
from tests.support.load import Load
from tests.support.masters import Master, has_ended
from tests.support.origin import Origin, OriginConnection, expect_request, send
from tests.support.processes import open_files
from tests.support.proxy import ROOT, Proxy, running_proxy
from tests.support.wire import Client

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
NOT_RELOADED = "not reloaded, still serving with the old configuration"


def rewrite(proxy: Proxy, config: Config) -> None:
    (proxy.folder / "pyrox.ini").write_text(as_ini(config, proxy.folder))


# --- under load ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_alive", [True, False])
def test_three_reloads_under_load_lose_no_request(keep_alive: bool) -> None:
    with running_proxy(TELL, workers=2, python_path=[PLUGINS]) as proxy:
        serving(proxy, 2)
        master = Master(proxy)
        with Load(proxy.address, 12, keep_alive=keep_alive, target="/pid") as load:
            load.wait_for(200)
            for _ in range(3):
                master.reload(workers=2)
            load.wait_for(200)
        assert load.failures == []
        assert len(load.workers) == 8


def test_clients_that_pause_between_their_requests_lose_none_either() -> None:
    """An idle connection of an old worker must not be closed just when the next request is sent."""
    with running_proxy(TELL, workers=2, python_path=[PLUGINS]) as proxy:
        first = serving(proxy, 2)
        with Load(proxy.address, 24, keep_alive=True, target="/pid", pause=1.1) as load:
            load.wait_for(24)
            proxy.signal(signal.SIGHUP)
            load.wait_for(72)
        assert load.failures == []
        assert len(set(load.workers) - set(map(str, first))) == 2


def names_of_workers(proxy: Proxy) -> list[str]:
    names = []
    for pid in Master(proxy).workers():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return names


def test_reloads_on_the_heels_of_each_other_end_with_the_last_one() -> None:
    with running_proxy(TELL, workers=2, python_path=[PLUGINS]) as proxy:
        serving(proxy, 2)
        with Load(proxy.address, 8, keep_alive=False, target="/pid") as load:
            load.wait_for(50)
            for name in ("one", "two", "three"):
                seen = proxy.error_log().count("Handling signal: hup")
                rewrite(proxy, {**TELL, "core": {**TELL["core"], "proc_name": name}})
                proxy.signal(signal.SIGHUP)
                proxy.wait_until(
                    lambda seen=seen: proxy.error_log().count("Handling signal: hup") > seen, "its start"
                )
            proxy.wait_until(lambda: names_of_workers(proxy) == ["three", "three"], "the last name", 30.0)
            load.wait_for(50)
        assert load.failures == []


def test_idle_client_of_an_old_worker_may_ask_long_after_the_reload() -> None:
    """A close that crosses a request on the wire costs that request; so there is none until it must be."""
    with running_proxy(TELL, python_path=[PLUGINS]) as proxy, Client(proxy.address) as client:
        client.ask(get("/pid"))
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("reloaded")
        assert client.is_silent(2.5)
        answer = client.ask(get("/pid"))
        assert (answer.status, answer.get("connection")) == (200, b"close")
        assert client.read_until_closed() == (b"", "eof")


# --- what takes effect --------------------------------------------------------------------------------

GREETER = """
from pyrox import Middleware, Response
with open({imports!r}, "a") as file:
    file.write("imported ")
class Greeter(Middleware):
    def __call__(self, request):
        return Response(200, {greeting!r})
"""


def test_changed_code_of_a_middleware_takes_effect_and_is_loaded_once_to_check_and_once_to_serve(
    tmp_path: Path,
) -> None:
    plugin, imports = tmp_path / "hup_greeter.py", tmp_path / "imports"
    plugin.write_text(GREETER.format(imports=str(imports), greeting="one"))
    config = {**NOWHERE, "middleware": {"stack": "greeter", "greeter": {"class": "hup_greeter.Greeter"}}}
    with running_proxy(config, python_path=[tmp_path]) as proxy:
        with Client(proxy.address) as client:
            assert client.ask(get()).body == b"one"
        assert imports.read_text().split() == ["imported"] * 2
        # As long as before and within the same second: only the content differs.
        stat = plugin.stat()
        plugin.write_text(GREETER.format(imports=str(imports), greeting="two"))
        os.utime(plugin, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        Master(proxy).reload(workers=1)
        with Client(proxy.address) as client:
            assert client.ask(get()).body == b"two"
        assert imports.read_text().split() == ["imported"] * 4


def test_number_of_workers_and_pid_file_change_with_a_reload() -> None:
    config = {**NOWHERE, "core": {"processes": 1, "pid_file": "one.pid"}}
    with running_proxy(config, binds=["127.0.0.1:0"], workers=None) as proxy:
        master = Master(proxy)
        old = master.wait_for_workers(1)
        rewrite(proxy, {**NOWHERE, "core": {"processes": 3, "pid_file": "two.pid"}})
        proxy.signal(signal.SIGHUP)
        master.wait_for_workers(3, none_of=old)
        assert (proxy.folder / "two.pid").read_text() == f"{proxy.pid}\n"
        assert not (proxy.folder / "one.pid").exists()


def test_addresses_come_and_go_and_those_that_stay_are_not_touched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [listener.getsockname()[1] for listener in (one, two)]
    kept, leaving, coming = (
        f"127.0.0.1:{ports[0]}",
        "unix:${PYROX_TEST_FOLDER}/p.sock",
        f"127.0.0.1:{ports[1]}",
    )
    config = {**NOWHERE, "core": {"bind_host": [kept, leaving]}}
    with running_proxy(config, binds=None) as proxy:
        proxy.wait_for_log("listening at")
        Client(str(proxy.folder / "p.sock")).close()
        with Load(("127.0.0.1", ports[0]), 4, keep_alive=False) as load:
            rewrite(proxy, {**NOWHERE, "core": {"bind_host": [kept, coming]}})
            Master(proxy).reload(workers=1)
        assert set(load.reasons()) == {"HTTP/1.1 502 Bad Gateway"}
        with Client(("127.0.0.1", ports[1])) as client:
            assert client.ask(get()).status == 502
        # The master closes it when the last of the old workers has gone: after the new ones serve.
        path = proxy.folder / "p.sock"
        proxy.wait_until(lambda: not path.exists(), "removal of the socket that nobody serves")


def test_address_that_is_listed_no_more_refuses_connections_when_the_old_workers_are_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        kept, leaving = (f"127.0.0.1:{listener.getsockname()[1]}" for listener in (one, two))
        leaving_port = two.getsockname()[1]
    with running_proxy({**NOWHERE, "core": {"bind_host": [kept, leaving]}}, binds=None) as proxy:
        proxy.worker_pids(1)
        master = Master(proxy)
        Client(("127.0.0.1", leaving_port)).close()
        rewrite(proxy, {**NOWHERE, "core": {"bind_host": [kept]}})
        master.reload(workers=1)
        with pytest.raises(ConnectionRefusedError):
            Client(("127.0.0.1", leaving_port))


def test_new_workers_hold_no_keys_of_the_configuration_before_theirs(certificates: Certificates) -> None:
    pair = {"cert_file": str(certificates.cert_file), "key_file": str(certificates.key_file)}
    with running_proxy({**NOWHERE, "ssl": pair}) as proxy:
        proxy.worker_pids(1)
        master = Master(proxy)
        for _ in range(2):
            master.reload(workers=1)
            held = open_files(*master.workers())
            assert [name for name in held if "pyrox-certificates" in name] == [
                "/memfd:pyrox-certificates (deleted)"
            ]


# --- what is wrong ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steady() -> Iterator[Proxy]:
    """A proxy that no reload of these tests may touch."""
    with running_proxy(TELL, python_path=[PLUGINS], binds=["127.0.0.1:0"]) as proxy:
        proxy.wait_for_log("listening at")
        yield proxy


def assert_refused(proxy: Proxy, *complaints: str) -> None:
    """A HUP says exactly this, and so does --check; the worker stays."""
    [address] = proxy.addresses()
    with Client(address) as client:
        assert client.ask(get("/pid")).status == 200
        workers, before = proxy.worker_pids(1), len(proxy.error_log())
        proxy.signal(signal.SIGHUP)
        proxy.wait_until(lambda: complaints[-1] in proxy.error_log()[before:], complaints[-1])
        said = proxy.error_log()[before:]
        assert NOT_RELOADED in said
        assert all(complaint in said for complaint in complaints), said
        assert client.ask(get("/pid")).get("connection") is None
    assert proxy.worker_pids(1) == workers
    command = [sys.executable, "-m", "pyrox", "--check", "-c", str(proxy.folder / "pyrox.ini")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{PLUGINS}"}
    check = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert check.returncode == 2
    assert all(complaint in check.stderr for complaint in complaints), check.stderr


def test_broken_file_is_refused_line_by_line(steady: Proxy) -> None:
    path = steady.folder / "pyrox.ini"
    path.write_text("[core]\nthis is no option\n[routing]\nupstream_hots = x\n")
    assert_refused(
        steady,
        f"{path}:2: 'this is no option' is neither [section] nor key = value",
        f"{path}: [routing] upstream_hots: unknown option; did you mean upstream_hosts?",
    )


def test_missing_module_is_refused(steady: Proxy) -> None:
    rewrite(steady, {**NOWHERE, "middleware": {"stack": "x", "x": {"class": "no_such_module.X"}}})
    assert_refused(steady, "[middleware] [[x]] class: cannot import no_such_module: ModuleNotFoundError")


@pytest.mark.usefixtures("expected_tracebacks")
def test_module_with_a_mistake_is_refused(steady: Proxy) -> None:
    (steady.folder / "odd.py").write_text("def broken(:\n")
    config = {**NOWHERE, "core": {"plugin_paths": "."}, "middleware": {"stack": "x", "x": {"class": "odd.X"}}}
    rewrite(steady, config)
    assert_refused(
        steady, "[middleware] [[x]] class: cannot import odd: SyntaxError: invalid syntax (odd.py, line 1)"
    )


def test_certificate_without_its_key_is_refused(steady: Proxy, certificates: Certificates) -> None:
    keys = {"cert_file": str(certificates.cert_file), "key_file": str(certificates.other_key_file)}
    rewrite(steady, {**NOWHERE, "ssl": keys})
    assert_refused(steady, f"{str(certificates.cert_file)!r} cannot be used with", "the key is another")


def test_address_that_is_taken_is_refused_and_opens_none_of_the_others() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.create_server(("127.0.0.1", 0)) as free,
        running_proxy(
            {**TELL, "core": {"bind_host": "127.0.0.1:0"}}, binds=None, python_path=[PLUGINS]
        ) as proxy,
    ):
        proxy.wait_for_log("listening at")
        binds = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in (free, taken)]
        free.close()
        rewrite(proxy, {**TELL, "core": {"bind_host": binds}})
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log(f"cannot listen at {binds[1]!r}: Address already in use")
        with pytest.raises(ConnectionRefusedError):
            Client(("127.0.0.1", int(binds[0].rpartition(":")[2])))


FICKLE = """
import gevent.monkey, os
from pyrox import Middleware
class Fickle(Middleware):
    def __init__(self, app):
        super().__init__(app)
        if gevent.monkey.is_module_patched("socket") and os.path.exists({mark!r}):
            raise OSError("only a worker sees this")
"""


@pytest.mark.usefixtures("expected_tracebacks")
def test_generation_that_only_fails_in_its_workers_is_given_up(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "fickle.py").write_text(FICKLE.format(mark=str(mark)))
    stack = {"stack": "tell, fickle", "tell": {"class": "processes.TellWorker"}}
    config = {**TELL, "middleware": {**stack, "fickle": {"class": "fickle.Fickle"}}}
    with running_proxy(config, workers=2, python_path=[PLUGINS, tmp_path]) as proxy:
        before = serving(proxy, 2)
        mark.touch()
        with Load(proxy.address, 4, keep_alive=False, target="/pid") as load:
            proxy.signal(signal.SIGHUP)
            proxy.wait_for_log(f"{NOT_RELOADED}: a new worker cannot start")
            Master(proxy).wait_for_workers(2)
            load.wait_for(50)
        assert load.failures == []
        assert set(Master(proxy).workers()) == before
        mark.unlink()
        Master(proxy).reload(workers=2)


# --- tunnels ------------------------------------------------------------------------------------------


def echo(connection: OriginConnection) -> None:
    while True:
        connection.send(connection.read_exactly(5))


ECHO = [expect_request(), send(SWITCH), echo]


def open_tunnel(proxy: Proxy) -> Client:
    client = Client(proxy.address)
    client.send(get("/", "Connection: Upgrade", "Upgrade: talk"))
    assert client.read_response_head().status == 101
    assert_echo(client)
    return client


def assert_echo(client: Client) -> None:
    client.send(b"hello")
    assert client.read_exactly(5) == b"hello"


def test_tunnels_opened_before_reloads_echo_after_them_while_new_workers_serve() -> None:
    with Origin(ECHO) as origin:
        config = {
            "routing": {"upstream_hosts": origin.url},
            "core": {"graceful_timeout": 1},
            "logging": {"verbosity": "INFO"},
        }
        with running_proxy(config) as proxy:
            tunnels = [open_tunnel(proxy)]
            for number in range(2):
                proxy.signal(signal.SIGHUP)
                proxy.wait_until(
                    lambda n=number: proxy.error_log().count("INFO reloaded") > n, "end of the reload"
                )
                tunnels.append(open_tunnel(proxy))
            assert tunnels[0].is_silent(2.0)  # longer than graceful_timeout
            for tunnel in tunnels:
                assert_echo(tunnel)
            oldest = proxy.worker_pids(3)[0]
            tunnels[0].close()
            proxy.wait_until(lambda: has_ended(oldest), "end of the worker without a tunnel")
            for tunnel in tunnels[1:]:
                assert_echo(tunnel)
                tunnel.close()


def test_tunnel_of_an_old_worker_ends_after_tunnel_grace() -> None:
    with Origin(ECHO) as origin:
        core = {"graceful_timeout": 1, "tunnel_grace": 3}
        with running_proxy({"routing": {"upstream_hosts": origin.url}, "core": core}) as proxy:
            with open_tunnel(proxy) as tunnel:
                [worker] = proxy.worker_pids(1)
                proxy.signal(signal.SIGHUP)
                assert tunnel.is_silent(2.0)
                assert_echo(tunnel)
                assert tunnel.read_until_closed()[0] == b""
                proxy.wait_until(lambda: has_ended(worker), "end of the old worker")


def test_stop_does_not_wait_for_the_tunnels_of_old_workers() -> None:
    with Origin(ECHO) as origin:
        core = {"graceful_timeout": 2, "tunnel_grace": 300}
        with running_proxy({"routing": {"upstream_hosts": origin.url}, "core": core}) as proxy:
            with open_tunnel(proxy) as tunnel:
                [old] = proxy.worker_pids(1)
                Master(proxy).signal(signal.SIGHUP)
                proxy.wait_until(lambda: len(proxy.worker_pids()) == 2, "a new worker")
                assert_echo(tunnel)
                started = time.monotonic()
                assert proxy.terminate() == 0
                assert time.monotonic() - started < 4
                assert has_ended(old)
