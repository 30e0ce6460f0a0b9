"""Idle upstream connections: which are kept, which is used, which are let go."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import pytest

from pyrox.errors import ClientGone
from pyrox.green.pool import UpstreamPool
from pyrox.green.upstream import State, UpstreamConnection
from pyrox.upstreams.server import Server, parse_server
from tests.unit.green.rig import Rig

ONE, TWO = parse_server("http://one.test:80"), parse_server("http://two.test:80")


class FakeConnector:
    """Connects to the rig; ``peers`` are the server's ends, oldest first."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.peers: list[socket.socket] = []

    def connect(self, server: Server, exchange: object = None) -> UpstreamConnection:
        stream, peer = self.rig.upstream()
        self.peers.append(peer)
        return UpstreamConnection(server, stream)


@pytest.fixture
def connector(rig: Rig) -> FakeConnector:
    return FakeConnector(rig)


@pytest.fixture
def pool(rig: Rig, connector: FakeConnector) -> Iterator[UpstreamPool]:
    pool = UpstreamPool(connector, rig.clock, idle_timeout=1.0, idle_connections=2)
    yield pool
    pool.close()


def test_connection_that_was_given_back_is_used_again(pool: UpstreamPool, connector: FakeConnector) -> None:
    connection = pool.checkout(ONE)
    assert (connection.state, connection.is_reused) == (State.ACTIVE, False)
    pool.checkin(connection)
    assert (connection.state, pool.idle_count(ONE)) == (State.IDLE, 1)
    assert pool.checkout(ONE) is connection
    assert (connection.state, connection.is_reused) == (State.ACTIVE, True)
    assert (len(connector.peers), pool.idle_count(ONE)) == (1, 0)


def test_newest_is_used_first(pool: UpstreamPool) -> None:
    old, new = pool.checkout(ONE), pool.checkout(ONE)
    pool.checkin(old)
    pool.checkin(new)
    assert [pool.checkout(ONE), pool.checkout(ONE)] == [new, old]


def test_servers_do_not_share(pool: UpstreamPool) -> None:
    connection = pool.checkout(ONE)
    pool.checkin(connection)
    assert pool.checkout(TWO) is not connection


def test_fresh_asks_for_a_new_one_and_leaves_the_idle_ones(pool: UpstreamPool) -> None:
    connection = pool.checkout(ONE)
    pool.checkin(connection)
    assert pool.checkout(ONE, fresh=True) is not connection
    assert pool.idle_count(ONE) == 1


@pytest.mark.parametrize("act", ["close", "speak"])
def test_idle_connection_whose_server_closes_or_speaks_is_dropped_at_once(
    pool: UpstreamPool, connector: FakeConnector, act: str
) -> None:
    connection = pool.checkout(ONE)
    pool.checkin(connection)
    [peer] = connector.peers
    peer.close() if act == "close" else peer.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    gevent.idle()
    assert (connection.state, pool.idle_count(ONE)) == (State.CLOSED, 0)


@pytest.mark.parametrize("act", ["close", "speak"])
def test_who_needs_to_be_certain_gets_none_that_has_just_gone_stale(
    pool: UpstreamPool, connector: FakeConnector, act: str
) -> None:
    """The hub has had no chance to notice."""
    connection = pool.checkout(ONE)
    pool.checkin(connection)
    [peer] = connector.peers
    peer.close() if act == "close" else peer.send(b"x")
    assert pool.checkout(ONE, certain=True) is not connection
    assert connection.state is State.CLOSED


def test_who_needs_to_be_certain_gets_a_good_one(pool: UpstreamPool) -> None:
    connection = pool.checkout(ONE)
    pool.checkin(connection)
    assert pool.checkout(ONE, certain=True) is connection


def test_idle_connection_is_closed_after_its_time(
    rig: Rig, pool: UpstreamPool, connector: FakeConnector
) -> None:
    connection = pool.checkout(ONE)
    pool.checkin(connection)
    rig.clock.pass_by(rig.clock.ticks(1.0) - 1)
    assert connection.state is State.IDLE
    rig.clock.pass_by(1)
    assert (connection.state, pool.idle_count(ONE)) == (State.CLOSED, 0)
    assert connector.peers[0].recv(1) == b""


def test_connection_in_use_outlives_the_idle_time(
    rig: Rig, pool: UpstreamPool, connector: FakeConnector
) -> None:
    connection = pool.checkout(ONE)
    pool.checkin(connection)
    assert pool.checkout(ONE) is connection
    rig.clock.pass_by(100)
    connector.peers[0].send(b"an answer")
    gevent.idle()
    assert connection.state is State.ACTIVE
    assert connection.stream.receive(1) == b"an answer"


def test_no_more_are_kept_than_allowed(pool: UpstreamPool) -> None:
    connections = [pool.checkout(ONE) for _ in range(3)]
    for connection in connections:
        pool.checkin(connection)
    assert pool.idle_count(ONE) == 2
    assert connections[2].state is State.CLOSED


def test_connection_with_bytes_beyond_its_response_is_not_kept(pool: UpstreamPool) -> None:
    connection = pool.checkout(ONE)
    connection.stream.buffer = b"HTTP/1.1 200 OK"
    pool.checkin(connection)
    assert (connection.state, pool.idle_count(ONE)) == (State.CLOSED, 0)


def test_connection_on_which_an_exchange_was_cancelled_is_not_kept(pool: UpstreamPool) -> None:
    connection = pool.checkout(ONE)
    connection.stream.fail(ClientGone("left"))
    pool.checkin(connection)
    assert (connection.state, pool.idle_count(ONE)) == (State.CLOSED, 0)


def test_discarded_connection_is_closed(pool: UpstreamPool, connector: FakeConnector) -> None:
    connection = pool.checkout(ONE)
    pool.discard(connection)
    assert connection.state is State.CLOSED
    assert connector.peers[0].recv(1) == b""


def test_closed_pool_keeps_nothing(pool: UpstreamPool) -> None:
    idle, active = pool.checkout(ONE), pool.checkout(ONE)
    pool.checkin(idle)
    pool.close()
    assert idle.state is State.CLOSED
    pool.checkin(active)
    assert active.state is State.CLOSED


def test_servers_that_nothing_is_kept_for_are_forgotten(rig: Rig, pool: UpstreamPool) -> None:
    """Middleware may route to ever new servers; remembering each would be a leak."""
    for number in range(50):
        server = parse_server(f"http://server-{number}.test")
        pool.checkin(pool.checkout(server))
        if number % 2:
            pool.discard(pool.checkout(server))
    rig.clock.pass_by(rig.clock.ticks(1.0))
    assert pool._idle == {}
