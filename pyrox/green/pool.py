"""``UpstreamPool``: idle upstream connections, kept by server, newest first.

An idle connection's read watcher stays on: a server that closes, or speaks out of turn, makes it
readable, and it is discarded in the same moment. The newest is used first, so that a lull lets the
oldest reach their idle timeout.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyrox.green.deadlines import Deadlines
from pyrox.green.stream import SocketStream
from pyrox.green.upstream import Connector, State, UpstreamConnection
from pyrox.upstreams.server import Server

if TYPE_CHECKING:
    from pyrox.green.exchange import LiveExchange

# Looking a member up in its Enum takes 0.13 us on CPython 3.11, ten times a global.
_ACTIVE, _IDLE = State.ACTIVE, State.IDLE


class UpstreamPool:
    """Connections to all servers of a worker.

    Every connection that ``checkout`` returns goes back by ``checkin``, when both messages ended on
    their boundary, or by ``discard``.
    """

    def __init__(
        self, connector: Connector, clock: Deadlines, idle_timeout: float, idle_connections: int
    ) -> None:
        self._connector = connector
        self._clock = clock
        self._idle_patience = clock.ticks(idle_timeout)
        self._idle_connections = idle_connections  # per server
        self._idle: dict[str, list[UpstreamConnection]] = {}
        self.is_closed = False

    def checkout(
        self,
        server: Server,
        exchange: LiveExchange | None = None,
        fresh: bool = False,
        certain: bool = False,
    ) -> UpstreamConnection:
        """Return a connection to ``server`` for ``exchange``, an idle one unless ``fresh``.

        ``certain`` asks the kernel whether an idle one is still good: for a request that could not be
        sent again. The hub would tell, but only after whatever else it has to do now, and a server that
        restarts closes connections that were used a moment ago. Raises what ``Connector.connect`` raises.
        """
        idle = self._idle.get(server.url)
        while idle and not fresh:
            connection = idle.pop()
            if not certain or connection.stream.is_quiet():
                connection.state = _ACTIVE
                return connection
            connection.close()
        connection = self._connector.connect(server, exchange)
        connection.stream.unattended = partial(self._on_unattended, connection)
        connection.state = _ACTIVE
        return connection

    def checkin(self, connection: UpstreamConnection) -> None:
        """Keep ``connection`` for the next request, unless it holds bytes nobody asked for.

        One that an exchange was cancelled on is not kept: its failure would be the next one's.
        """
        stream, url = connection.stream, connection.server.url
        idle = self._idle.get(url)
        if idle is None:
            idle = self._idle[url] = []
        if stream.failure or stream.has_unread() or self.is_closed or len(idle) >= self._idle_connections:
            self.discard(connection)
            return
        connection.exchanges += 1
        connection.state = _IDLE
        stream.read_deadline = self._clock.now + self._idle_patience
        if not stream.is_watching:
            stream.resume()
        idle.append(connection)

    def discard(self, connection: UpstreamConnection) -> None:
        """Close a connection that cannot be used again."""
        connection.close()
        self._forget_if_empty(connection.server)

    def forget(self, server: Server) -> None:
        """Close the idle connections to ``server``."""
        for connection in self._idle.pop(server.url, ()):
            connection.close()

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        self.is_closed = True
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()

    def idle_count(self, server: Server) -> int:
        """Return how many idle connections to ``server`` are kept."""
        return len(self._idle.get(server.url, ()))

    def _on_unattended(self, connection: UpstreamConnection, stream: SocketStream) -> None:
        """The server closed, spoke, or was idle for too long, while nobody was reading."""
        if connection.state is not _IDLE:
            stream.pause()  # its exchange will read on when it wants more
            return
        self._idle[connection.server.url].remove(connection)
        self.discard(connection)

    def _forget_if_empty(self, server: Server) -> None:
        # Middleware may route to ever new servers.
        if not self._idle.get(server.url, True):
            del self._idle[server.url]
