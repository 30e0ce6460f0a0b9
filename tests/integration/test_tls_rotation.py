"""Certificates that are replaced while the proxy serves: nobody is dropped, nothing bad gets in."""

from __future__ import annotations

import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, start_tls, tls_client, via
from tests.support.authority import Authority, Pair
from tests.support.config import Config
from tests.support.origin import OK, Origin, expect_close, expect_request, send, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

PING = get("/", "Max-Forwards: 0", method="OPTIONS")  # answered by the proxy itself
SOON = 15.0


@pytest.fixture
def old(authority: Authority) -> Pair:
    return authority.issue("old", names="DNS:localhost")


@pytest.fixture
def new(authority: Authority) -> Pair:
    return authority.issue("new", names="DNS:localhost,DNS:new.test")


@pytest.fixture
def used(tmp_path: Path, old: Pair) -> Pair:
    """The files that the configuration names; the old certificate is in them."""
    pair = Pair(tmp_path / "used.pem", tmp_path / "used.key")
    old.copy_to(pair)
    return pair


@pytest.fixture(params=[1, 3])
def proxy(request: pytest.FixtureRequest, used: Pair) -> Iterator[Proxy]:
    with running_proxy(config(used), workers=request.param, python_path=[PLUGINS]) as proxy:
        proxy.worker_pids(request.param)
        yield proxy


def config(used: Pair) -> Config:
    return {
        "core": {"graceful_timeout": 10},
        "ssl": used.options,
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "logging": {"verbosity": "INFO"},
        "middleware": {"stack": "by_field", "by_field": {"class": "routing.RouteByField"}},
    }


def serial_shown(proxy: Proxy, authority: Authority, name: str = "localhost") -> str:
    with tls_client(proxy.address, authority.client(), name) as client:
        assert client.ask(PING).status == 204
        return serial_of(client)


def serial_of(client: Client) -> str:
    assert isinstance(client.socket, ssl.SSLSocket)
    return str(client.socket.getpeercert()["serialNumber"])  # type: ignore[index]


def wait_for(proxy: Proxy, authority: Authority, pair: Pair) -> None:
    """Wait until every worker shows ``pair``: until it was shown many times in a row."""
    expected, in_a_row = pair.serial(), 0

    def is_shown() -> bool:
        nonlocal in_a_row
        in_a_row = in_a_row + 1 if serial_shown(proxy, authority) == expected else 0
        return in_a_row == 30

    proxy.wait_until(is_shown, f"certificate {expected}", timeout=SOON)


def test_new_files_are_used_and_open_connections_go_on(
    proxy: Proxy, authority: Authority, old: Pair, new: Pair, used: Pair
) -> None:
    workers = proxy.worker_pids()
    with tls_client(proxy.address, authority.client()) as client:
        assert client.ask(PING).status == 204
        new.copy_to(used)
        wait_for(proxy, authority, new)
        assert client.ask(PING).status == 204
        assert serial_of(client) == old.serial()
    assert proxy.worker_pids() == workers
    assert proxy.error_log().count(f"{str(used.cert)!r} is new and used from now on") == 1
    assert serial_shown(proxy, authority, "new.test") == new.serial()


def test_sessions_from_before_are_resumed(proxy: Proxy, authority: Authority, new: Pair, used: Pair) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Client(proxy.address) as client:
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
        client.ask(PING)
        session = client.socket.session
    new.copy_to(used)
    wait_for(proxy, authority, new)
    with Client(proxy.address) as client:
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost", session=session)
        assert client.ask(PING).status == 204
        assert client.socket.session_reused


class Load:
    """Clients that ask all the time, each in a thread of its own, until the block ends."""

    def __init__(self, proxy: Proxy, authority: Authority) -> None:
        self.answers = 0
        self.failures: list[BaseException] = []
        self._proxy, self._authority = proxy, authority
        self._is_over = threading.Event()
        work = [self._keep_alive] * 3 + [self._connect_anew] * 3
        self._threads = [threading.Thread(target=self._run, args=[part], daemon=True) for part in work]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            while not self._is_over.is_set():
                work()
        except BaseException as failure:
            self.failures.append(failure)

    def _keep_alive(self) -> None:
        with tls_client(self._proxy.address, self._authority.client()) as client:
            while not self._is_over.is_set():
                answer = client.ask(PING)
                assert answer.status == 204
                self.answers += 1
                if answer.get("connection") == b"close":  # the worker is leaving, and says so
                    return

    def _connect_anew(self) -> None:
        with tls_client(self._proxy.address, self._authority.client()) as client:
            assert client.ask(PING).status == 204
            self.answers += 1


def test_no_request_fails_while_certificates_are_replaced(
    proxy: Proxy, authority: Authority, old: Pair, new: Pair, used: Pair
) -> None:
    with Load(proxy, authority) as load:
        for pair in (new, old, new):
            pair.copy_to(used)
            wait_for(proxy, authority, pair)
    assert load.failures == []
    assert load.answers > 100


def test_no_request_fails_while_a_reload_replaces_the_certificate(
    proxy: Proxy, authority: Authority, new: Pair, used: Pair
) -> None:
    before = set(proxy.worker_pids())
    with Load(proxy, authority) as load:
        new.copy_to(used)
        proxy.signal(signal.SIGHUP)
        proxy.wait_until(lambda: not before & set(proxy.worker_pids()), "new workers", timeout=30)
        wait_for(proxy, authority, new)
    assert load.failures == []
    assert load.answers > 100


def test_another_kind_of_key_replaces_the_former(proxy: Proxy, authority: Authority, used: Pair) -> None:
    rsa = authority.issue("rsa", names="DNS:localhost", key="rsa")
    rsa.copy_to(used)
    wait_for(proxy, authority, rsa)
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+ECDSA")  # what the former key would need
    with pytest.raises(ssl.SSLError):
        tls_client(proxy.address, context)


def spoil_key(used: Pair, new: Pair) -> None:
    used.key.write_bytes(new.key.read_bytes())


def spoil_certificate(used: Pair, new: Pair) -> None:
    used.cert.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")


def remove_certificate(used: Pair, new: Pair) -> None:
    used.cert.unlink()


SPOILT = [
    (spoil_key, "[ssl] cert_file: {cert!r} cannot be used with {key!r}: the key is another certificate's"),
    (spoil_certificate, "[ssl] cert_file: {cert!r} cannot be used with {key!r}: "),
    (remove_certificate, "[ssl] cert_file: {cert!r} cannot be read: No such file or directory"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_bad_file_keeps_the_old_certificate_and_is_named_once(
    authority: Authority,
    old: Pair,
    new: Pair,
    used: Pair,
    spoil: Callable[[Pair, Pair], None],
    message: str,
) -> None:
    with running_proxy(config(used), workers=2, python_path=[PLUGINS]) as proxy:
        proxy.worker_pids(2)
        spoil(used, new)
        expected = message.format(cert=str(used.cert), key=str(used.key))
        proxy.wait_for_log(expected)
        assert serial_shown(proxy, authority) == old.serial()
        new.copy_to(used)
        wait_for(proxy, authority, new)
        assert proxy.error_log().count("ERROR") == 1
        assert "the certificate from before stays in use" in proxy.error_log()


def test_reload_with_a_bad_certificate_keeps_everything(
    proxy: Proxy, authority: Authority, old: Pair, new: Pair, used: Pair
) -> None:
    before = proxy.worker_pids()
    spoil_key(used, new)
    proxy.signal(signal.SIGHUP)
    proxy.wait_for_log("not reloaded")
    assert "the key is another certificate's" in proxy.error_log()
    assert serial_shown(proxy, authority) == old.serial()
    assert proxy.worker_pids() == before


# --- the certificate that https servers are shown


def test_client_certificate_for_servers_is_shown_and_replaced(
    authority: Authority, old: Pair, new: Pair, used: Pair, tmp_path: Path
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(old.cert, old.key)
    server.load_verify_locations(authority.ca_file)
    server.verify_mode = ssl.CERT_REQUIRED
    shown: list[str] = []

    def note(connection) -> None:
        shown.append(connection.socket.getpeercert()["serialNumber"])

    script = [start_tls(server), note, expect_request(), send(OK), expect_close()]
    settings = {**config(used), "ssl": {}, "upstream": {**used.options, "ca_file": str(authority.ca_file)}}
    settings["upstream"]["idle_connections"] = 0  # each request has a connection of its own
    with Origin(script) as origin, running_proxy(settings, python_path=[PLUGINS]) as proxy:
        ask = get("/", f"X-Origin: https://localhost:{origin.port}")

        def is_new_shown() -> bool:
            with Client(proxy.address) as client:
                assert client.ask(ask).status == 200
            return shown[-1] == new.serial()

        assert not is_new_shown()
        assert shown == [old.serial()]
        new.copy_to(used)
        proxy.wait_until(is_new_shown, "the new certificate", timeout=SOON)


def test_server_that_wants_a_certificate_refuses_a_proxy_that_has_none(
    authority: Authority, old: Pair, used: Pair
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.maximum_version = ssl.TLSVersion.TLSv1_2  # so that the refusal comes in the handshake
    server.load_cert_chain(old.cert, old.key)
    server.load_verify_locations(authority.ca_file)
    server.verify_mode = ssl.CERT_REQUIRED

    def refuse(connection) -> None:
        with pytest.raises(ssl.SSLError):
            start_tls(server)(connection)

    settings = {**config(used), "ssl": {}, "upstream": {"ca_file": str(authority.ca_file)}}
    with Origin([refuse]) as origin, running_proxy(settings, python_path=[PLUGINS]) as proxy:
        with Client(proxy.address) as client:
            answer = client.ask(get("/", f"X-Origin: https://localhost:{origin.port}"))
            assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=tls_protocol_error")


def test_unverified_servers_are_warned_about_at_the_start_and_at_each_reload(used: Pair) -> None:
    warning = "WARNING [upstream] verify = no: "
    with Origin(serve(OK)) as origin:
        settings = {**config(used), "ssl": {}, "upstream": {"verify": "no"}}
        with running_proxy(settings, workers=2, python_path=[PLUGINS]) as proxy:
            with Client(proxy.address) as client:
                assert client.ask(get("/", via(origin))).status == 200
            assert proxy.error_log().count(warning) == 1
            proxy.signal(signal.SIGHUP)
            proxy.wait_until(lambda: proxy.error_log().count(warning) == 2, "a second warning")
