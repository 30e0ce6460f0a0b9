"""``Cluster``: servers that do the same work, and the order in which they are chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pyrox.errors import NoHealthyServer
from pyrox.http.message import Request
from pyrox.upstreams.server import Server


class Cluster:
    """A named group of servers, taken in turn (round robin).

    Raises ``ValueError`` when there is no server.
    """

    def __init__(self, name: str, servers: Sequence[Server]) -> None:
        if not servers:
            raise ValueError(f"cluster {name!r} has no server")
        self.name = name
        self.servers = tuple(servers)
        self._next = 0

    def choose(self, request: Request, tried: Collection[Server] = ()) -> Server:
        """Return the server for ``request``, none of ``tried``.

        Raises ``NoHealthyServer`` (503) when every server was tried.
        """
        for _ in self.servers:
            server = self.servers[self._next]
            self._next = (self._next + 1) % len(self.servers)
            if server not in tried:
                return server
        raise NoHealthyServer(f"cluster {self.name}: every server was tried")
