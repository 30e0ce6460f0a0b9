"""After a 101: bytes both ways, half-close respected; WebSocket with a client that is not ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

from tests.integration.kit import get, record_of, tell, via
from tests.support.origin import (
    OK,
    Origin,
    Step,
    expect_bytes,
    expect_close,
    expect_request,
    half_close,
    reset,
    send,
    serve,
    wait,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
UPGRADE = ("Connection: Upgrade", "Upgrade: talk")


def echo_until_end() -> Step:
    """Send back what comes until the other side has ended; then end."""

    def step(connection) -> None:
        while data := connection.socket.recv(1 << 16):
            connection.socket.sendall(data)

    return step


def open_tunnel(client: Client, target: str, origin: Origin) -> None:
    client.send(get(target, via(origin), *UPGRADE))
    head = client.read_response_head()
    assert (head.status, head.get("upgrade"), head.get("connection")) == (101, b"talk", b"Upgrade")


@pytest.fixture(scope="module")
def demo() -> Iterator[Proxy]:
    with running_proxy({"routing": {"upstream_hosts": "demo"}}) as proxy:
        yield proxy


@pytest.fixture
def websocket(demo: Proxy) -> Iterator[ClientConnection]:
    uri = f"ws://127.0.0.1:{demo.port}/ws"
    with connect(uri, max_size=None, compression=None, open_timeout=20, close_timeout=20) as websocket:
        yield websocket


def test_websocket_echoes_10_mb_in_one_message(websocket: ClientConnection) -> None:
    message = bytes(range(256)) * (10_000_000 // 256)
    websocket.send(message)
    assert websocket.recv(timeout=60) == message


def test_websocket_echoes_10_mb_in_many_messages(websocket: ClientConnection) -> None:
    messages = [b"%04d" % number + bytes(99_996) for number in range(100)]
    for message in messages:
        websocket.send(message)
        assert websocket.recv(timeout=30) == message


def test_websocket_ping_is_answered_and_text_stays_text(websocket: ClientConnection) -> None:
    assert websocket.ping(b"are you there?").wait(20)
    websocket.send("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n")
    assert websocket.recv(timeout=20) == "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"


def test_websocket_close_handshake_goes_through(websocket: ClientConnection) -> None:
    websocket.close(4000, "enough")
    with pytest.raises(ConnectionClosedOK if websocket.close_code == 1000 else Exception):
        websocket.recv(timeout=1)
    assert (websocket.close_code, websocket.close_reason) == (4000, "enough")


def test_bytes_sent_with_the_upgrade_request_and_with_its_answer_are_not_lost(
    client: Client, target: str
) -> None:
    script = [expect_request(), send(SWITCH + b"first"), expect_bytes(5), send(b"last"), expect_close()]
    with Origin(script) as origin:
        client.send(get(target, via(origin), *UPGRADE) + b"eager")
        assert client.read_response_head().status == 101
        assert client.read_exactly(9) == b"firstlast"
        client.close()
        assert origin.wait_for_end().received.endswith(b"\r\n\r\neager")


def test_client_that_half_closes_a_tunnel_still_receives(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    ended, go = threading.Event(), threading.Event()
    script = [expect_request(), send(SWITCH), expect_close(), tell(ended), wait(go), send(b"last words")]
    with Origin(script) as origin:
        open_tunnel(client, target, origin)
        client.send(b"request")
        client.half_close()
        assert ended.wait(10)
        assert client.is_silent(0.8)  # longer than client_half_closed, which is for exchanges
        go.set()
        assert client.read_until_closed() == (b"last words", "eof")
        assert origin.wait_for_end().received.endswith(b"request")
    record = record_of(shared_proxy, target)
    assert (record["status"], record["error"]) == (101, None)


def test_upstream_that_half_closes_a_tunnel_still_receives(client: Client, target: str) -> None:
    with Origin([expect_request(), send(SWITCH), send(b"bye"), half_close(), expect_close()]) as origin:
        open_tunnel(client, target, origin)
        assert client.read_until_closed() == (b"bye", "eof")
        for _ in range(5):
            client.send(b"more")
        client.half_close()
        assert origin.wait_for_end().received.endswith(b"more" * 5)
        assert origin.connections[0].ended == "script"


def test_both_ends_of_a_tunnel_are_closed_when_both_have_ended(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_request(), send(SWITCH), echo_until_end()]) as origin:
        open_tunnel(client, target, origin)
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"
        client.half_close()
        assert client.read_until_closed() == (b"", "eof")
        origin.wait_for_end()
    record = record_of(shared_proxy, target)
    assert record["bytes_in"] > record["bytes_out"] > len(b"hello")


def test_client_that_resets_a_tunnel_ends_it_upstream(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_request(), send(SWITCH), expect_close()]) as origin:
        open_tunnel(client, target, origin)
        client.reset()
        origin.wait_for_end()
    assert record_of(shared_proxy, target)["status"] == 101


def test_upstream_that_resets_a_tunnel_ends_it_at_the_client(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_request(), send(SWITCH), expect_bytes(1), reset()]) as origin:
        open_tunnel(client, target, origin)
        client.send(b"x")
        assert client.read_until_closed()[0] == b""
    assert record_of(shared_proxy, target)["status"] == 101


def test_tunnel_holds_a_sender_back_whose_peer_does_not_read(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    go = threading.Event()
    before = shared_proxy.rss()
    with Origin([expect_request(), send(SWITCH), wait(go), expect_close()], keep=False) as origin:
        open_tunnel(client, target, origin)
        client.socket.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 256 << 20:
                sent += client.socket.send(bytes(1 << 16))
        assert shared_proxy.rss() - before < 4 << 20
        client.reset()
        go.set()
    assert sent < 64 << 20


def test_many_tunnels_do_not_hinder_each_other(shared_proxy: Proxy, target: str) -> None:
    with Origin([expect_request(), send(SWITCH), echo_until_end()]) as origin:
        clients = [Client(shared_proxy.address) for _ in range(50)]
        for client in clients:
            open_tunnel(client, target, origin)
        for number, client in enumerate(clients):
            client.send(b"%04d" % number)
        assert [client.read_exactly(4) for client in clients] == [b"%04d" % number for number in range(50)]
        for client in clients:
            client.close()


def test_upgrade_that_the_upstream_declines_is_a_plain_exchange(client: Client, target: str) -> None:
    with Origin(serve(OK)) as origin:
        assert client.ask(get(target, via(origin), *UPGRADE)).body == b"ok"
        assert origin.requests[0].get("upgrade") == b"talk"
        assert client.ask(get(target, via(origin))).body == b"ok"
        assert len(origin.connections) == 1


def test_101_that_nobody_asked_for_is_a_502(client: Client, target: str) -> None:
    with Origin([expect_request(), send(SWITCH), expect_close()]) as origin:
        answer = client.ask(get(target, via(origin)))
        assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=http_upgrade_failed")


def test_h2c_is_never_offered_upstream(client: Client, target: str) -> None:
    with Origin(serve(OK)) as origin:
        offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        assert client.ask(get(target, via(origin), *offer)).status == 200
        request = origin.requests[0]
        assert (request.get("upgrade"), request.get("http2-settings")) == (None, None)
