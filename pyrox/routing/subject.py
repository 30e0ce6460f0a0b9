"""``Subject``: a request as rules see it, each part worked out when the first rule asks for it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from urllib.parse import parse_qsl, unquote

from pyrox.http.forwarding import parse_address
from pyrox.http.message import Request
from pyrox.http.target import LONGEST_HOST

_MAX_HOSTS = 4096
_hosts: dict[bytes, str] = {}  # Host as sent -> as compared; a bounded number


class Subject:
    """One request, read in one way.

    * ``host``: in lower case, without port and final dot; ``""`` when there is none.
    * ``path``: one reading of the path (see ``paths``).
    * ``method``: one that servers may take the request's for (see ``methods``); its own unless given.
    """

    __slots__ = ("_address", "_cookies", "_query", "host", "method", "path", "request")

    def __init__(self, request: Request, host: str, path: str, method: str | None = None) -> None:
        self.request = request
        self.host = host
        self.path = path
        self.method = method or request._method
        self._query: dict[str, list[str]] | None = None
        self._cookies: dict[str, list[str]] | None = None
        self._address: IPv4Address | IPv6Address | str | None = None

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters of the query, decoded as a form's."""
        if self._query is None:
            pairs = parse_qsl(self.request.query, keep_blank_values=True, errors="replace")
            self._query = _by_name(pairs)
        return self._query

    @property
    def cookies(self) -> dict[str, list[str]]:
        """The cookies, their values as they stand (RFC 6265 5.4: the server parses what it set)."""
        if self._cookies is None:
            lines = self.request.headers.get_all("cookie")
            pairs = [cookie.partition("=") for line in lines for cookie in line.split(";")]
            self._cookies = _by_name([(name.strip(), value.strip()) for name, _, value in pairs])
        return self._cookies

    @property
    def address(self) -> IPv4Address | IPv6Address | str:
        """The client's address; ``"unix"`` for that of a unix socket."""
        if self._address is None:
            text = self.request.client_address
            self._address = parse_address(text) or text
        return self._address


def host_of(request: Request) -> str:
    """Return the host that ``request`` names, in the form in which hosts are compared."""
    for field in request.headers.fields:
        if field[0] == b"host":
            raw = field[2]
            host = _hosts.get(raw)
            return _remember(raw) if host is None else host
    return ""


def _remember(raw: bytes) -> str:
    host = raw.decode("latin-1").lower()
    if "%" in host:  # RFC 3986 3.2.2 lets a name have escapes
        host = unquote(host, "latin-1").lower()
    literal, bracket, _ = host.partition("]")
    host = f"{literal}]" if bracket else host.partition(":")[0].removesuffix(".")
    if len(raw) <= LONGEST_HOST:
        if len(_hosts) >= _MAX_HOSTS:
            _hosts.clear()
        _hosts[raw] = host
    return host


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found
