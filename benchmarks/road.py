"""The whole road of a request through one worker, without the kernel: for measuring what Python does on it.

Everything is what the proxy itself builds of a configuration: connection, stack, routes, forwarder, pool,
streams, access log. Only the sockets are not: they take what is sent, and have what is read. So a request
costs no system call and no wait, and the figures of one machine are steady.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, islice, repeat

from pyrox.config import parse_settings
from pyrox.green.client import ClientConnection
from pyrox.green.engine import Engine
from pyrox.green.exchange import LiveExchange
from pyrox.green.health_board import HealthBoard
from pyrox.green.stream import ClientStream, UpstreamStream
from pyrox.green.tls_contexts import Tls, UpstreamTls
from pyrox.green.upstream import Connector, UpstreamConnection
from pyrox.http.forwarding import ClientSide
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.server import Server

REQUESTS = 500  # that each client connection carries

FIELDS = (
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Referer: http://localhost/index.html\r\nCookie: session=0123456789abcdef; theme=dark\r\n"
)
GET = b"GET /v9/users/42?page=1 HTTP/1.1\r\nHost: h99.test\r\n" + FIELDS + b"\r\n"
POST = GET.replace(b"GET", b"POST")[:-2] + b"Content-Length: 1024\r\n\r\n" + b"x" * 1024
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 254\r\nConnection: keep-alive\r\n\r\n" + b"1" * 254
)


def varied(request: bytes = GET) -> Iterator[bytes]:
    """Make endless requests of ``request``, each with a line that was in none before."""
    head, body = request.split(b"\r\n\r\n", 1)
    for number in count(1):
        yield b"%b\r\nTraceparent: 00-%032x-%016x-01\r\n\r\n%b" % (head, number, number, body)


class ClientSocket:
    """The socket of a client that sends ``requests``, and leaves."""

    def __init__(self, requests: Iterable[bytes]) -> None:
        self._fd = os.eventfd(0)
        self._requests = iter(requests)

    def recv(self, _size: int) -> bytes:
        return next(self._requests, b"")

    def send(self, data: bytes) -> int:
        return len(data)

    def fileno(self) -> int:
        return self._fd

    def shutdown(self, _how: int) -> None:
        pass

    def close(self) -> None:
        os.close(self._fd)


class ServerSocket(ClientSocket):
    """The socket of a server that always has its answer ready."""

    def __init__(self) -> None:
        super().__init__(())

    def recv(self, _size: int, *_flags: int) -> bytes:
        if _flags:  # the pool asks whether an idle connection has anything to say
            raise BlockingIOError
        return RESPONSE


class Client(ClientStream):
    """A client's stream that never waits."""

    def _wait_readable(self) -> None:
        pass


class Upstream(UpstreamStream):
    """A server's stream that never waits."""

    def _wait_readable(self) -> None:
        pass


class InstantConnector(Connector):
    """Connects to every server at once."""

    def connect(self, server: Server, exchange: LiveExchange | None = None) -> UpstreamConnection:
        return UpstreamConnection(server, Upstream(ServerSocket(), self._streams))


class RoadEngine(Engine):
    """A worker's engine whose servers answer at once."""

    def _make_connector(self, tls: UpstreamTls) -> Connector:
        return InstantConnector(self._streams(1.0), self.settings.timeouts, tls)


def travel(
    configuration: str,
    request: bytes | Iterator[bytes] = GET,
    prepare: Callable[[Mapping[str, Cluster]], None] | None = None,
) -> Callable[[], None]:
    """Return what sends ``REQUESTS`` requests down the road that ``configuration`` makes.

    Each of them is ``request``, or the next of these. ``prepare`` gets the clusters first, to put them into
    some state.
    """
    settings = parse_settings(configuration)
    engine = RoadEngine(settings, Tls(settings), HealthBoard())
    if prepare is not None:
        prepare(engine._clusters)
    requests = repeat(request) if isinstance(request, bytes) else request
    side = ClientSide("127.0.0.1", 40000)

    def one_connection() -> None:
        stream = Client(ClientSocket(islice(requests, REQUESTS)), engine.client_streams)
        ClientConnection(engine, stream, side, engine.app).serve()

    one_connection()  # what is found out once and remembered
    return one_connection
