"""The upstream of the transcripts: played step by step by the test itself, without threads."""

from __future__ import annotations

import select
import socket
import time

from tests.support.messages import WireRequest
from tests.support.wire import PeerClosed, Wire


class Upstream:
    """Every connection the proxy makes, and the requests that come on them, in the order of arrival."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.connections: list[Wire] = []
        self.latest: Wire | None = None  # the connection of the latest request
        self.unfinished: WireRequest | None = None  # its head was read, its body not yet
        self.cut: list[bytes] = []  # requests that ended before they were complete

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}"

    def next_request(self, head_only: bool = False) -> WireRequest:
        """Wait for the next request on any connection; those that the proxy closes are dropped on the way."""
        deadline = time.monotonic() + self.timeout
        while True:
            connection = self._next_readable(deadline)
            request = self._read(connection, head_only)
            if request is not None:
                self.latest = connection
                self.unfinished = request if head_only else None
                return request

    def finish_request(self) -> WireRequest:
        """Read the body of the request whose head was the latest."""
        assert self.latest is not None and self.unfinished is not None
        request, self.unfinished = self.unfinished, None
        self.latest.read_body_of(request)
        return request

    def await_discard(self) -> None:
        """Wait until the proxy closes the connection of the latest request."""
        assert self.latest is not None
        rest, _ = self.latest.read_until_closed()
        assert not rest or self.unfinished, f"the proxy sent more on a used connection: {rest!r}"
        self._drop(self.latest)

    def forget_latest(self) -> None:
        """The connection of the latest request was closed here."""
        assert self.latest is not None
        self.connections.remove(self.latest)

    def reset(self) -> None:
        """Close all connections and forget what was seen."""
        while select.select([self.listener], [], [], 0)[0]:
            self.connections.append(Wire(self.listener.accept()[0], self.timeout))
        for connection in self.connections:
            connection.close()
        self.connections, self.latest, self.unfinished, self.cut = [], None, None, []

    def close(self) -> None:
        self.reset()
        self.listener.close()

    def _next_readable(self, deadline: float) -> Wire:
        while True:
            for connection in self.connections:
                if connection.unread:
                    return connection
            self._wait(deadline)
            readable, _, _ = select.select([self.listener, *self._sockets()], [], [], 0)
            for connection in self.connections:
                if connection.socket in readable:
                    return connection
            self.connections.append(Wire(self.listener.accept()[0], self.timeout))

    def _wait(self, deadline: float) -> None:
        left = max(deadline - time.monotonic(), 0.0)
        if not select.select([self.listener, *self._sockets()], [], [], left)[0]:
            raise TimeoutError(f"the upstream saw no request within {self.timeout} s")

    def _sockets(self) -> list[socket.socket]:
        return [connection.socket for connection in self.connections]

    def _read(self, connection: Wire, head_only: bool) -> WireRequest | None:
        start = len(connection.received) - len(connection.unread)
        try:
            if connection is self.latest and self.unfinished is not None:
                connection.read_until_closed()  # the rest of an upload that nobody waits for
                raise PeerClosed(b"", reset=False)
            return connection.read_request_head() if head_only else connection.read_request()
        except PeerClosed:
            self._drop(connection, start)
            return None

    def _drop(self, connection: Wire, start: int | None = None) -> None:
        if start is not None and start < len(connection.received):
            self.cut.append(bytes(connection.received[start:]))
        self.connections.remove(connection)
        connection.close()
