"""Key expressions: whose requests are counted together. ``client``, ``header:X-Tenant``, ``client+route``."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from pyrox.config_report import did_you_mean
from pyrox.http.forwarding import parse_address
from pyrox.http.headers import is_token
from pyrox.http.message import Request
from pyrox.middleware.identity import identity_of
from pyrox.middleware.place import current_place
from pyrox.routing.subject import host_of

Key = Callable[[Request], str]

WORDS = ("client", "identity", "route", "method", "host", "header:NAME", "all")
_MOST_ADDRESSES = 4096  # that are remembered in the form in which they count


def parse_key(text: str, ipv6_prefix: int = 64) -> Key:
    """Return the function from a request to the text by which it is counted.

    ``text`` is one of ``WORDS``, or several of them joined by ``+``. Where a request has no such header, or
    nobody has identified its client, the client's address takes its place: a client that leaves out what it
    is known by gains nothing, and takes nothing away from others. Call it where the middleware is made:
    ``route`` is that of the stack. Raises ``ValueError``.
    """
    parts = [_parse_part(part.strip(), ipv6_prefix) for part in text.split("+")]
    if len(parts) == 1:
        return parts[0]

    def key(request: Request) -> str:
        # With their lengths, so that no value can pretend to be two.
        values = [part(request) for part in parts]
        return "".join([f"{len(value)}:{value}" for value in values])

    return key


def _parse_part(text: str, ipv6_prefix: int) -> Key:
    word, colon, argument = text.partition(":")
    if colon and word == "header":
        return _header_key(argument, ipv6_prefix)
    if word == "route" and not colon:
        return _route_key()
    if text not in _MAKERS:
        hint = did_you_mean(text, WORDS) or f"; there are {', '.join(WORDS)}, and + to join them"
        raise ValueError(f"{text!r} is no key{hint}")
    return _MAKERS[text](ipv6_prefix)


def client_key(ipv6_prefix: int) -> Key:
    """Return the key of a client's address; of an IPv6 address only the first ``ipv6_prefix`` bits count.

    A site gets a /64 at least, from which its hosts choose their addresses freely.
    """
    known: dict[str, str] = {}

    def key(request: Request) -> str:
        address = request.client_address
        if ":" not in address:
            return address
        network = known.get(address)
        if network is None:
            if len(known) >= _MOST_ADDRESSES:
                known.clear()
            network = known[address] = _network_of(address, ipv6_prefix)
        return network

    return key


def _network_of(address: str, prefix: int) -> str:
    parsed = parse_address(address)  # an IPv4-mapped one comes out as IPv4
    if not isinstance(parsed, IPv6Address):
        return address if parsed is None else str(parsed)
    return str(IPv6Address(int(parsed) >> (128 - prefix) << (128 - prefix)))


def _header_key(name: str, ipv6_prefix: int) -> Key:
    if not is_token(name):
        raise ValueError(f"'header:{name}' names no header field; write header:X-Tenant")
    client = client_key(ipv6_prefix)

    def key(request: Request) -> str:
        values = request.headers.get_all(name)
        return "=" + ",".join(values) if values else "~" + client(request)

    return key


def _identity_key(ipv6_prefix: int) -> Key:
    client = client_key(ipv6_prefix)

    def key(request: Request) -> str:
        identity = identity_of(request)
        return "~" + client(request) if identity is None else "=" + identity.name

    return key


def _route_key() -> Key:
    place = current_place()
    if place is not None and place.route is None:
        raise ValueError("'route' is known only in a route's stack; name the middleware there")
    route = "" if place is None else str(place.route)
    return lambda request: route


_MAKERS: dict[str, Callable[[int], Key]] = {
    "client": client_key,
    "identity": _identity_key,
    "method": lambda _: lambda request: request.method,
    "host": lambda _: host_of,  # however it is spelled: a port or a final dot would be another quota
    "all": lambda _: lambda request: "",
}
