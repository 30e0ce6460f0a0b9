"""``Resolver``: says which servers a cluster has now. The base of those that come with Pyrox, and of yours.

class Consul(Resolver):
    def __init__(self, cluster: str, url: str, service: str) -> None: ...

    def resolve(self) -> Resolution:
        nodes = self._wait_for_change()           # may block: it has a greenlet of its own
        return Resolution([parse_found(f"http://{node.address}:{node.port}") for node in nodes])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyrox.config_clusters import MOST_WEIGHT, parse_cluster_server
from pyrox.errors import PyroxError
from pyrox.upstreams.server import Server, parse_server, server_at


class ResolveError(PyroxError):
    """The servers are not known now; the message says why, for the log.

    ``retry``: seconds until it is worth asking again, None for the usual, which grow with each failure.
    """

    def __init__(self, reason: str, retry: float | None = None) -> None:
        super().__init__(reason)
        self.retry = retry


@dataclass(frozen=True, slots=True)
class Found:
    """A server that was found, with its weight, from 1 to 100, and its role."""

    server: Server
    weight: int = 1
    is_backup: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.server, Server):
            raise TypeError(f"{self.server!r} is no Server; make a Found by parse_found")
        if not 1 <= self.weight <= MOST_WEIGHT:  # by one of 0 nobody could take turns
            raise ValueError(
                f"{self.server} has weight {self.weight}, which is not one from 1 to {MOST_WEIGHT}"
            )


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a resolver has found: all servers there are, and for how many seconds that is ``valid``."""

    servers: Sequence[Found]
    valid: float = 0.0

    def __post_init__(self) -> None:
        for server in self.servers:
            if not isinstance(server, Found):
                raise TypeError(f"{server!r} is no Found; make one by parse_found")
        if not isinstance(self.valid, int | float):
            raise TypeError(f"valid is a number of seconds, not {self.valid!r}")


class Resolver:
    """Says which servers a cluster has; each worker has one for each cluster that names its class.

    It is made with the cluster's name and the ``resolver_options``, which are read as the types of its
    constructor's annotations; ``ValueError("option: reason; fix")`` there is a fault of the configuration.
    """

    def resolve(self) -> Resolution:
        """Return the servers there are now.

        Called in a greenlet of its own, again and again: ``valid`` seconds after the last call has returned.
        It may block as any middleware may, and so may wait for a change; the first call should not. Raises
        ``ResolveError`` when the servers are not known now: those that were found last stay. So they do when
        none is found: what says so is broken more often than there really is no server.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of whatever it holds; called once, in another greenlet."""


def parse_found(text: str) -> Found:
    """Read a server as it stands in ``servers``: ``http://10.0.0.1:8000 weight=3 backup``.

    ``https://10.0.0.1:8443#users.internal`` has a name besides its address: its certificate's, and its Host
    where the client's is not preserved. Raises ``ValueError`` saying what is wrong, as for a name to be
    resolved, or an application, which only a configuration can name.
    """
    url, *parameters = text.split() or [""]
    url, mark, name = url.partition("#")
    settings = parse_cluster_server(" ".join([url, *parameters]))
    if settings.resolve:
        raise ValueError(f"{text!r} is to be resolved, which only servers of the configuration are")
    server = parse_server(settings.url)
    if server.scheme == "wsgi":
        raise ValueError(f"{text!r} is an application, which only the configuration can name")
    if mark:
        if ":" in name:
            raise ValueError(f"{text!r} needs a plain host name behind its #")
        named = parse_server(parse_cluster_server(f"{server.scheme}://{name}").url)
        server = server_at(Server(named.url, server.scheme, named.host, 0), server.host, server.port)
    return Found(server, settings.weight, settings.is_backup)
