"""Where a connection goes, before there is one."""

from __future__ import annotations

import errno
import socket
from types import SimpleNamespace

import gevent
import pytest

from pyrox.config import parse_settings
from pyrox.errors import ClientGone, ConnectError, ProxyError, UpstreamTimeout
from pyrox.green import upstream
from pyrox.green.exchange import LiveExchange
from pyrox.green.stream import StreamSettings
from pyrox.green.upstream import Connector
from pyrox.upstreams.server import parse_server
from tests.unit.green.rig import PATIENCE, Rig


@pytest.fixture
def connector(rig: Rig) -> Connector:
    return Connector(StreamSettings(rig.clock, PATIENCE, 65536), parse_settings("").timeouts, None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", [(socket.AF_INET, ("127.0.0.1", 8000))]),
        ("http://[::1]:8000", [(socket.AF_INET6, ("::1", 8000, 0, 0))]),
        ("unix:/run/app.sock", [(socket.AF_UNIX, "/run/app.sock")]),
    ],
)
def test_address_that_is_no_name_is_not_looked_up(
    connector: Connector, monkeypatch: pytest.MonkeyPatch, url: str, expected: object
) -> None:
    """A look-up takes one of a few threads, and slow name servers may have all of them."""
    monkeypatch.setattr(upstream.gevent_socket, "getaddrinfo", None)
    assert connector._addresses(parse_server(url)) == expected


def test_name_is_looked_up_and_each_of_its_addresses_may_be_tried(
    connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(name: bytes, port: int, type: int) -> object:
        assert (name, port, type) == (b"app.test", 80, socket.SOCK_STREAM)
        return [(socket.AF_INET, type, 6, "", (f"10.0.0.{number}", port)) for number in (1, 2)]

    monkeypatch.setattr(upstream.gevent_socket, "getaddrinfo", look_up)
    found = connector._addresses(parse_server("http://app.test"))
    assert found == [(socket.AF_INET, ("10.0.0.1", 80)), (socket.AF_INET, ("10.0.0.2", 80))]


@pytest.mark.parametrize("error", [ClientGone("left"), UpstreamTimeout("the exchange took too long")])
def test_end_of_the_exchange_ends_the_look_up_of_a_name(
    rig: Rig, connector: Connector, monkeypatch: pytest.MonkeyPatch, error: ProxyError
) -> None:
    exchange = LiveExchange(rig.client()[0], "10.0.0.1", 0.0)

    def look_up(*_: object, **__: object) -> object:
        gevent.spawn(exchange.cancel, error)
        gevent.sleep(60)
        raise AssertionError

    monkeypatch.setattr(upstream.gevent_socket, "getaddrinfo", look_up)
    for _ in range(2):  # and nobody begins another one then
        with pytest.raises(type(error)) as raised:
            connector.connect(parse_server("http://app.test"), exchange)
        assert raised.value is error
    assert exchange.waits == ()


class NarrowSocket:
    """Takes three bytes at most, or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error

    def send(self, data: bytes, flags: int) -> int:
        if self.error is not None:
            raise self.error
        return min(len(data), 3)


@pytest.mark.parametrize(
    ("sock", "reason"),
    [
        (NarrowSocket(), "http://app.test: takes no PROXY protocol header"),
        (
            NarrowSocket(ConnectionResetError(errno.ECONNRESET, "")),
            "http://app.test: Connection reset by peer",
        ),
    ],
)
def test_server_that_does_not_take_the_header_counts_as_not_connected(sock: object, reason: str) -> None:
    """So another one is tried: nothing of the request was sent."""
    stream = SimpleNamespace(sock=sock)
    with pytest.raises(ConnectError) as caught:
        upstream._introduce(parse_server("http://app.test"), stream, b"PROXY UNKNOWN\r\n")  # type: ignore[arg-type]
    assert (caught.value.detail, caught.value.retryable) == (reason, True)
