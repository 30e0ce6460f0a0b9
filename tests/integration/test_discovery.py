"""Servers that come and go, by a real nameserver, a file and a resolver, in a running proxy."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS, Certificates
from tests.integration.kit import InThread, get, response, start_tls, tell
from tests.support.config import Config
from tests.support.masters import Master
from tests.support.nameserver import Nameserver
from tests.support.origin import Origin, Script, expect_request, send, serve, wait
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

NAME = "users.test"


def named(name: str) -> Script:
    return serve(response(name.encode()))


class OriginAt(Origin):
    """An origin at an address of its own in 127.0.0.0/8, at the port of another."""

    def __init__(self, address: str, port: int, *scripts: Script) -> None:
        super().__init__(*scripts, timeout=100)
        self._listener.close()
        self._listener = socket.create_server((address, port), backlog=512)


@contextmanager
def two_origins() -> Iterator[tuple[Origin, Origin]]:
    """Two origins at 127.0.0.1 and 127.0.0.2, at the same port, that say a and b."""
    with Origin(named("a"), timeout=100) as one, OriginAt("127.0.0.2", one.port, named("b")) as two:
        yield one, two


def config_of(dns: Nameserver, servers: str, **options: str) -> Config:
    return {
        "discovery": {"nameservers": f"{dns.address},", "min_ttl": "0.1", "dns_timeout": "5", **options},
        "clusters": {"users": {"servers": servers}},
        "routing": {"default_cluster": "users"},
        "logging": {"verbosity": "INFO"},
    }


def ask(proxy: Proxy) -> bytes:
    with Client(proxy.address) as client:
        answer = client.ask(get())
        return answer.body if answer.status == 200 else b"%d" % answer.status


def answers(proxy: Proxy, count: int = 8) -> set[bytes]:
    return {ask(proxy) for _ in range(count)}


def wait_for_answers(proxy: Proxy, *expected: bytes) -> None:
    proxy.wait_until(lambda: answers(proxy) == set(expected), f"answers of {expected}")


# --- DNS


def test_addresses_are_servers_from_the_first_request_and_follow_the_name() -> None:
    with two_origins() as (one, _), Nameserver() as dns:
        dns.set(NAME, "A", ["127.0.0.1", "127.0.0.2"])
        with running_proxy(config_of(dns, f"http://{NAME}:{one.port} resolve")) as proxy:
            assert answers(proxy) == {b"a", b"b"}
            dns.set(NAME, "A", ["127.0.0.2"])
            wait_for_answers(proxy, b"b")
            dns.set(NAME, "A", ["127.0.0.1"])
            wait_for_answers(proxy, b"a")


def test_both_families_are_servers() -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    with Origin(named("a"), timeout=100) as one, Nameserver() as dns:
        try:
            two = OriginAt("127.0.0.2", 0, named("b"))
            two._listener.close()
            two._listener = socket.create_server(("::1", one.port), family=socket.AF_INET6)
        except OSError:
            pytest.skip("there is no ::1 here")
        dns.set(NAME, "A", ["127.0.0.1"])
        dns.set(NAME, "AAAA", ["::1"])
        with two, running_proxy(config_of(dns, f"http://{NAME}:{one.port} resolve")) as proxy:
            assert answers(proxy) == {b"a", b"b"}


@pytest.mark.parametrize("trouble", ["silent", "servfail", "nxdomain", "empty"])
def test_last_answer_stays_when_there_is_no_other(trouble: str) -> None:
    with two_origins() as (one, _), Nameserver() as dns:
        dns.set(NAME, "A", ["127.0.0.1"])
        config = config_of(dns, f"http://{NAME}:{one.port} resolve", dns_timeout="0.5")
        with running_proxy(config) as proxy:
            proxy.wait_for_log("+http://127.0.0.1")
            wait_for_answers(proxy, b"a")
            if trouble == "silent":
                dns.is_silent = True
            elif trouble == "servfail":
                dns.fails = {"A", "AAAA"}
            elif trouble == "nxdomain":
                dns.remove(NAME)
            else:
                dns.remove(NAME)
                dns.set(NAME, "TXT", ["nothing"])
            proxy.wait_for_log("the 1 known stay")
            dns.wait_for_more_queries(NAME, "A")
            assert answers(proxy) == {b"a"}
            assert proxy.error_log().count("the 1 known stay") == 1
            dns.is_silent, dns.fails = False, set()
            dns.set(NAME, "A", ["127.0.0.2"])
            wait_for_answers(proxy, b"b")
            assert proxy.error_log().count("known again") == 1


@pytest.mark.parametrize("how", ["killed", "reload", "upgrade"])
def test_worker_that_comes_while_nameservers_are_silent_goes_on_with_what_was_found_last(how: str) -> None:
    with two_origins() as (one, _), Nameserver() as dns:
        dns.set(NAME, "A", ["127.0.0.1"])
        config = config_of(dns, f"http://{NAME}:{one.port} resolve", dns_timeout="0.5")
        with running_proxy({**config, "core": {"pid_file": "p.pid"}}) as proxy:
            wait_for_answers(proxy, b"a")
            dns.is_silent = True
            master = Master(proxy, proxy.folder / "p.pid")
            if how == "killed":
                [worker] = master.workers()
                os.kill(worker, signal.SIGKILL)
                master.wait_for_workers(1, none_of=[worker])
            elif how == "reload":
                master.reload(workers=1)
            else:
                master.upgrade(workers=1)
            assert answers(proxy) == {b"a"}
            assert f"servers of cluster users by {NAME}: not known yet; the 1 found " in proxy.error_log()
            dns.is_silent = False
            dns.set(NAME, "A", ["127.0.0.2"])
            wait_for_answers(proxy, b"b")
            master.stop()


def test_start_without_a_nameserver_is_no_failure() -> None:
    """The name stands for itself: the system may know it, by its hosts file or by DNS."""
    with Origin(named("a"), timeout=100) as one, Nameserver() as dns:
        dns.is_silent = True
        servers = f"http://localhost:{one.port} resolve"
        with running_proxy(config_of(dns, servers, dns_timeout="0.3")) as proxy:
            assert ask(proxy) == b"a"


def test_answer_that_was_cut_off_is_asked_for_by_tcp() -> None:
    with Origin(named("a"), timeout=100) as one, Nameserver() as dns:
        dns.truncates = True
        dns.set(NAME, "A", ["127.0.0.1"])
        with running_proxy(config_of(dns, f"http://{NAME}:{one.port} resolve")) as proxy:
            assert ask(proxy) == b"a"
            assert (NAME, "A", "tcp") in dns.queries


def test_answer_is_used_as_long_as_its_ttl_says() -> None:
    """Of two names with the same clock, the one with the long TTL is not asked again."""
    with two_origins() as (one, _), Nameserver() as dns:
        dns.set("long.test", "A", ["127.0.0.1"], ttl=3600)
        dns.set("short.test", "A", ["127.0.0.2"], ttl=0)
        dns.set("long.test", "AAAA", [])
        servers = f"http://long.test:{one.port} resolve, http://short.test:{one.port} resolve"
        with running_proxy(config_of(dns, servers)) as proxy:
            assert answers(proxy) == {b"a", b"b"}
            dns.wait_for_queries("short.test", "A", 5)
            assert dns.count("long.test", "A") == 1


def test_service_records_bring_ports_weights_and_backups() -> None:
    with Origin(named("a"), timeout=100) as one, Origin(named("b"), timeout=100) as two, Nameserver() as dns:
        srv = "_http._tcp.users.test"
        dns.set(srv, "SRV", [f"0 1 {one.port} here.test.", f"5 1 {two.port} here.test."])
        dns.set("here.test", "A", ["127.0.0.1"])
        with running_proxy(config_of(dns, f"http://{NAME} service=http resolve")) as proxy:
            assert answers(proxy) == {b"a"}
            dns.set(srv, "SRV", ["0 1 1 here.test.", f"5 1 {two.port} here.test."])
            wait_for_answers(proxy, b"b")  # port 1 refuses, so it is the backup's turn
            dns.set(srv, "SRV", [f"0 1 {one.port} here.test.", f"0 1 {two.port} here.test."])
            wait_for_answers(proxy, b"a", b"b")


def test_service_that_nobody_knows_is_a_503_until_somebody_does() -> None:
    with Origin(named("a"), timeout=100) as one, Nameserver() as dns:
        with running_proxy(config_of(dns, f"http://{NAME} service=http resolve")) as proxy:
            assert ask(proxy) == b"503"
            dns.set("_http._tcp.users.test", "SRV", [f"0 1 {one.port} here.test."])
            dns.set("here.test", "A", ["127.0.0.1"])
            wait_for_answers(proxy, b"a")


def test_worker_serves_while_a_nameserver_is_silent() -> None:
    """dnspython must wait on gevent's sockets: a look-up that blocked would stop the whole worker."""
    with Origin(named("a"), timeout=100) as one, Nameserver() as dns:
        dns.set(NAME, "A", ["127.0.0.1"])
        servers = f"http://{NAME}:{one.port} resolve"
        with running_proxy(config_of(dns, servers, dns_timeout="60")) as proxy:
            assert ask(proxy) == b"a"
            dns.is_silent = True
            dns.wait_for_more_queries(NAME, "A", 1)
            with Client(proxy.address, timeout=20) as client:
                assert [client.ask(get()).body for _ in range(200)] == [b"a"] * 200
            dns.is_silent = False


def test_certificate_is_that_of_the_name_and_not_of_the_address(certificates: Certificates) -> None:
    names: list[str | None] = []
    context = certificates.server()

    def note(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = note
    script = [start_tls(context), *named("a")]
    with Origin(script, timeout=100) as origin, Nameserver() as dns:
        dns.set("localhost", "A", ["127.0.0.1"])
        config = config_of(dns, f"https://localhost:{origin.port} resolve")
        tls = {"ca_file": str(certificates.ca_file)}
        routing = {"default_cluster": "users", "preserve_host": "no"}
        with running_proxy({**config, "upstream": tls, "routing": routing}) as proxy:
            proxy.wait_for_log(f"+https://127.0.0.1:{origin.port}#localhost")
            assert ask(proxy) == b"a"
        assert names == ["localhost"]
        assert origin.requests[0].get("host") == f"localhost:{origin.port}".encode()


# --- changes and exchanges


def test_exchange_in_flight_goes_on_when_its_server_goes() -> None:
    arrived, go_on = threading.Event(), threading.Event()
    slow = [expect_request(), tell(arrived), wait(go_on), send(response(b"slow"))]
    with Origin(slow, timeout=100) as one, OriginAt("127.0.0.2", one.port, named("b")), Nameserver() as dns:
        dns.set(NAME, "A", ["127.0.0.1"])
        with running_proxy(config_of(dns, f"http://{NAME}:{one.port} resolve")) as proxy:
            asking = InThread(ask, proxy)
            assert arrived.wait(20)
            dns.set(NAME, "A", ["127.0.0.2"])
            proxy.wait_for_log("-http://127.0.0.1")
            assert answers(proxy) == {b"b"}
            go_on.set()
            assert asking.result() == b"slow"


def test_no_request_fails_while_servers_come_and_go() -> None:
    with two_origins() as (one, _), Nameserver() as dns:
        dns.set(NAME, "A", ["127.0.0.1", "127.0.0.2"])
        with running_proxy(config_of(dns, f"http://{NAME}:{one.port} resolve"), workers=2) as proxy:
            stop = threading.Event()

            def load() -> list[bytes]:
                seen = []
                with Client(proxy.address, timeout=30) as client:
                    while not stop.is_set():
                        answer = client.ask(get())
                        seen.append(answer.body if answer.status == 200 else b"%d" % answer.status)
                return seen

            clients = [InThread(load) for _ in range(4)]
            for turn in range(12):
                dns.set(NAME, "A", [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2", "127.0.0.1"]][turn % 3])
                dns.wait_for_more_queries(NAME, "AAAA", 3)
            stop.set()
            assert {body for client in clients for body in client.result()} == {b"a", b"b"}
            assert proxy.error_log().count("INFO cluster users: ") > 4


def test_idle_connections_to_a_server_that_went_are_closed() -> None:
    with two_origins() as (one, _), Nameserver() as dns:
        dns.set(NAME, "A", ["127.0.0.1"])
        with running_proxy(config_of(dns, f"http://{NAME}:{one.port} resolve")) as proxy:
            assert ask(proxy) == b"a"
            dns.set(NAME, "A", ["127.0.0.2"])
            assert one.wait_for_end(0).ended == "eof"


# --- files


@pytest.fixture
def servers_file(tmp_path: Path) -> Path:
    return tmp_path / "servers"


def file_config(path: Path, servers: str = "") -> Config:
    cluster = {"servers_file": str(path), **({"servers": servers} if servers else {})}
    return {
        "clusters": {"users": cluster},
        "routing": {"default_cluster": "users"},
        "logging": {"verbosity": "INFO"},
    }


def replace(path: Path, *urls: str) -> None:
    new = path.with_suffix(".new")
    new.write_text("".join(f"{url}\n" for url in urls))
    os.replace(new, path)


def test_file_is_followed_and_a_bad_one_is_not(servers_file: Path) -> None:
    with two_origins() as (one, _):
        a, b = one.url, one.url.replace("127.0.0.1", "127.0.0.2")
        replace(servers_file, a)
        with running_proxy(file_config(servers_file), workers=2) as proxy:
            assert answers(proxy) == {b"a"}
            replace(servers_file, a, b + " weight=2")
            wait_for_answers(proxy, b"a", b"b")
            replace(servers_file, b, "http//nothing")
            proxy.wait_for_log(f"{servers_file}, line 2: 'http//nothing' is not http://host:port")
            assert answers(proxy, 16) == {b"a", b"b"}
            servers_file.write_text(f"{b}\n")
            wait_for_answers(proxy, b"b")


def test_servers_of_the_file_stand_beside_those_of_the_configuration(servers_file: Path) -> None:
    with two_origins() as (one, _):
        replace(servers_file, "http://127.0.0.1:1")
        with running_proxy(file_config(servers_file, f"{one.url} backup")) as proxy:
            assert answers(proxy) == {b"a"}


def test_reload_refuses_a_file_that_is_wrong(servers_file: Path) -> None:
    with Origin(named("a"), timeout=100) as one:
        replace(servers_file, one.url)
        with running_proxy(file_config(servers_file)) as proxy:
            assert ask(proxy) == b"a"
            replace(servers_file, "nonsense")
            proxy.signal(signal.SIGHUP)
            proxy.wait_for_log("[clusters] [[users]] servers_file: ")
            proxy.wait_for_log("not reloaded")
            assert ask(proxy) == b"a"


# --- a resolver of one's own


def test_resolver_may_block_until_something_changes() -> None:
    with two_origins() as (one, _), socket.create_server(("127.0.0.1", 0)) as teller:
        a, b = one.url, one.url.replace("127.0.0.1", "127.0.0.2")
        cluster = {"resolver": "resolvers.Told", "resolver_options": f"port={teller.getsockname()[1]},"}
        config: Config = {
            "core": {"plugin_paths": str(PLUGINS)},
            "clusters": {"users": cluster},
            "routing": {"default_cluster": "users"},
        }
        with running_proxy(config) as proxy:
            connection, _ = teller.accept()
            with connection:
                connection.sendall(f"{a}\n".encode())
                wait_for_answers(proxy, b"a")
                connection.sendall(f"{a} {b}\n".encode())
                wait_for_answers(proxy, b"a", b"b")
                connection.sendall(f"{b}\n".encode())
                wait_for_answers(proxy, b"b")
