"""Bytes both ways until both sides have ended."""

from __future__ import annotations

import socket

import gevent
import pytest

from pyrox.green.stream import SocketStream
from pyrox.green.tunnel import Tunnel
from tests.unit.green.rig import Rig, drain, soon

PATIENCE = 5


class Ends:
    """A running tunnel between two socket pairs; ``client`` and ``server`` are the outer ends."""

    def __init__(self, rig: Rig, early: bytes = b"") -> None:
        self.rig = rig
        self._client, self.client = rig.client(write_patience=1000)
        self._upstream, self.server = rig.upstream(write_patience=1000)
        self._upstream.buffer = early
        self.tunnel = Tunnel(self._client, self._upstream, rig.clock, PATIENCE)
        self.running = soon(self.tunnel.run)
        gevent.idle()

    @property
    def streams(self) -> list[SocketStream]:
        return [self._client, self._upstream]


@pytest.fixture
def ends(rig: Rig) -> Ends:
    return Ends(rig)


def read(sock: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += drain(sock)
        gevent.idle()
    return found


def is_at_end(sock: socket.socket) -> bool:
    gevent.idle()
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False


def test_bytes_pass_both_ways_and_are_counted(ends: Ends) -> None:
    ends.client.send(b"ping")
    assert read(ends.server, 4) == b"ping"
    ends.server.send(b"pong!")
    assert read(ends.client, 5) == b"pong!"
    ends.client.close()
    ends.server.close()
    ends.running.get()
    assert (ends.tunnel.received, ends.tunnel.sent) == (4, 5)


def test_what_came_with_the_upstream_s_answer_goes_first(rig: Rig) -> None:
    ends = Ends(rig, early=b"early ")
    ends.server.send(b"late")
    assert read(ends.client, 10) == b"early late"


@pytest.mark.parametrize("first", ["client", "server"])
def test_end_of_one_side_is_passed_on_and_the_other_goes_on(ends: Ends, first: str) -> None:
    one, other = (ends.client, ends.server) if first == "client" else (ends.server, ends.client)
    one.send(b"last words")
    one.shutdown(socket.SHUT_WR)
    assert read(other, 10) == b"last words"
    assert is_at_end(other)
    other.send(b"still here")
    assert read(one, 10) == b"still here"
    assert not ends.running.ready()
    other.shutdown(socket.SHUT_WR)
    assert is_at_end(one)
    ends.running.get()


@pytest.mark.parametrize("first", ["client", "server"])
def test_lost_peer_ends_both_directions(ends: Ends, first: str) -> None:
    one, other = (ends.client, ends.server) if first == "client" else (ends.server, ends.client)
    one.close()  # with nobody to read what comes next
    other.send(b"x")
    gevent.idle()
    other.send(b"x")
    ends.running.get()
    assert [stream.failure is not None for stream in ends.streams] == [True, True]


def test_silence_in_both_directions_ends_it(ends: Ends) -> None:
    ends.rig.clock.pass_by(PATIENCE - 1)
    assert not ends.running.ready()
    ends.rig.clock.pass_by(2)
    ends.running.get()


@pytest.mark.parametrize("speaker", ["client", "server"])
def test_one_direction_keeps_the_other_alive(ends: Ends, speaker: str) -> None:
    for _ in range(10):
        getattr(ends, speaker).send(b"x")
        ends.rig.clock.pass_by(PATIENCE - 2)
    assert not ends.running.ready()
    ends.rig.clock.pass_by(2 * PATIENCE)
    ends.running.get()


def test_cancelled_tunnel_ends(ends: Ends) -> None:
    for stream in ends.streams:
        stream.fail(stream.gone("the proxy stops"))
    ends.running.get()
