"""What a proxy changes between its two sides: Via, X-Forwarded-*, Forwarded, Max-Forwards, Date.

All of it happens on receipt, before the middleware: so no middleware ever sees a claim about the client
that the peer was not entitled to make, and each may still change what goes upstream.
"""

from __future__ import annotations

import ipaddress
from email.utils import formatdate
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from time import time
from typing import TYPE_CHECKING, Any

from pyrox.errors import ClientError
from pyrox.http.field_names import CLAIM_FIELDS
from pyrox.http.headers import Field, Headers, Run, encode_run
from pyrox.http.message import Request, Response
from pyrox.http.target import LONGEST_HOST

if TYPE_CHECKING:
    from pyrox.http.certificate import ClientCertificate
    from pyrox.http.handshake import Handshake

# Networks of peers, and "unix" for those that come by a unix socket, which have no address.
Peers = tuple[IPv4Network | IPv6Network | str, ...]

_VIA: dict[str, Field] = {
    version: (b"via", b"Via", b"%b pyrox" % version.encode()) for version in ("1.0", "1.1")
}
_PROTO: dict[bool, Field] = {
    tls: (b"x-forwarded-proto", b"X-Forwarded-Proto", b"https" if tls else b"http") for tls in (False, True)
}
_RECEIVED = "pyrox.received"  # in the state of a TRACE: its fields before any middleware
_NEVER_ECHOED = frozenset((b"authorization", b"cookie"))  # RFC 9110 9.3.8


class ClientSide:
    """Who is at the other end of a client connection; one object for all its requests.

    * ``address``: the peer's IP address, ``"unix"`` for a unix socket; ``port``: its port or 0. Where the
      peer names its client by the PROXY protocol, that client is meant by "the peer" here.
    * ``tls``: whether the peer speaks TLS to Pyrox; ``handshake``: what was agreed on then, or None.
    * ``trusted``: whether the peer is in ``trusted_proxies``, so that its X-Forwarded-* count.
    * ``certificate``: what the peer has proved to be its own, verified; None when it has shown none.
    * ``state``: a scratch dict that lives as long as the connection.
    """

    __slots__ = (
        "_added",
        "_for_field",
        "_identity",
        "_state",
        "_trust",
        "address",
        "certificate",
        "forwarded",
        "handshake",
        "port",
        "tls",
        "trusted",
    )

    def __init__(
        self,
        address: str,
        port: int = 0,
        *,
        tls: bool = False,
        trusted_proxies: Peers = (),
        forwarded: bool = False,
    ) -> None:
        self.address = address
        self.port = port
        self.tls = tls
        self.forwarded = forwarded
        self._state: dict[object, Any] | None = None
        self._trust = trusted_proxies
        self.trusted = bool(trusted_proxies) and is_among(address, trusted_proxies)
        # A unix socket's peer has no address; RFC 7239 6.2 has a word for that.
        node = b"unknown" if address == "unix" else address.encode()
        self._for_field: Field = (b"x-forwarded-for", b"X-Forwarded-For", node)
        # The last request's version and Host, and what was added to it: 0.4 KiB.
        self._added: tuple[str, bytes, Run] | None = None
        self.handshake: Handshake | None = None
        self.certificate: ClientCertificate | None = None
        # The fields that say who the client is; None where no certificate is asked for: then a peer in
        # trusted_proxies may have asked for one.
        self._identity: tuple[Field, ...] | None = None

    def named(self, address: str, port: int, tls: bool) -> ClientSide:
        """Return the side of the client that the peer names; ``tls``: it spoke TLS to the peer."""
        side = ClientSide(
            address,
            port,
            tls=tls or self.tls,
            trusted_proxies=self._trust,
            forwarded=self.forwarded,
        )
        if address == "unix":  # at a socket of the peer's: those of trusted_proxies are at ours
            side.trusted = False
        return side

    def identify(self, certificate: ClientCertificate | None, fields: tuple[Field, ...]) -> None:
        """Note the certificate that was asked for, and the fields that tell upstream of it."""
        self.certificate = certificate
        self._identity = fields

    @property
    def state(self) -> dict[object, Any]:
        """A scratch dict that lives as long as the connection; middleware keep things in it."""
        if self._state is None:
            self._state = {}
        return self._state

    def address_of(self, headers: Headers) -> str:
        """The client's address: walking X-Forwarded-For from the right, the first untrusted one.

        What stands left of an untrusted address was written by whoever is at that address.
        """
        if not self.trusted:
            return self.address
        address = self.address
        chain = ",".join(headers.get_all("x-forwarded-for")).split(",")
        # The last entry is the peer itself, added on receipt.
        for entry in reversed(chain[:-1]):
            candidate = _bare_address(entry)
            if candidate is None:
                break
            address = candidate
            if not is_among(address, self._trust):
                break
        return address

    def scheme_of(self, headers: Headers) -> str:
        """The scheme the client used: what a trusted peer says, else what this connection speaks."""
        if self.trusted:
            claimed = headers.get("x-forwarded-proto", "").lower()
            if claimed in ("http", "https"):
                return claimed
        return "https" if self.tls else "http"

    def receive(self, request: Request) -> None:
        """Judge the claims that came with ``request`` and add the fields a proxy adds.

        X-Forwarded-For is appended to for a trusted peer and replaced for any other; the other claims
        of an untrusted peer are dropped. Raises ``ClientError`` 400 for a bad Max-Forwards.
        """
        request.client = self
        fields = request.headers.fields
        if request.claims is None:
            own = self._own_fields(request.version, _host(request))
            fields += own[0]
            request._known += (own,)
        else:
            fields.append(_VIA[request.version])
            self._receive_claims(request, request.claims)
        if self._identity:
            fields += self._identity
        request.client_address = self.address_of(request.headers) if self.trusted else self.address
        if self.forwarded:
            self._add_forwarded(request)
        if request._method == "OPTIONS" or request._method == "TRACE":
            _check_max_forwards(request)
        if request._method == "TRACE":
            request.state[_RECEIVED] = frozenset(fields)

    def _own_fields(self, version: str, host: bytes) -> Run:
        """Return the fields to add to a request without claims: mostly those of the last one."""
        added = self._added
        if added is not None and added[1] == host and added[0] == version:
            return added[2]
        fields = [_VIA[version], self._for_field, _PROTO[self.tls]]
        if host:
            fields.append((b"x-forwarded-host", b"X-Forwarded-Host", host))
        own = encode_run(fields)
        if len(host) <= LONGEST_HOST:
            self._added = version, host, own
        return own

    def _receive_claims(self, request: Request, claims: list[Field]) -> None:
        fields = request.headers.fields
        if not self.trusted:
            claims = []
        elif self._identity is not None:
            claims = [field for field in claims if field[0] in CLAIM_FIELDS]
        chain = [field[2] for field in claims if field[0] == b"x-forwarded-for"]
        fields += [field for field in claims if field[0] != b"x-forwarded-for"]
        names = {field[0] for field in claims}
        fields.append((*self._for_field[:2], b", ".join([*chain, self._for_field[2]])))
        if b"x-forwarded-proto" not in names:
            fields.append(_PROTO[self.tls])
        if b"x-forwarded-host" not in names and (host := _host(request)):
            fields.append((b"x-forwarded-host", b"X-Forwarded-Host", host))

    def _add_forwarded(self, request: Request) -> None:
        """RFC 7239: one element for this hop, after those a trusted peer sent."""
        node = self._for_field[2].decode()
        if ":" in node:
            node = f'"[{node}]"'
        host = _host(request).decode("latin-1")
        named = f';host="{host}"' if host else ""
        element = f"for={node}{named};proto={'https' if self.tls else 'http'}"
        before = request.headers.get_all("forwarded")
        request.headers["Forwarded"] = ", ".join([*before, element])


def _host(request: Request) -> bytes:
    for field in request.headers.fields:
        if field[0] == b"host":
            return field[2]
    return b""


def _check_max_forwards(request: Request) -> None:
    value = request.headers.get("max-forwards")
    if value is not None and _hops(value) is None:
        raise ClientError("Max-Forwards is not a number")


def _hops(value: str) -> int | None:
    return int(value) if value.isdecimal() and len(value) <= 10 else None


def answer_last_hop(request: Request) -> Response | None:
    """Answer a TRACE or OPTIONS whose Max-Forwards is 0; count any other down and return None.

    RFC 9110 7.6.2, 9.3.7, 9.3.8. To be called when the request is about to be forwarded. A TRACE shows what
    was received, and nothing that a middleware has added: that may be a secret between it and the upstream.
    """
    hops = _hops(request.headers.get("max-forwards", ""))
    if request.method not in ("TRACE", "OPTIONS") or hops is None:
        return None
    if hops > 0:
        request.headers["Max-Forwards"] = str(hops - 1)
        return None
    if request.method == "OPTIONS":
        return Response(204, headers={"Allow": "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, TRACE"})
    lines = [f"TRACE {request.target} HTTP/{request.version}".encode("latin-1")]
    received = request.state.get(_RECEIVED, ())
    echoed = [f for f in request.headers.fields if f in received and f[0] not in _NEVER_ECHOED]
    lines += [name + b": " + value for _, name, value in echoed]
    return Response(200, b"\r\n".join([*lines, b"", b""]), {"Content-Type": "message/http"})


def add_response_fields(response: Response) -> None:
    """Add Via, and Date when the upstream sent none (RFC 9110 6.6.1)."""
    fields = response.headers.fields
    for field in fields:
        if field[0] == b"date":
            break
    else:
        fields.append(date_field())
    fields.append(_VIA[response.version])


def date_field() -> Field:
    """Return a Date field of now (RFC 9110 5.6.7)."""
    return _date_field_of(int(time()))


@lru_cache(maxsize=1)
def _date_field_of(second: int) -> Field:
    return b"date", b"Date", formatdate(second, usegmt=True).encode()


@lru_cache(maxsize=4096)
def is_among(address: str, peers: Peers) -> bool:
    """Tell whether ``address``, perhaps ``"unix"``, is one of ``peers``; IPv4-mapped IPv6 counts as IPv4."""
    if address == "unix":
        return address in peers
    parsed = parse_address(address)
    networks = [peer for peer in peers if not isinstance(peer, str)]
    return parsed is not None and any(
        parsed.version == network.version and parsed in network for network in networks
    )


def parse_address(address: str) -> IPv4Address | IPv6Address | None:
    """Return the address, unmapped from ``::ffff:1.2.3.4``, or None when it is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _bare_address(entry: str) -> str | None:
    """Take ``1.2.3.4``, ``1.2.3.4:80``, ``::1``, ``[::1]`` or ``[::1]:80`` down to its address."""
    entry = entry.strip().strip('"')
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    # A zone ("%eth0") means nothing to anybody but the sender, and may hold any character.
    return entry if "%" not in entry and parse_address(entry) is not None else None
