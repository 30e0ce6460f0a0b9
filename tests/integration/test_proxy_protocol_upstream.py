"""The PROXY protocol: clients named to servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyrox.http.proxy_protocol import UNIX, Endpoint, HeaderReader, ProxyHeader, encode_header
from tests.integration.conftest import PLUGINS, Certificates
from tests.integration.kit import get, nothing_left_behind, post, start_tls, via
from tests.support.config import Config
from tests.support.origin import OK, Origin, OriginConnection, Script, Step, expect_request, send, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

TELLS: Config = {
    "core": {"graceful_timeout": 5},
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"access_log_format": "json", "verbosity": "INFO"},
    "middleware": {
        "stack": "census, others, by_field",
        "census": {"class": "routing.Census"},
        "by_field": {"class": "routing.RouteByField"},
        "others": {"class": "scenarios.AsksOthers"},
    },
}


@pytest.fixture(scope="module", params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def proxy(version: str, certificates: Certificates) -> Iterator[Proxy]:
    upstream = {"proxy_protocol": version, "ca_file": str(certificates.ca_file)}
    with running_proxy({**TELLS, "upstream": upstream}, python_path=[PLUGINS]) as proxy:
        yield proxy


class Listener:
    """What was said at the start of each connection, in the order in which they came."""

    def __init__(self) -> None:
        self.headers: list[ProxyHeader | None] = []

    def hear(self) -> Step:
        """A script's first step."""

        def step(connection: OriginConnection) -> None:
            reader = HeaderReader()
            connection.socket.settimeout(connection.timeout)
            while reader.header is None:  # not a byte more: what follows may be TLS
                reader.feed(connection.socket.recv(1) or b"closed")
            self.headers.append(reader.header)

        return step

    def then(self, script: Script) -> Script:
        return [self.hear(), *script]


@pytest.fixture
def listener() -> Listener:
    return Listener()


def names_of(client: Client, proxy: Proxy) -> ProxyHeader:
    """What must be said of ``client``."""
    own: Endpoint = client.socket.getsockname()
    return ProxyHeader(own, ("127.0.0.1", proxy.port))


def test_connection_begins_with_the_clients_name(proxy: Proxy, listener: Listener, target: str) -> None:
    with Origin(listener.then(serve(OK))) as origin, Client(proxy.address) as client:
        assert client.ask(get(target, via(origin))).status == 200
        assert client.ask(post(target, b"x" * 300_000, via(origin))).status == 200
        assert listener.headers == [names_of(client, proxy)]


def test_connection_carries_one_clients_requests_and_ends_with_it(
    proxy: Proxy, listener: Listener, target: str
) -> None:
    with nothing_left_behind(proxy), Origin(listener.then(serve(OK))) as origin:
        with Client(proxy.address) as one, Client(proxy.address) as two:
            for client in (one, two, one, two):
                assert client.ask(get(target, via(origin))).status == 200
            assert listener.headers == [names_of(one, proxy), names_of(two, proxy)]
            assert [len(connection.requests) for connection in origin.connections] == [2, 2]
            one.close()
            assert origin.wait_for_end(0).ended == "eof"
            assert client.ask(get(target, via(origin))).status == 200
        assert origin.wait_for_end(1).ended == "eof"


def test_new_connection_for_a_stale_one_is_introduced_too(
    proxy: Proxy, listener: Listener, target: str
) -> None:
    script = listener.then([expect_request(), send(OK)])
    with Origin(script, listener.then(serve(OK))) as origin, Client(proxy.address) as client:
        assert client.ask(get(target, via(origin))).status == 200
        assert client.ask(get(target, via(origin))).status == 200
        assert listener.headers == [names_of(client, proxy)] * 2


def test_header_goes_before_tls(
    proxy: Proxy, listener: Listener, certificates: Certificates, target: str
) -> None:
    script = listener.then([start_tls(certificates.server()), *serve(OK)])
    with Origin(script) as origin, Client(proxy.address) as client:
        for _ in range(2):
            assert client.ask(get(target, f"X-Origin: https://localhost:{origin.port}")).status == 200
        assert listener.headers == [names_of(client, proxy)]


def test_middlewares_own_requests_name_nobody(proxy: Proxy, listener: Listener, target: str) -> None:
    with Origin(listener.then(serve(OK))) as origin, Client(proxy.address) as client:
        assert client.ask(get("/others/read/2", via(origin))).status == 200
        assert listener.headers == [ProxyHeader(), names_of(client, proxy)]
        assert [len(connection.requests) for connection in origin.connections] == [2, 1]


def test_unix_sockets_client_has_no_address(version: str, listener: Listener, target: str) -> None:
    config = {**TELLS, "upstream": {"proxy_protocol": version}}
    with running_proxy(config, python_path=[PLUGINS], binds=["unix:{folder}/front.sock"]) as proxy:
        with Origin(listener.then(serve(OK))) as origin, Client(proxy.addresses()[0]) as client:
            assert client.ask(get(target, via(origin))).status == 200
        assert listener.headers == [ProxyHeader(UNIX, UNIX) if version == "v2" else ProxyHeader()]


def test_what_was_heard_is_told(version: str, listener: Listener, target: str) -> None:
    config = {
        **TELLS,
        "upstream": {"proxy_protocol": version},
        "http": {"proxy_protocol_from": "127.0.0.1"},
    }
    source, here = ("2001:db8::7", 40000), ("198.51.100.1", 443)
    with running_proxy(config, python_path=[PLUGINS]) as proxy, Origin(listener.then(serve(OK))) as origin:
        for header in (encode_header("v2", source, here), b"PROXY UNKNOWN\r\n"):
            with Client(proxy.address) as client:
                client.send(header)
                assert client.ask(get(target, via(origin))).status == 200
                last = names_of(client, proxy)
    assert listener.headers == [ProxyHeader(source, here), last]


def test_nothing_is_told_by_default(shared_proxy: Proxy, target: str) -> None:
    with Origin(serve(OK)) as origin, Client(shared_proxy.address) as client:
        assert client.ask(get(target, via(origin))).status == 200
        assert origin.connections[0].received.startswith(b"GET ")
