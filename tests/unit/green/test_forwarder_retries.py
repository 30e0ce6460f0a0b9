"""What is sent again, to whom, and what is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import pytest

from pyrox.errors import ConnectError, UpstreamClosed, UpstreamTimeout
from pyrox.green.upstream import State
from pyrox.upstreams.member import Member
from pyrox.upstreams.watcher import Watcher
from tests.unit.green.bench import OK, Bench, Serve, request_of, reset_after, sent, serve, wait_for_bytes
from tests.unit.green.rig import Rig


def stale(rig: Rig, *later: Serve | None) -> Bench:
    """A bench whose pool holds a connection that ends when the next request comes on it."""
    bench = Bench(rig, reset_after(OK), *later)
    bench.forward(request_of())
    assert bench.states() == [State.IDLE]
    # In turn: the next is the server of that connection again.
    bench.cluster.choose(request_of(), 0.0)
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
    bench.cluster.choose(request_of(), 0.0)
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


# --- whose fault it was


class Blames(Watcher):
    def __init__(self) -> None:
        self.members: list[Member] = []

    def failed(self, member: Member, seconds: float, now: float) -> None:
        self.members.append(member)


@pytest.mark.parametrize(("method", "blames"), [("GET", 1), ("POST", 0)])
def test_server_is_not_blamed_for_an_exchange_that_takes_too_long_to_upload(
    rig: Rig, method: str, blames: int
) -> None:
    def never_ending() -> Iterator[bytes]:
        yield b"a piece"
        gevent.sleep(60)

    bench = Bench(rig, wait_for_bytes)
    bench.cluster.watch(watcher := Blames())
    request = request_of(method, never_ending() if method == "POST" else b"")
    exchange = bench.exchange(request)
    gevent.spawn_later(0.01, exchange.cancel, UpstreamTimeout("the exchange took too long"))
    with pytest.raises(UpstreamTimeout):
        bench.forward(request)
    assert len(watcher.members) == blames
