"""``UpstreamConnection``: one connection to a server, and how it is made."""

from __future__ import annotations

import _socket
import errno
import os
import socket
from enum import Enum
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket as gevent_socket

from pyrox.errors import ConnectError, ProxyError, UpstreamClosed, UpstreamTimeout
from pyrox.green.stream import StreamSettings, UpstreamStream
from pyrox.green.tls import RawSocket, TlsUpstreamStream
from pyrox.green.tls_contexts import UpstreamTls
from pyrox.green.waiting import Interruptible
from pyrox.http.head import check_partial_response_head
from pyrox.http.head_cache import HeadCache
from pyrox.http.message import Response
from pyrox.settings import TimeoutSettings
from pyrox.upstreams.server import Server

if TYPE_CHECKING:
    from pyrox.green.exchange import LiveExchange


class State(Enum):
    """The life of a connection."""

    NEW = "new"
    ACTIVE = "active"
    IDLE = "idle"
    CLOSED = "closed"


class UpstreamConnection:
    """One connection to one server; carries one exchange at a time."""

    __slots__ = ("exchanges", "server", "state", "stream")

    def __init__(self, server: Server, stream: UpstreamStream) -> None:
        self.server = server
        self.stream = stream
        self.state = State.NEW
        self.exchanges = 0

    @property
    def is_reused(self) -> bool:
        """Whether an exchange was completed on it before this one."""
        return self.exchanges > 0

    def read_response(self, method: str, heads: HeadCache, patience: int) -> Response:
        """Read one response head, informational or final; the body stays in the stream.

        Raises ``UpstreamClosed`` when the server closed before a byte of it, ``UpstreamError`` for an
        invalid one, ``UpstreamTimeout`` after ``patience`` ticks.
        """
        raw = self.stream.read_head(check_partial_response_head, heads.limits, patience)
        if raw is None:
            raise UpstreamClosed("closed before a response")
        return heads.response(raw, method)

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self.state = State.CLOSED
        self.stream.close()

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self.server} {self.state.value}, {self.exchanges} exchanges>"


class Connector:
    """Makes connections, plain or TLS, to TCP addresses and unix sockets.

    ``introduction`` is the PROXY protocol header that each of them begins with, ``b""`` for none.
    """

    def __init__(
        self,
        streams: StreamSettings,
        timeouts: TimeoutSettings,
        tls: UpstreamTls | None,
        introduction: bytes = b"",
    ) -> None:
        self._streams = streams
        self._clock = streams.clock
        self._timeouts = timeouts
        self._tls = tls
        self._introduction = introduction

    def introducing(self, introduction: bytes) -> Connector:
        """Return one whose connections begin with ``introduction``."""
        return Connector(self._streams, self._timeouts, self._tls, introduction)

    def connect(self, server: Server, exchange: LiveExchange | None = None) -> UpstreamConnection:
        """Return a new connection to ``server``; an ``exchange`` that is cancelled stops waiting for it.

        Raises ``ConnectError`` (502), ``UpstreamTimeout`` (504, retryable): nothing was sent.
        """
        failure: ProxyError = ConnectError(f"{server}: no address", proxy_status="dns_error")
        for family, address in self._addresses(server, exchange):
            try:
                return UpstreamConnection(server, self._open(server, family, address, exchange))
            except (ConnectError, UpstreamTimeout) as error:
                failure = error
        raise failure

    def _addresses(self, server: Server, exchange: LiveExchange | None = None) -> list[tuple[int, Any]]:
        if server.path is not None:
            return [(socket.AF_UNIX, server.path)]
        limit = gevent.Timeout(self._timeouts.upstream_connect or None)
        try:
            name = (server.address or server.host).encode(
                "idna"
            )  # here, because gevent prints what fails in its threads
            if numeric := _numeric_address(name, server.port):
                return numeric
            with limit, Interruptible(exchange):
                found = gevent_socket.getaddrinfo(name, server.port, type=socket.SOCK_STREAM)
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise  # a middleware's own
            raise _late(server, "name look-up", "dns_timeout") from None
        except (OSError, UnicodeError) as error:  # UnicodeError: no host name at all
            raise ConnectError(f"{server}: {error}", proxy_status="dns_error") from None
        return _usable(found)

    def _open(
        self, server: Server, family: int, address: Any, exchange: LiveExchange | None
    ) -> UpstreamStream:
        try:
            sock = RawSocket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        except OSError as error:  # no descriptor left, or no such family here
            raise ConnectError(f"{server}: {error}", proxy_status="proxy_internal_error") from None
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream: UpstreamStream | None = None
        try:
            code = sock.connect_ex(address)
            # EAGAIN is no start of a connection: it says that the backlog of a unix socket is full.
            if code and code != errno.EINPROGRESS:
                raise _refused(server, code)
            stream = self._stream(server, sock)
            if exchange is not None:
                exchange.connecting_to(stream)
            if code:
                self._await_connected(server, stream)
            if self._introduction:
                _introduce(server, stream, self._introduction)
            if isinstance(stream, TlsUpstreamStream):
                stream.handshake(self._clock.ticks(self._timeouts.upstream_tls))
            return stream
        except BaseException:
            (stream or sock).close()
            raise
        finally:
            if exchange is not None:
                exchange.connecting = None

    def _stream(self, server: Server, sock: RawSocket) -> UpstreamStream:
        if server.scheme != "https":
            return UpstreamStream(sock, self._streams)
        assert self._tls is not None
        return TlsUpstreamStream.client(sock, self._streams, self._tls.context, server.host)

    def _await_connected(self, server: Server, stream: UpstreamStream) -> None:
        try:
            stream.wait_writable(self._clock.ticks(self._timeouts.upstream_connect))
        except UpstreamTimeout:
            raise _late(server, "connect", "connection_timeout") from None
        code = stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise _refused(server, code)


def _introduce(server: Server, stream: UpstreamStream, introduction: bytes) -> None:
    """Send the header in front of everything, TLS too; MSG_MORE lets what follows share its packet."""
    try:
        sent = stream.sock.send(introduction, socket.MSG_MORE)
    except OSError as error:
        raise _refused(server, error.errno or 0) from None
    if sent < len(introduction):  # at most 232 bytes into an empty buffer
        raise ConnectError(f"{server}: takes no PROXY protocol header")


def _numeric_address(name: bytes, port: int) -> list[tuple[int, Any]]:
    """Return what needs no look-up, for which gevent has only a few threads; nothing for a real name."""
    try:
        return _usable(_socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST))
    except _socket.gaierror:
        return []


def _usable(found: list[tuple[Any, ...]]) -> list[tuple[int, Any]]:
    return [(family, address) for family, _, _, _, address in found]


def _late(server: Server, what: str, token: str) -> UpstreamTimeout:
    error = UpstreamTimeout(f"{server}: {what} timed out", proxy_status=token)
    error.retryable = True
    return error


def _refused(server: Server, code: int) -> ConnectError:
    return ConnectError(f"{server}: {os.strerror(code)}")
