"""``access_control``: who may come in, by client address: anywhere, or to some paths by some methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

from pyrox.errors import HTTPError
from pyrox.http.forwarding import parse_address
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.path_patterns import PathPatterns, parse_methods
from pyrox.routing.methods import methods_of

T = TypeVar("T")

# Clients choose their addresses, IPv6 ones by the billion: remember only so many verdicts.
_MAX_VERDICTS = 4096


class AccessControl(Middleware):
    """Answers 403 to clients that may not come in.

    Judged is ``request.client_address``: the peer's address or, behind ``trusted_proxies``, that of the
    client before them. An IPv4-mapped IPv6 address counts as IPv4. Each entry is an address, a network
    like ``10.0.0.0/8`` or ``fd00::/8``, or ``unix`` for the peers of a unix socket.

    * ``allow``: when it has entries, nobody else is let in.
    * ``deny``: these are kept out, even those that ``allow`` names.

    At least one of them must have entries. Requests for other paths, or by other methods, pass:

    * ``paths``: patterns such as ``/admin/**``; ``rbac`` says what they can be. Default: all paths. A path
      that servers could read in several ways is judged when it fits in one of them.
    * ``methods``: such as ``POST``, also where ``X-HTTP-Method-Override`` and the like ask for one. Default:
      all methods.
    * ``ignore_case``: take upper and lower case in paths for the same, as the server does. Default ``no``.
    """

    def __init__(
        self,
        app: App,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        paths: Sequence[str] = (),
        methods: Sequence[str] = (),
        ignore_case: bool = False,
    ) -> None:
        super().__init__(app)
        if not allow and not deny:
            raise ValueError("allow: neither it nor deny has an entry, so nothing would be controlled")
        self._allow = _Addresses("allow", allow)
        self._deny = _Addresses("deny", deny)
        self._verdicts: dict[str, bool] = {}
        self._paths = _parse("paths", lambda: PathPatterns(paths, ignore_case)) if paths else None
        self._methods = _parse("methods", lambda: parse_methods("|".join(methods))) if methods else None

    def __call__(self, request: Request) -> Response:
        address = request.client_address
        allowed = self._verdicts.get(address)
        if allowed is None:
            allowed = self._judge(address)
        if not allowed and self._is_controlled(request):
            raise HTTPError(403)
        return self.app(request)

    def _is_controlled(self, request: Request) -> bool:
        """Tell whether the request could be meant for one of the paths by one of the methods."""
        if self._methods is not None and self._methods.isdisjoint(methods_of(request)):
            return False
        if self._paths is None:
            return True
        found = self._paths.find(request.path)
        return found is None or any(number is not None for number in found)

    def _judge(self, address: str) -> bool:
        if len(self._verdicts) >= _MAX_VERDICTS:
            self._verdicts.clear()
        allowed = address not in self._deny and (not self._allow or address in self._allow)
        self._verdicts[address] = allowed
        return allowed


def _parse(option: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


class _Addresses:
    """A set of networks, and perhaps the unix sockets."""

    def __init__(self, option: str, entries: Sequence[str]) -> None:
        self._has_unix = "unix" in entries
        self._networks = [_parse_network(option, entry) for entry in entries if entry != "unix"]

    def __bool__(self) -> bool:
        return self._has_unix or bool(self._networks)

    def __contains__(self, address: str) -> bool:
        parsed = parse_address(address)
        if parsed is None:
            return self._has_unix and address == "unix"
        return any(parsed in network for network in self._networks)


def _parse_network(option: str, entry: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(entry)
    except ValueError as error:
        raise ValueError(f"{option}: {error}{_meant(option, entry)}") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _meant(option: str, entry: str) -> str:
    """Return what to write in place of an entry that comes from another proxy's file."""
    if entry == "all":
        return "; allow alone keeps all others out" if option == "deny" else "; deny alone lets all others in"
    with suppress(ValueError):
        return f"; write {ip_network(entry, strict=False)}"
    return ""
