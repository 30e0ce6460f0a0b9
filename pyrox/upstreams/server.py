"""``Server``: one upstream address."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

WSGI = "wsgi:"  # how the URL of an application inside Pyrox begins
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Server:
    """Where a request can be sent.

    * ``url``: as configured, and the server's name in logs.
    * ``scheme``: ``"http"`` or ``"https"``; ``host`` and ``port``, or ``path`` of a unix socket. With
      ``"wsgi"`` it is no address but an application, and has none of these.
    * ``address``: the IP address of a server that was discovered, ``""`` to look ``host`` up.
    * ``authority``: the Host that names this server, for requests that carry none.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str | None = None
    address: str = ""

    @property
    def authority(self) -> str:
        if self.path is not None or self.scheme == "wsgi":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __hash__(self) -> int:
        return hash(self.url)

    def __str__(self) -> str:
        return self.url


def server_at(named: Server, address: str, port: int) -> Server:
    """Return the server at ``address`` and ``port`` that goes by the name in ``named``."""
    host = f"[{address}]" if ":" in address else address
    url = f"{named.scheme}://{host}:{port}#{named.host}"
    return Server(url, named.scheme, named.host, port, address=address)


def parse_server(url: str) -> Server:
    """Parse ``http://host[:port]``, ``https://host[:port]``, ``unix:/path`` or ``wsgi:module:app``.

    Raises ``ValueError`` naming what is wrong with it.
    """
    if url.startswith("unix:"):
        path = url.removeprefix("unix:").removeprefix("//")
        if not path:
            raise ValueError(f"{url!r} names no socket path")
        return Server(url, "http", "", 0, path)
    if url.startswith(WSGI):
        return Server(url, "wsgi", "", 0)
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is not http://host:port, https://host:port or unix:/path")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{url!r} has more than a scheme, a host and a port")
    try:
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except ValueError:
        raise ValueError(f"{url!r} has a port that is not 1 to 65535") from None
    return Server(url, parts.scheme, parts.hostname, port)
