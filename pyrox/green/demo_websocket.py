"""The demo upstream's WebSocket: each message comes back as one message (RFC 6455).

wsproto knows the protocol; here are only the socket and the two decisions: a message is collected
before it is sent back, because a client that sends all of it before it reads would otherwise wait
for an echo that waits for the client; and its size is limited, because it is collected.
"""

from __future__ import annotations

import socket
from typing import Any

import gevent
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

MESSAGE_LIMIT = 32 << 20
PIECE = 65536
LINGER = 2.0


class WebSocketEcho:
    """One WebSocket connection, from its opening handshake to its end.

    ``rfile`` is the buffered reader that the HTTP server read the request from: it may already hold
    the client's first frames.
    """

    def __init__(self, client: Any, rfile: Any) -> None:
        self._client = client
        self._rfile = rfile
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._message: list[Any] = []
        self._size = 0

    def serve(self, target: str, headers: list[tuple[str, str]]) -> None:
        """Shake hands and echo until either side closes; raises ``OSError`` when the client is gone."""
        if not self._accepts(target, headers):
            return
        while self._handle_events():
            data = self._rfile.read1(PIECE)
            if not data:
                return
            self._protocol.receive_data(data)
        self._linger()

    def _accepts(self, target: str, headers: list[tuple[str, str]]) -> bool:
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "\r\n"]
        try:
            self._protocol.receive_data("\r\n".join(lines).encode("latin-1"))
        except RemoteProtocolError as error:
            self._send(error.event_hint or RejectConnection())
            return False
        except UnicodeError:  # wsproto decodes Host as IDNA
            self._send(RejectConnection())
            return False
        request = next(iter(self._protocol.events()))
        assert isinstance(request, Request)
        # A browser that offers subprotocols fails the connection unless one is chosen.
        self._send(AcceptConnection(subprotocol=next(iter(request.subprotocols), None)))
        return True

    def _handle_events(self) -> bool:
        """Handle what has arrived; false when the connection is over."""
        for event in self._protocol.events():
            if isinstance(event, CloseConnection):
                self._close(event.response())
            elif isinstance(event, Ping):
                self._send(event.response())
            elif isinstance(event, Message):
                self._collect(event)
            if self._protocol.state is not ConnectionState.OPEN:
                return False
        return True

    def _collect(self, part: Message[Any]) -> None:
        self._message.append(part.data)
        self._size += len(part.data)
        if self._size > MESSAGE_LIMIT:
            self._close(CloseConnection(CloseReason.MESSAGE_TOO_BIG, f"over {MESSAGE_LIMIT} bytes"))
        elif part.message_finished:
            self._send_back(is_text=isinstance(part, TextMessage))

    def _send_back(self, is_text: bool) -> None:
        parts, self._message, self._size = self._message, [], 0
        self._send(TextMessage("".join(parts)) if is_text else BytesMessage(b"".join(parts)))

    def _close(self, event: CloseConnection) -> None:
        if self._protocol.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._send(event)

    def _send(self, event: Any) -> None:
        self._client.sendall(self._protocol.send(event))

    def _linger(self) -> None:
        # RFC 6455 7.1.1: the server closes first, and without unread data: that would reset the
        # connection, and the client could lose our close frame.
        self._client.shutdown(socket.SHUT_WR)
        with gevent.Timeout(LINGER, False):
            while self._rfile.read1(PIECE):
                pass
