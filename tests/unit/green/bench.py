"""A forwarder with everything around it, over socket pairs instead of a network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent

from pyrox.errors import ConnectError
from pyrox.green.exchange import LiveExchange
from pyrox.green.forwarder import Forwarder
from pyrox.green.pool import UpstreamPool
from pyrox.green.upstream import State, UpstreamConnection
from pyrox.http.framing import ChunkLimits
from pyrox.http.head import HeadLimits
from pyrox.http.head_cache import HeadCache
from pyrox.http.message import Request
from pyrox.router import Router
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.server import Server, parse_server
from tests.unit.green.rig import PATIENCE, Rig

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
        self.cluster = Cluster("all", [Member(server) for server in SERVERS])
        self.forward = Forwarder(
            Router({"all": self.cluster}, "all"),
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


def request_of(method: str = "GET", body: Any = b"", **fields: str) -> Request:
    return Request(method, "/path?query", {"Host": "a.test", **fields}, body)


def sent(bench: Bench, index: int = 0) -> bytes:
    return received[bench.connector.peers[index]]
