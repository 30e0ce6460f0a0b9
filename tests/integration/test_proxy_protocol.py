"""The PROXY protocol: clients named by peers that are believed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest

from pyrox.http.proxy_protocol import Endpoint, encode_header
from tests.integration.conftest import PLUGINS, Certificates
from tests.integration.kit import get, nothing_left_behind, record_of, via
from tests.support.config import Config
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import TIMEOUT, Client, PeerClosed, Wire

CLIENT: Endpoint = ("192.0.2.7", 40000)
HERE: Endpoint = ("198.51.100.1", 443)
V1, V2 = encode_header("v1", CLIENT, HERE), encode_header("v2", CLIENT, HERE)
LOCAL = encode_header("v2", None, None)
WITH_TLS = V2[:15] + bytes((12 + 8,)) + V2[16:] + b"\x20\x00\x05\x01\x00\x00\x00\x00"

# Only what comes from 127.0.0.2 is a balancer's; the tests' own questions come from 127.0.0.1.
BALANCER = "127.0.0.2"
HEARS: Config = {
    "core": {"graceful_timeout": 5},
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "http": {"proxy_protocol_from": f"{BALANCER}, unix"},
    "logging": {"access_log_format": "json", "verbosity": "INFO"},
    "timeouts": {"client_head": 0.25},
    "middleware": {
        "stack": "census, by_field, access_control",
        "census": {"class": "routing.Census"},
        "by_field": {"class": "routing.RouteByField"},
        "access_control": {"deny": "203.0.113.0/24"},
    },
}


class Balancer(Wire):
    """A peer whose word counts; says ``header`` in pieces of ``size`` bytes."""

    def __init__(self, proxy: Proxy, header: bytes = b"", size: int = 1 << 16) -> None:
        super().__init__(socket.create_connection(proxy.address, TIMEOUT, (BALANCER, 0)))
        self.say(header, size)

    def __enter__(self) -> Balancer:
        return self

    def say(self, data: bytes, size: int) -> None:
        self.send_pieces(data[i : i + size] for i in range(0, len(data), size))


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(HEARS, python_path=[PLUGINS]) as proxy:
        with nothing_left_behind(proxy):
            yield proxy


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(serve(OK)) as origin:
        yield origin


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_named_client_is_the_client_however_the_header_comes(
    proxy: Proxy, origin: Origin, target: str, header: bytes, size: int
) -> None:
    with Balancer(proxy) as balancer:
        balancer.say(header + get(target, via(origin)) + get(target + "/2", via(origin)), size)
        assert [balancer.read_response().status for _ in range(2)] == [200, 200]
    assert [request.get("x-forwarded-for") for request in origin.requests[-2:]] == [b"192.0.2.7"] * 2
    assert record_of(proxy, target)["client"] == "192.0.2.7"


def test_named_ipv6_client_is_the_client(proxy: Proxy, origin: Origin, target: str) -> None:
    header = encode_header("v1", ("2001:db8::7", 1), ("2001:db8::1", 443))
    with Balancer(proxy, header + get(target, via(origin))) as balancer:
        assert balancer.read_response().status == 200
    assert origin.requests[-1].get("x-forwarded-for") == b"2001:db8::7"


@pytest.mark.parametrize(("source", "status"), [("203.0.113.9", 403), ("192.0.2.9", 502)])
def test_named_client_is_whom_access_control_judges(
    proxy: Proxy, target: str, source: str, status: int
) -> None:
    with Balancer(proxy, encode_header("v2", (source, 1), HERE) + get(target)) as balancer:
        assert balancer.read_response().status == status


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"], ids=["LOCAL", "UNKNOWN"])
def test_header_that_names_nobody_leaves_the_peer_the_client(
    proxy: Proxy, origin: Origin, target: str, header: bytes
) -> None:
    with Balancer(proxy, header + get(target, via(origin))) as balancer:
        assert balancer.read_response().status == 200
    assert origin.requests[-1].get("x-forwarded-for") == BALANCER.encode()


@pytest.mark.parametrize(("header", "scheme"), [(V2, b"http"), (WITH_TLS, b"https")])
def test_tls_that_the_peer_took_off_is_told_upstream(
    proxy: Proxy, origin: Origin, target: str, header: bytes, scheme: bytes
) -> None:
    with Balancer(proxy, header + get(target, via(origin))) as balancer:
        assert balancer.read_response().status == 200
    assert origin.requests[-1].get("x-forwarded-proto") == scheme


@pytest.mark.parametrize(
    ("noise", "reason"),
    [
        (get("/"), "b'GET / HTTP/1.1\\r\\n' is no header"),
        (b"PROXY TCP4 192.0.2.7 1 2\r\n", "b'PROXY TCP4 192.0.2.7 1 2\\r\\n'"),
        (V2[:12] + b"\x11" + V2[13:], "version and command 0x11"),
        (b"PROXY " + b"x" * 2000, "a line of more than 107 bytes"),
        (V1[:-1], "the peer sends no more bytes"),
    ],
    ids=["none", "v1", "v2", "endless", "late"],
)
def test_peer_that_sends_no_valid_header_is_cut_off_with_one_line_in_the_log(
    proxy: Proxy, noise: bytes, reason: str
) -> None:
    before = len(proxy.error_log())
    with Balancer(proxy, noise) as balancer:
        assert balancer.read_until_closed()[0] == b""
    proxy.wait_for_log(reason)
    [line] = proxy.error_log()[before:].splitlines()
    assert " INFO " in line
    assert line.endswith(f"{BALANCER}: PROXY protocol: {reason}")


def test_peer_that_leaves_in_the_middle_is_logged(proxy: Proxy) -> None:
    with Balancer(proxy, V2[:20]) as balancer:
        balancer.half_close()
        assert balancer.read_until_closed()[0] == b""
    proxy.wait_for_log("PROXY protocol: closed in the middle of the header")


def test_header_in_single_bytes_is_no_way_around_the_time_out(proxy: Proxy) -> None:
    with Balancer(proxy) as balancer, pytest.raises((ConnectionError, PeerClosed)):
        for byte in b"PROXY UNKNOWN " + b"x" * 91:
            balancer.send(bytes((byte,)))
            if not balancer.is_silent(0.1):
                balancer.read_exactly(1)


def test_peer_that_only_connects_leaves_no_trace(proxy: Proxy) -> None:
    before = proxy.error_log()
    with nothing_left_behind(proxy):
        Balancer(proxy).close()
        Balancer(proxy).reset()
        with Balancer(proxy) as balancer:
            balancer.half_close()
            assert balancer.read_until_closed()[0] == b""
    assert proxy.error_log() == before


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_header_of_a_peer_that_is_not_believed_is_a_bad_request(
    proxy: Proxy, origin: Origin, target: str, header: bytes
) -> None:
    with Client(proxy.address) as client:
        client.send(header + get(target, via(origin)))
        assert client.read_response().status == 400
        assert client.read_until_closed()[0] == b""
    assert target not in [request.target for request in origin.requests]


def test_peers_of_a_unix_socket_are_believed_when_they_are_named(target: str, origin: Origin) -> None:
    with running_proxy(HEARS, python_path=[PLUGINS], binds=["unix:{folder}/front.sock"]) as proxy:
        with Client(proxy.addresses()[0]) as client:
            client.send(V2)
            assert client.ask(get(target, via(origin))).status == 200
    assert origin.requests[-1].get("x-forwarded-for") == b"192.0.2.7"


def test_peers_of_a_unix_socket_are_not_believed_when_they_are_not_named(origin: Origin, target: str) -> None:
    config = {**HEARS, "http": {"proxy_protocol_from": "0.0.0.0/0, ::/0"}}
    with running_proxy(config, python_path=[PLUGINS], binds=["unix:{folder}/front.sock"]) as proxy:
        with Client(proxy.addresses()[0]) as client:
            assert client.ask(get(target, via(origin))).status == 200


@pytest.mark.parametrize(
    ("source", "chain"),
    [("192.0.2.7", b"198.51.100.9, 192.0.2.7"), ("192.0.2.77", b"192.0.2.77")],
    ids=["trusted", "stranger"],
)
def test_x_forwarded_for_counts_when_the_named_client_is_a_trusted_proxy(
    origin: Origin, target: str, source: str, chain: bytes
) -> None:
    """What the balancer passes on is the client's claim, not the balancer's."""
    http = {"proxy_protocol_from": BALANCER, "trusted_proxies": f"{BALANCER}, 192.0.2.0/28"}
    request = get(target, via(origin), "X-Forwarded-For: 198.51.100.9")
    with running_proxy({**HEARS, "http": http}, python_path=[PLUGINS]) as proxy:
        with Balancer(proxy, encode_header("v1", (source, 1), HERE) + request) as balancer:
            assert balancer.read_response().status == 200
    assert origin.requests[-1].get("x-forwarded-for") == chain


@pytest.fixture(scope="module")
def tls_proxy(certificates: Certificates) -> Iterator[Proxy]:
    files = {"cert_file": str(certificates.cert_file), "key_file": str(certificates.key_file)}
    with running_proxy({**HEARS, "ssl": files}, python_path=[PLUGINS]) as proxy:
        yield proxy


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("size", [1, 1 << 16])
def test_header_stands_before_tls(
    tls_proxy: Proxy, certificates: Certificates, origin: Origin, target: str, header: bytes, size: int
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certificates.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with Balancer(tls_proxy) as balancer:
        balancer.say(header + outgoing.read(), size)  # the ClientHello right behind it
        _speak(balancer, tls.do_handshake, incoming, outgoing)
        tls.write(get(target, via(origin)))
        answer = _speak(balancer, lambda: tls.read(1 << 14), incoming, outgoing)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    fields = [origin.requests[-1].get(name) for name in ("x-forwarded-for", "x-forwarded-proto")]
    assert fields == [b"192.0.2.7", b"https"]


def _speak(balancer: Balancer, act: object, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> bytes:
    """Call ``act`` until it needs no more bytes of the peer's."""
    while True:
        try:
            return act() or b""  # type: ignore[operator]
        except ssl.SSLWantReadError:
            balancer.send(outgoing.read())
            incoming.write(balancer.socket.recv(1 << 14))
        finally:
            if outgoing.pending:
                balancer.send(outgoing.read())


def test_tls_without_a_header_is_cut_off(tls_proxy: Proxy, certificates: Certificates) -> None:
    with Balancer(tls_proxy) as balancer, pytest.raises(OSError):
        certificates.client().wrap_socket(balancer.socket, server_hostname="localhost")
    tls_proxy.wait_for_log("PROXY protocol: b'\\x16\\x03")
