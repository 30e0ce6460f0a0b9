"""One request to one server and its response back, over socket pairs instead of a network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pyrox.errors import ClientGone, ConnectError, UpstreamClosed, UpstreamError, UpstreamTimeout
from pyrox.green.exchange import LiveExchange
from pyrox.green.forwarder import Forwarder
from pyrox.green.pool import UpstreamPool
from pyrox.green.upstream import State, UpstreamConnection
from pyrox.http.framing import ChunkLimits
from pyrox.http.head import HeadLimits
from pyrox.http.head_cache import HeadCache
from pyrox.http.message import Request, Response
from pyrox.middleware.base import BodyFilter
from pyrox.router import Router
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.server import Server, parse_server
from tests.unit.green.rig import PATIENCE, Rig, drain, soon

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SERVERS = [parse_server("http://one.test"), parse_server("http://two.test:8080")]
Serve = Callable[[socket.socket], object]


class FakeConnector:
    """Gives the nth connection to the nth of ``scripts``; None there refuses to connect."""

    def __init__(self, rig: Rig, scripts: list[Serve | None]) -> None:
        self.rig = rig
        self.scripts = scripts
        self.connections: list[UpstreamConnection] = []
        self.peers: list[socket.socket] = []

    def connect(self, server: Server, exchange: object = None) -> UpstreamConnection:
        script = self.scripts.pop(0)
        if script is None:
            raise ConnectError(f"{server}: refused")
        stream, peer = self.rig.upstream()
        connection = UpstreamConnection(server, stream)
        self.connections.append(connection)
        self.peers.append(peer)
        gevent.spawn(script, peer)
        return connection


class Bench:
    """A forwarder with everything around it."""

    def __init__(self, rig: Rig, *scripts: Serve | None, preserve_host: bool = True) -> None:
        self.rig = rig
        self.connector = FakeConnector(rig, list(scripts))
        self.pool = UpstreamPool(self.connector, rig.clock, 60.0, 8)  # type: ignore[arg-type]
        self.owner: LiveExchange | None = None
        self.forward = Forwarder(
            Router(Cluster("all", SERVERS)),
            self.pool,
            HeadCache(HeadLimits()),
            ChunkLimits(),
            first_byte_patience=PATIENCE,
            read_patience=PATIENCE,
            preserve_host=preserve_host,
            current_exchange=lambda: self.owner,
        )

    def exchange(self, request: Request) -> LiveExchange:
        """Make ``request`` one of a client, whose other end nobody looks at."""
        stream, self.client = self.rig.client()
        exchange = LiveExchange(stream, "10.0.0.1", 0.0)
        exchange.request = request
        request.exchange = exchange
        return exchange

    def states(self) -> list[State]:
        return [connection.state for connection in self.connector.connections]


def serve(*answers: bytes) -> Serve:
    """Answer each thing that comes with the next of ``answers``; close after the last."""

    def run(peer: socket.socket) -> None:
        for answer in answers:
            received[peer] = received.get(peer, b"") + wait_for_bytes(peer)
            peer.sendall(answer)

    return run


received: dict[socket.socket, bytes] = {}


def wait_for_bytes(peer: socket.socket) -> bytes:
    """Return what comes; ends the greenlet when nothing more can."""
    while True:
        try:
            data = peer.recv(1 << 16)
        except BlockingIOError:
            gevent.idle()
            continue
        except OSError:
            raise gevent.GreenletExit from None
        if not data:
            raise gevent.GreenletExit
        return data


def reset_after(*answers: bytes) -> Serve:
    """Serve ``answers``, wait for one more request, and end without an answer to it."""

    def run(peer: socket.socket) -> None:
        serve(*answers)(peer)
        received[peer] = received.get(peer, b"") + wait_for_bytes(peer)
        peer.close()

    return run


@pytest.fixture(autouse=True)
def nothing_received() -> Iterator[None]:
    received.clear()
    yield
    received.clear()


def request_of(method: str = "GET", body: Any = b"", **fields: str) -> Request:
    return Request(method, "/path?query", {"Host": "a.test", **fields}, body)


def sent(bench: Bench, index: int = 0) -> bytes:
    return received[bench.connector.peers[index]]


# --- what the server gets


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("GET", b"", b""),
        ("POST", b"", b"Content-Length: 0\r\n"),
        ("DELETE", b"", b""),
        ("POST", b"hello", b"Content-Length: 5\r\n"),
        ("GET", b"hello", b"Content-Length: 5\r\n"),
    ],
)
def test_request_with_a_body_in_memory_is_sent_at_once_with_its_length(
    rig: Rig, method: str, body: bytes, framing: bytes
) -> None:
    bench = Bench(rig, serve(OK))
    response = bench.forward(request_of(method, body))
    assert (response.status, response.read_body(), response.made_by) == (200, b"ok", "upstream")
    head = f"{method} /path?query HTTP/1.1\r\nHost: a.test\r\n".encode()
    assert sent(bench) == head + framing + b"\r\n" + body


def test_body_that_is_iterated_is_sent_chunked_with_its_trailers(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 100 Continue\r\n\r\n", OK))
    request = request_of("POST", iter([b"abc", b"", b"de"]))
    assert bench.forward(request).status == 200
    assert sent(bench).endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


def test_filtered_body_is_sent_chunked(rig: Rig) -> None:
    class Upper(BodyFilter):
        def feed(self, chunk: bytes) -> bytes:
            return chunk.upper()

        def finish(self) -> bytes:
            return b"!"

    bench = Bench(rig, serve(b"HTTP/1.1 100 Continue\r\n\r\n", OK))
    request = request_of("PUT", b"abc")
    request.filter_body(Upper())
    assert bench.forward(request).status == 200
    assert sent(bench).endswith(b"\r\n\r\n3\r\nABC\r\n1\r\n!\r\n0\r\n\r\n")


@pytest.mark.parametrize(("preserve", "host"), [(True, b"a.test"), (False, b"one.test")])
def test_host_is_the_client_s_or_the_server_s_and_stands_first(rig: Rig, preserve: bool, host: bytes) -> None:
    bench = Bench(rig, serve(OK), preserve_host=preserve)
    bench.forward(request_of())
    assert sent(bench).split(b"\r\n")[1] == b"Host: " + host
    assert sent(bench).lower().count(b"host:") == 1


def test_request_without_a_host_gets_the_server_s(rig: Rig) -> None:
    bench = Bench(rig, serve(OK))
    bench.forward(Request("GET", "/"))
    assert b"Host: one.test\r\n" in sent(bench)


def test_upgrade_and_te_are_said_to_the_next_hop(rig: Rig) -> None:
    bench = Bench(rig, serve(OK), serve(OK))
    request = request_of()
    request.upgrade = "websocket"
    bench.forward(request)
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in sent(bench)
    request = request_of()
    request.accepts_trailers = True
    bench.forward(request)
    assert b"Connection: TE\r\nTE: trailers\r\n" in sent(bench, 1)


# --- what becomes of the connection


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (OK, State.IDLE),
        (b"HTTP/1.1 204 No Content\r\n\r\n", State.IDLE),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", State.CLOSED),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", State.CLOSED),
        (OK + b"more", State.CLOSED),
    ],
)
def test_connection_is_kept_when_both_messages_ended_on_their_boundary(
    rig: Rig, answer: bytes, state: State
) -> None:
    bench = Bench(rig, lambda peer: [serve(answer)(peer)])
    response = bench.forward(request_of())
    response.read_body()
    response.close()
    assert bench.states() == [state]


def test_connection_stays_in_use_until_a_streamed_body_was_read_and_closed(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", OK))
    response = bench.forward(request_of())
    assert bench.states() == [State.ACTIVE]
    bench.connector.peers[0].sendall(b"0\r\n\r\n")
    assert response.read_body() == b"ok"
    response.close()
    assert bench.states() == [State.IDLE]


def test_response_that_is_closed_before_its_body_was_read_costs_the_connection(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", OK))
    bench.forward(request_of()).close()
    assert bench.states() == [State.CLOSED]


def test_early_answer_stops_the_upload_and_costs_the_connection(rig: Rig) -> None:
    never = gevent.event.Event()

    def body() -> Iterator[bytes]:
        yield b"first"
        never.wait()
        yield b"second"

    bench = Bench(rig, serve(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno", OK))
    response = bench.forward(request_of("POST", body()))
    assert (response.status, response.read_body()) == (413, b"no")
    assert bench.states() == [State.ACTIVE]
    response.close()
    assert bench.states() == [State.CLOSED]


# --- trying again


def stale(rig: Rig, *later: Serve | None) -> Bench:
    """A bench whose pool holds a connection that ends when the next request comes on it."""
    bench = Bench(rig, reset_after(OK), *later)
    bench.forward(request_of())
    assert bench.states() == [State.IDLE]
    # Round robin: bring the server of that connection up again.
    bench.forward._router.route(request_of())._next = 0  # type: ignore[attr-defined]
    return bench


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"])
def test_idempotent_request_on_a_stale_connection_is_sent_again_on_a_fresh_one(rig: Rig, method: str) -> None:
    bench = stale(rig, serve(OK.removesuffix(b"ok") if method == "HEAD" else OK))
    request = request_of(method, b"body" if method == "PUT" else b"")
    exchange = bench.exchange(request)
    assert bench.forward(request).status == 200
    assert bench.states() == [State.CLOSED, State.IDLE]
    assert sent(bench, 1) in sent(bench, 0)
    assert (exchange.retries, exchange.server) == (1, "http://one.test")


@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
def test_other_request_on_a_stale_connection_is_not_sent_again(rig: Rig, method: str) -> None:
    bench = stale(rig, serve(OK))
    with pytest.raises(UpstreamClosed):
        bench.forward(request_of(method, b"pay"))
    assert len(bench.connector.connections) == 1


def test_streamed_body_on_a_stale_connection_is_not_sent_again(rig: Rig) -> None:
    bench = stale(rig, serve(OK))
    with pytest.raises(UpstreamClosed):
        bench.forward(request_of("PUT", iter([b"abc"])))


@pytest.mark.parametrize("some", [b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_request_whose_response_had_begun_is_not_sent_again(rig: Rig, some: bytes) -> None:
    def begin_and_end(peer: socket.socket) -> None:
        serve(OK)(peer)
        wait_for_bytes(peer)
        peer.sendall(some)
        peer.close()

    bench = Bench(rig, begin_and_end, serve(OK))
    bench.forward(request_of())
    bench.forward._router.route(request_of())._next = 0  # type: ignore[attr-defined]
    with pytest.raises(UpstreamClosed):
        bench.forward(request_of())
    assert len(bench.connector.connections) == 1


def test_refused_connect_is_tried_on_the_next_server_for_any_method(rig: Rig) -> None:
    bench = Bench(rig, None, serve(OK))
    request = request_of("POST", b"pay")
    exchange = bench.exchange(request)
    assert bench.forward(request).status == 200
    assert (exchange.retries, exchange.server) == (1, "http://two.test:8080")


def test_when_every_server_refuses_the_last_refusal_is_told(rig: Rig) -> None:
    bench = Bench(rig, None, None)
    with pytest.raises(ConnectError, match=r"two\.test"):
        bench.forward(request_of())


# --- what servers do wrong


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_answer_that_is_none_is_an_upstream_error_and_costs_the_connection(rig: Rig, answer: bytes) -> None:
    bench = Bench(rig, serve(answer, OK))
    with pytest.raises(UpstreamError) as caught:
        bench.forward(request_of())
    assert caught.value.status == 502
    assert bench.states() == [State.CLOSED]


def test_silence_is_a_time_out_and_costs_the_connection(rig: Rig) -> None:
    bench = Bench(rig, lambda peer: None)
    rig.clock.advance(PATIENCE)
    with pytest.raises(UpstreamTimeout):
        bench.forward(request_of())
    assert bench.states() == [State.CLOSED]


def test_time_for_the_first_byte_begins_when_the_request_is_complete(rig: Rig) -> None:
    finished: list[int] = []

    def body() -> Iterator[bytes]:
        for _ in range(3):
            rig.clock.pass_by(PATIENCE - 1)
            yield b"x"
        finished.append(rig.clock.now)
        for _ in range(PATIENCE + 2):
            gevent.spawn_later(0, rig.clock.advance)

    bench = Bench(rig, lambda peer: None)
    with pytest.raises(UpstreamTimeout):
        bench.forward(request_of("POST", body()))
    assert finished[0] == 3 * (PATIENCE - 1)
    assert rig.clock.now >= finished[0] + PATIENCE


# --- the exchange it is done for


def test_informational_responses_go_to_the_client_at_once(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK))
    request = request_of()
    exchange = bench.exchange(request)
    assert bench.forward(request).status == 200
    assert drain(bench.client).startswith(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n")
    assert exchange.bytes_sent == exchange.head_bytes_sent > 0


def test_cancelled_exchange_gives_up_its_server_at_once(rig: Rig) -> None:
    bench = Bench(rig, lambda peer: None)
    request = request_of()
    exchange = bench.exchange(request)
    forwarding = soon(bench.forward, request)
    gevent.idle()
    exchange.cancel(ClientGone("left"))
    with pytest.raises(ClientGone):
        forwarding.get()
    assert bench.states() == [State.CLOSED]


def test_exchange_that_was_cancelled_before_asks_no_server(rig: Rig) -> None:
    bench = Bench(rig, serve(OK))
    request = request_of()
    bench.exchange(request).cancel(ClientGone("left"))
    with pytest.raises(ClientGone):
        bench.forward(request)
    assert bench.connector.peers[0] not in received


def test_request_of_a_middleware_s_own_is_released_with_the_exchange_it_is_made_in(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", OK))
    bench.owner = bench.exchange(request_of())
    closed: list[str] = []
    bench.forward(Request("GET", "/side")).on_close(lambda: closed.append("side"))
    bench.owner.release(Response(200))
    assert (bench.states(), closed) == ([State.CLOSED], ["side"])


def test_body_that_was_read_already_is_refused_before_anything_is_sent(rig: Rig) -> None:
    body = iter([b"abc"])
    bench = Bench(rig, serve(b"HTTP/1.1 100 Continue\r\n\r\n", OK), serve(OK))
    request = request_of("POST", body)
    exchange = bench.exchange(request)
    assert bench.forward(request).status == 200
    with pytest.raises(RuntimeError, match="read_body"):
        bench.forward(request)
    assert bench.connector.peers[1] not in received
    exchange.release(None)
