"""Who the client is, by the PROXY protocol: heard from the peer, and told to the servers.

What a peer in ``proxy_protocol_from`` sends is taken off the socket before anything else looks at it,
TLS included, and not one byte more. Its word replaces the peer's address for everything that follows.

A connection to a server that began with a client's name can carry no other client's requests, so each
client connection has a pool of its own, which ends with it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pyrox.errors import ClientError, ClientGone
from pyrox.green.stream import SocketStream
from pyrox.http.forwarding import is_among
from pyrox.http.proxy_protocol import UNIX, Endpoint, HeaderReader, ProxyHeader, encode_header
from pyrox.settings import Settings

if TYPE_CHECKING:
    from pyrox.green.client import ClientConnection

log = logging.getLogger("pyrox")

_PEEK_SIZE = 4096  # most headers are below 108 bytes
_NOBODY = ProxyHeader()


class Introductions:
    """Which peers introduce their clients, and how clients are introduced to servers.

    ``own`` is the header of connections for nobody but Pyrox itself, ``b""`` when servers get none.
    """

    def __init__(self, settings: Settings) -> None:
        self._peers, version = settings.http.proxy_protocol_from, settings.upstream.proxy_protocol
        self._version = version if version != "off" else ""
        self.own = encode_header(version, None, None) if self._version else b""

    def introduce(self, connection: ClientConnection) -> bool:
        """Let the peer say who its client is, where it must; returns False when it does not.

        Sets the connection's ``side``, and its ``pool`` where servers are told.
        """
        header = _NOBODY
        if self._peers and is_among(connection.side.address, self._peers):
            try:
                header = receive_header(connection.stream, connection.engine.head_patience)
            except ClientError as error:
                log.info("%s: PROXY protocol: %s", connection.side.address, error)
                return False
            except EOFError:
                return False
            if header.source is not None:
                connection.side = connection.side.named(*header.source, header.tls)
        if self._version:
            connection.pool = connection.engine.pool_for(self._header_for(connection, header))
        return True

    def _header_for(self, connection: ClientConnection, header: ProxyHeader) -> bytes:
        if header.source is not None:
            return encode_header(self._version, header.source, header.destination)
        side = connection.side
        here = _endpoint(connection.stream.sock.getsockname())
        return encode_header(self._version, (side.address, side.port), here)


def receive_header(stream: SocketStream, patience: int) -> ProxyHeader:
    """Take one header off ``stream`` within ``patience`` ticks, and nothing that follows it.

    Raises ``ClientError`` when it is malformed, late or cut short, and ``EOFError`` when the peer leaves
    without a byte, as one does that only asks whether somebody listens.
    """
    deadline = stream.now + patience
    reader = HeaderReader()
    has_begun = False
    while reader.header is None:
        try:
            data = stream.peek(_PEEK_SIZE, max(deadline - stream.now, 1))
            if not data:
                raise ClientGone("closed in the middle of the header")
        except ClientGone:
            if has_begun:
                raise
            raise EOFError from None
        has_begun = True
        stream.skip(reader.feed(data))
    return reader.header


def _endpoint(address: Any) -> Endpoint:
    return address[:2] if isinstance(address, tuple) else UNIX
