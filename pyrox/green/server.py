"""``ProxyServer``: gevent's ``StreamServer``, accepting raw sockets, one greenlet of a ``Crew`` each."""

from __future__ import annotations

import logging
import socket
from typing import Any

from gevent.server import StreamServer
from greenlet import getcurrent

from pyrox.errors import ClientError, HTTPError
from pyrox.green.balance import Share
from pyrox.green.client import ClientConnection
from pyrox.green.crew import Crew
from pyrox.green.engine import Engine
from pyrox.green.stream import ClientStream
from pyrox.green.tls import RawSocket, TlsClientStream
from pyrox.green.tls_contexts import ServerTls
from pyrox.http.forwarding import ClientSide
from pyrox.middleware.base import App

log = logging.getLogger("pyrox")

# Seconds to wait before accepting again when descriptors ran out.
_ACCEPT_PAUSE = 0.25
# Seconds for which the next connection is left to other workers: time for them to wake up.
_YIELD = 0.001
# Connections taken from one listener before others get a turn.
_BURST = 64


class ProxyServer(StreamServer):  # type: ignore[misc]
    """Accepts clients on one listening socket for one engine.

    Stops accepting while the engine has ``worker_connections`` open, and for a moment when it is ahead of
    the other workers by ``share``; the kernel's backlog holds the rest.
    """

    def __init__(
        self, listener: Any, engine: Engine, tls: ServerTls | None, share: Share, app: App | None = None
    ) -> None:
        super().__init__(listener, spawn=Crew().run)
        self.max_accept = _BURST
        self._engine = engine
        self._tls = tls
        self._app = app or engine.app
        self._share = share
        self._yielding: Any = None  # the timer that ends a pause

    def full(self) -> bool:
        """Whether no more connections may be accepted now; called by gevent before each accept."""
        engine = self._engine
        if engine.accepted < engine.settings.core.worker_connections:
            if not self._share.is_ahead():
                return False
            self._accept_again_soon()
            return True
        # gevent stops this server now; the place that gets free may be at another one.
        engine.waiting_for_room.add(self._start_accepting_if_started)
        return True

    def do_read(self) -> tuple[RawSocket, Any] | None:
        """Accept one connection; None when there is none, or no descriptor for it."""
        listener = self.socket
        try:
            fd, address = listener._accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as error:
            log.error("accept: %s; trying again in %s s", error, _ACCEPT_PAUSE)
            self._pause_accepting()
            return None
        self._engine.accepted += 1
        self._share.opened()
        sock = RawSocket(listener.family, listener.type, listener.proto, fileno=fd)
        sock.setblocking(False)
        if listener.family != socket.AF_UNIX:
            # Inherited from the listener only by what connected after it was set there: who came earlier
            # would wait 40 ms for each small piece of a streamed body (Nagle's algorithm).
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, address

    def do_close(self, sock: RawSocket, *_: Any) -> None:
        """Called by gevent after ``handle``; the stream has closed the socket by then."""
        sock.close()
        engine = self._engine
        engine.accepted -= 1
        self._share.closed()
        while engine.waiting_for_room:
            engine.waiting_for_room.pop()()

    def handle(self, sock: RawSocket, address: Any) -> None:
        """Serve one client until its connection ends."""
        engine = self._engine
        host, port = address[:2] if isinstance(address, tuple) else ("unix", 0)
        stream = self._stream(sock)
        side = ClientSide(
            host,
            port,
            tls=self._tls is not None,
            trusted_proxies=engine.settings.http.trusted_proxies,
            forwarded=engine.settings.http.forwarded,
        )
        connection = ClientConnection(engine, stream, side, self._app)
        engine.connections[getcurrent()] = connection
        try:
            if not engine.introductions.introduce(connection):
                return
            if not isinstance(stream, TlsClientStream) or self._shakes_hands(stream, connection):
                connection.serve()
        finally:
            stream.close()
            del engine.connections[getcurrent()]

    def accept_waiting(self) -> None:
        """Accept what the kernel holds already, before the listener is closed."""
        while (accepted := self.do_read()) is not None:
            self.do_handle(*accepted)

    def _stream(self, sock: RawSocket) -> ClientStream:
        engine = self._engine
        if self._tls is None:
            return ClientStream(sock, engine.client_streams)
        return TlsClientStream.server(sock, engine.client_streams, self._tls.context)

    def _shakes_hands(self, stream: TlsClientStream, connection: ClientConnection) -> bool:
        assert self._tls is not None
        try:
            stream.handshake(self._engine.head_patience)
            connection.side.handshake = stream.agreement()
            self._tls.identify(stream, connection.side)
        except HTTPError as error:  # it speaks HTTP
            connection.refuse(error)
            return False
        except ClientError as error:
            log.info("%s: %s", connection.side.address, error)
            return False
        return True

    def _accept_again_soon(self) -> None:
        # Not gevent's own timer: it goes when gevent stops this server, after full() said so.
        if self._yielding is not None:
            self._yielding.close()
        self._yielding = self.loop.timer(_YIELD)
        self._yielding.start(self._start_accepting_if_started)

    def close(self) -> None:
        """Stop accepting for good."""
        if self._yielding is not None:
            self._yielding.close()
            self._yielding = None
        super().close()

    def _pause_accepting(self) -> None:
        self.stop_accepting()
        self._timer = self.loop.timer(_ACCEPT_PAUSE)
        self._timer.start(self._start_accepting_if_started)
