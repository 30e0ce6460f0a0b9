"""Servers that fall ill and get well again, and workers that notice."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import Certificates
from tests.integration.kit import get, response, start_tls
from tests.support.config import Config, as_ini
from tests.support.masters import Master
from tests.support.origin import Origin, OriginConnection
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

CHECKED = {
    "health_check": "http",
    "health_path": "/healthz?full=1",
    "health_interval": "100ms",
    "health_timeout": "2",
    "health_fall": "2",
    "health_body": "well",
}
CONNECTIONS = 16  # of their own, so that all workers are likely to be asked

Behaviour = Callable[[OriginConnection], object]


class Server:
    """An origin that says who it is to clients, and answers checks as ``checks`` says now.

    ``answers`` is what clients get; ``first`` is what each connection begins with.
    """

    def __init__(self, name: str, *first: Behaviour) -> None:
        self.name = name
        self.checks: Behaviour = well
        self.answers: Behaviour = lambda connection: connection.send(response(name.encode()))
        self.origin = Origin([*first, self._serve], timeout=100)
        self.url = self.origin.url

    def check_requests(self) -> list[str]:
        return [request.target for request in self.origin.requests if "healthz" in request.target]

    def _serve(self, connection: OriginConnection) -> None:
        while True:
            request = connection.expect_request()
            behaviour = self.checks if "healthz" in request.target else self.answers
            behaviour(connection)


def well(connection: OriginConnection) -> None:
    connection.send(response(b"all is well"))


def answer(data: bytes) -> Behaviour:
    return lambda connection: connection.send(data)


def break_off(connection: OriginConnection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nall is well")
    connection.close()


def silence(connection: OriginConnection) -> None:
    connection.read_until_closed()


@contextmanager
def servers(*names: str) -> Iterator[list[Server]]:
    group = [Server(name) for name in names]
    for server in group:
        server.origin.__enter__()
    try:
        yield group
    finally:
        for server in group:
            server.origin.close()


def config_of(group: list[Server], options: dict[str, str]) -> Config:
    urls = {"servers": ", ".join(server.url for server in group)} if group else {}
    return {
        "routing": {"default_cluster": "users"},
        "clusters": {"users": {**urls, **options}},
        "timeouts": {"upstream_first_byte": "2"},
    }


@contextmanager
def proxy_before(group: list[Server], workers: int = 1, **options: str) -> Iterator[Proxy]:
    config = config_of(group, options)
    with running_proxy(
        {**config, "logging": {"verbosity": "INFO", "console": "yes"}}, workers=workers
    ) as proxy:
        yield proxy


def who_answers(proxy: Proxy) -> str:
    """Everyone who answers one of ``CONNECTIONS`` connections."""
    found = set()
    for _ in range(CONNECTIONS):
        with Client(proxy.address) as client:
            given = client.ask(get())
            found.add(given.body.decode() if given.status == 200 else str(given.status))
    return " ".join(sorted(found))


def wait_for(proxy: Proxy, names: str) -> None:
    proxy.wait_until(lambda: who_answers(proxy) == names, f"answers of {names}", timeout=20)


def wait_for_line(proxy: Proxy, start: int, text: str) -> None:
    """Wait until the error log holds ``text`` behind its first ``start`` characters."""
    proxy.wait_until(lambda: text in proxy.error_log()[start:], f"{text!r} in the error log", timeout=20)


def test_upgrade_takes_over_what_is_known_of_the_servers() -> None:
    with servers("one", "two") as group, ExitStack() as stack:
        config = config_of(group, {**CHECKED, "health_timeout": "60"})
        config["core"] = {"pid_file": "p.pid"}
        proxy = stack.enter_context(running_proxy(config))
        group[0].checks = answer(response(b"ill"))
        wait_for(proxy, "two")
        for server in group:
            server.checks = silence  # so that those who come learn nothing new
        master = Master(proxy, proxy.folder / "p.pid")
        master.upgrade(workers=1)
        assert who_answers(proxy) == "two"
        master.stop()


def leaders(proxy: Proxy) -> list[int]:
    """The pids of those who said that they check the servers, in turn."""
    return [int(pid) for pid in re.findall(r" (\d+) INFO this worker checks the servers", proxy.error_log())]


# --- active checks


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Proxy, Server, Server]]:
    """Two workers, and two servers of which the first falls ill."""
    with servers("ill", "well") as (ill, other):
        with proxy_before([ill, other], workers=2, **{**CHECKED, "health_timeout": "1"}) as proxy:
            yield proxy, ill, other


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (answer(response(b"all is well", status="500 Broken")), "answered 500"),
        (answer(response(b"all is lost")), "'well' is not in the answer"),
        (answer(b"SSH-2.0-OpenSSH_9.2\r\n"), "malformed response head"),
        (break_off, "closed in the middle of a body"),
        (OriginConnection.reset, "receive: "),
        (silence, "no answer within 1 s"),
    ],
    ids=["status", "body", "garbage", "truncated", "reset", "silence"],
)
def test_a_server_that_fails_its_checks_gets_no_requests_until_it_passes_again(
    pair: tuple[Proxy, Server, Server], behaviour: Behaviour, reason: str
) -> None:
    proxy, ill, _ = pair
    wait_for(proxy, "ill well")
    # Who answers says nothing for certain: all may have asked the worker that does not know yet.
    logged = len(proxy.error_log())
    ill.checks = behaviour
    wait_for_line(proxy, logged, f"cluster users: {ill.url} is unhealthy: {reason}")
    wait_for(proxy, "well")
    ill.checks = well
    wait_for_line(proxy, logged, f"INFO cluster users: {ill.url} is healthy, after 2 good checks")
    wait_for(proxy, "ill well")


def test_a_check_asks_for_what_is_configured_as_a_client_of_its_own() -> None:
    with servers("one") as [one]:
        with proxy_before([one], **CHECKED, health_host="app.example:81"):
            [request] = one.origin.wait_for_requests(1)[:1]
        assert (request.method, request.target) == ("GET", "/healthz?full=1")
        assert request.get("host") == b"app.example:81"
        assert request.get("connection") == b"close"
        assert (request.get("user-agent") or b"").startswith(b"pyrox/")


def test_only_one_worker_checks() -> None:
    with servers("one") as [one]:
        with proxy_before([one], workers=3, **{**CHECKED, "health_interval": "1h"}) as proxy:
            proxy.worker_pids(3)
            wait_for(proxy, "one")
            one.origin.wait_until(lambda: bool(one.check_requests()), "a check")
            assert len(leaders(proxy)) == 1
            assert len(one.check_requests()) == 1


def test_a_server_that_is_killed_is_noticed_without_a_client_by_connecting_alone() -> None:
    with servers("ill", "well") as (ill, other):
        options = {**CHECKED, "health_check": "connect"}
        for name in ("health_path", "health_body"):
            del options[name]
        with proxy_before([ill, other], workers=2, **options) as proxy:
            wait_for(proxy, "ill well")
            ill.origin.close()
            proxy.wait_for_log(f"{ill.url} is unhealthy: Connection refused")
            wait_for(proxy, "well")
            assert not ill.check_requests()


def test_checks_speak_tls_as_requests_do(certificates: Certificates) -> None:
    good, bad = (Server(name, start_tls(certificates.server(name))) for name in ("server", "other"))
    with good.origin, bad.origin:
        urls = f"https://{good.origin.address}, https://{bad.origin.address}"
        config = config_of([], {**CHECKED, "servers": urls})
        upstream = {"ca_file": str(certificates.ca_file)}
        with running_proxy({**config, "upstream": upstream}) as proxy:
            proxy.wait_for_log(f"https://{bad.origin.address} is unhealthy: ")
            wait_for(proxy, "server")
            assert f"{good.origin.address} is unhealthy" not in proxy.error_log()


# --- the worker that checks


def test_when_the_worker_that_checks_is_killed_another_goes_on_where_it_was() -> None:
    with servers("ill", "well") as (ill, other):
        with proxy_before([ill, other], workers=2, **CHECKED) as proxy:
            ill.checks = answer(response(status="503 Ill"))
            proxy.wait_for_log(f"{ill.url} is unhealthy")
            [first] = leaders(proxy)
            os.kill(first, signal.SIGKILL)
            proxy.wait_until(lambda: len(leaders(proxy)) == 2, "another that checks")
            assert leaders(proxy)[1] != first
            wait_for(proxy, "well")
            ill.checks = well
            wait_for(proxy, "ill well")
            assert proxy.error_log().count("is unhealthy") == 1


def test_after_a_reload_the_new_workers_check_what_is_new_and_know_what_is_not() -> None:
    with servers("ill", "well", "new") as (ill, other, new):
        with proxy_before([ill, other], workers=2, **CHECKED) as proxy:
            ill.checks = answer(response(status="503 Ill"))
            proxy.wait_for_log(f"{ill.url} is unhealthy")
            wait_for(proxy, "well")
            new.checks = answer(response(status="503 Ill"))
            config = config_of([ill, other, new], CHECKED)
            logging = {"verbosity": "INFO", "console": "yes"}
            (proxy.folder / "pyrox.ini").write_text(as_ini({**config, "logging": logging}, proxy.folder))
            proxy.signal(signal.SIGHUP)
            proxy.wait_for_log(f"{new.url} is unhealthy: answered 503")
            proxy.wait_for_log("reloaded")
            wait_for(proxy, "well")
            assert proxy.error_log().count(f"{ill.url} is unhealthy") == 1
            ill.checks = new.checks = well
            wait_for(proxy, "ill new well")


def test_servers_that_are_discovered_are_checked_from_then_on(tmp_path: Path) -> None:
    found = tmp_path / "servers"
    with servers("ill", "well") as (ill, other):
        ill.checks = answer(response(status="503 Ill"))
        found.write_text(other.url)
        config = config_of([], {**CHECKED, "servers_file": str(found)})
        with running_proxy(config, workers=2) as proxy:
            wait_for(proxy, "well")
            (tmp_path / "next").write_text(f"{other.url}\n{ill.url}\n")
            (tmp_path / "next").rename(found)
            proxy.wait_for_log(f"{ill.url} is unhealthy: answered 503")
            wait_for(proxy, "well")
            ill.checks = well
            wait_for(proxy, "ill well")


# --- too few


def test_when_no_server_is_healthy_all_are_used() -> None:
    with servers("one", "two") as group:
        for server in group:
            server.checks = answer(response(status="404 Nothing Here"))
        with proxy_before(group, **CHECKED) as proxy:
            proxy.wait_until(
                lambda: proxy.error_log().count("is unhealthy: answered 404") == 2, "two bad checks"
            )
            wait_for(proxy, "one two")


def test_without_panic_clients_get_503_when_no_server_is_healthy() -> None:
    with servers("one", "two") as group:
        for server in group:
            server.checks = answer(response(status="404 Nothing Here"))
        with proxy_before(group, **CHECKED, panic_threshold="0") as proxy:
            wait_for(proxy, "503")
            proxy.wait_for_log("none of 2 servers can be chosen (2 unhealthy)")
            group[0].checks = well
            wait_for(proxy, "one")


# --- ejection


def test_a_server_whose_answers_are_bad_is_ejected_and_tried_again() -> None:
    with servers("ill", "well") as (ill, other):
        good = ill.answers
        ill.answers = answer(response(b"", status="503 Ill"))
        with proxy_before([ill, other], eject_failures="3", eject_time="1") as proxy:
            with Client(proxy.address) as client:
                statuses = [client.ask(get()).status for _ in range(12)]
            assert statuses.count(503) == 3
            assert f"cluster users: {ill.url} is ejected for 1 s: 3 failures in a row" in proxy.error_log()
            ill.answers = good
            wait_for(proxy, "ill well")


@pytest.mark.parametrize(
    "behaviour", [OriginConnection.reset, OriginConnection.close, answer(b"SSH-2.0\r\n")]
)
def test_what_is_no_answer_counts_as_a_failure(behaviour: Behaviour) -> None:
    with servers("ill", "well") as (ill, other):
        ill.answers = behaviour
        with proxy_before([ill, other], eject_failures="3", eject_time="60") as proxy:
            with Client(proxy.address) as client:
                statuses = Counter(client.ask(get()).status for _ in range(20))
            assert statuses[200] >= 17
            assert proxy.error_log().count("is ejected for 60 s") == 1
            assert who_answers(proxy) == "well"


def test_a_server_that_is_dead_is_ejected_and_costs_no_client_a_retry_any_more() -> None:
    with servers("ill", "well") as (ill, other):
        with proxy_before([ill, other], eject_failures="2", eject_time="60") as proxy:
            ill.origin.close()
            assert who_answers(proxy) == "well"
            assert proxy.error_log().count("is ejected for 60 s: 2 failures in a row") == 1


# --- a real server

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen {address}; location / {{ return 200 "nginx is well"; }} }}
}}
"""


@contextmanager
def nginx(folder: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, address=address))
    files = ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen([program, *files])
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_nginx_that_is_stopped_killed_and_started_again(tmp_path: Path) -> None:
    """At a unix socket, which nobody else can take while there is no nginx."""
    address = f"unix:{tmp_path}/nginx.sock"
    with servers("well") as [other]:
        config = config_of([], {**CHECKED, "health_timeout": "1", "servers": f"{address}, {other.url}"})
        with ExitStack() as stack:
            first = stack.enter_context(nginx(tmp_path, address))
            proxy = stack.enter_context(running_proxy(config, workers=2))
            wait_for(proxy, "nginx is well well")
            first.send_signal(signal.SIGSTOP)
            proxy.wait_for_log(f"{address} is unhealthy: no answer within 1 s")
            wait_for(proxy, "well")
            first.send_signal(signal.SIGCONT)
            wait_for(proxy, "nginx is well well")
            first.kill()
            first.wait(10)
            wait_for(proxy, "well")
            (tmp_path / "nginx.sock").unlink()
            stack.enter_context(nginx(tmp_path, address))
            wait_for(proxy, "nginx is well well")


def test_the_checks_go_on_while_workers_are_replaced_and_their_number_changes() -> None:
    with servers("ill", "well") as (ill, other):
        options = {**CHECKED, "health_interval": "100ms"}
        config = {**config_of([ill, other], options), "core": {"max_requests": "60"}}
        with running_proxy({**config, "logging": {"verbosity": "INFO"}}, workers=2) as proxy:
            for signal_number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTOU):
                ill.checks = answer(response(status="503 Ill"))
                wait_for(proxy, "well")
                proxy.signal(signal_number)
                ill.checks = well
                wait_for(proxy, "ill well")
            assert len(leaders(proxy)) > 1
