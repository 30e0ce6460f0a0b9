"""TLS over a ``SocketStream``: OpenSSL reads and writes our non-blocking socket itself.

``SSLContext.wrap_socket`` would put a Python socket object with its own blocking logic in between, so
the C-level object that it wraps is used directly. ``wrap_bio``, the public way, copies every byte twice
more.
"""

from __future__ import annotations

import _socket
import os
import socket
import ssl
from contextlib import suppress
from typing import Any

from pyrox.errors import ClientGone, ConnectError, HTTPError, ProxyError, UpstreamTimeout
from pyrox.green.stream import ClientStream, SocketStream, StreamSettings, UpstreamStream
from pyrox.http.certificate import ClientCertificate
from pyrox.http.handshake import Handshake


class RawSocket(_socket.socket):
    """A socket without Python's layer on it, but weakly referable, as ``SSLContext`` demands."""

    __slots__ = ("__weakref__",)


class TlsStream(SocketStream):
    """What the two sides' TLS streams share."""

    __slots__ = ("_tls",)
    _tls: Any
    is_plain = False

    def use_context(self, context: ssl.SSLContext) -> None:
        """Go on with another context's certificate, while the handshake is going on."""
        self._tls.context = context

    def _begin(self, tls: Any) -> None:
        self._tls = tls
        self._recv = self._recv_tls
        self._send = self._send_tls

    def handshake(self, patience: int) -> None:
        """Do the TLS handshake within ``patience`` ticks; raises the side's error."""
        deadline = self._clock.now + patience
        self._await_first_move(deadline)
        while True:
            left = max(deadline - self._clock.now, 1)
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.read_deadline = self._clock.now + left
                super()._wait_readable()
            except ssl.SSLWantWriteError:
                self.wait_writable(left)
            except OSError as error:
                raise self.handshake_failed(error) from None

    def _await_first_move(self, deadline: int) -> None:
        """Who speaks first needs not wait."""

    def handshake_failed(self, error: OSError) -> ProxyError:
        return self.gone(f"TLS handshake: {_reason(error)}", proxy_status="tls_protocol_error")

    def _wait_readable(self) -> None:
        # What OpenSSL has decrypted already never makes the socket readable.
        if self._tls is None or not self._tls.pending():
            super()._wait_readable()

    def _recv_tls(self, size: int) -> bytes:
        try:
            return self._tls.read(size)  # type: ignore[no-any-return]
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            return b""

    def _recv_into(self, view: memoryview) -> int:
        try:
            return self._tls.read(len(view), view)  # type: ignore[no-any-return]
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            return 0

    def _send_tls(self, data: bytes | memoryview) -> int:
        try:
            return self._tls.write(data)  # type: ignore[no-any-return]
        except ssl.SSLWantWriteError:
            raise BlockingIOError from None

    def has_unread(self) -> bool:
        # A read that wants less than a record leaves the rest with OpenSSL.
        return self.buffer != b"" or self._tls.pending() > 0

    def probe(self) -> bytes | None:
        """As for a plain socket; what arrives is kept in the buffer, TLS cannot peek."""
        try:
            data = self._recv_tls(1 << 14)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self.gone(f"receive: {error}") from None
        self.buffer += data
        return data

    def shut_down(self) -> None:
        """Send close_notify, then FIN; reading goes on (RFC 8446 6.1)."""
        if self._tls is None:
            super().shut_down()
            return
        try:
            farewell = self._encode_close_notify()
        except OSError as error:
            raise self.gone(f"shutdown: {error}") from None
        self._send = self.sock.send  # TLS has said its last word
        self.send(farewell)
        super().shut_down()

    def _encode_close_notify(self) -> bytes:
        """Let OpenSSL write its close_notify into a socket pair that stands in for the connection.

        Python's ``shutdown`` calls SSL_shutdown twice, and the second one reads: what the peer is still
        sending would be lost, and be an error. The descriptor is itself again before anyone can see it.
        """
        fd = self.sock.fileno()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            connection = os.dup(fd)
            try:
                os.dup2(theirs.fileno(), fd, inheritable=False)
                self._tls.shutdown()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass  # the peer's close_notify is not awaited
            finally:
                os.dup2(connection, fd, inheritable=False)
                os.close(connection)
            ours.setblocking(False)
            return ours.recv(4096)

    def close(self) -> None:
        if not self.is_closed and self._tls is not None:
            # A peer that is gone or busy gets none: close_notify is a courtesy, not a condition.
            with suppress(OSError):
                self._tls.shutdown()
        super().close()


class TlsClientStream(TlsStream, ClientStream):
    """The client's side, TLS."""

    __slots__ = ("__weakref__",)  # OpenSSL's callbacks get it through a weak reference

    @classmethod
    def server(cls, sock: RawSocket, settings: StreamSettings, context: ssl.SSLContext) -> TlsClientStream:
        """Wrap an accepted socket; ``handshake`` comes next."""
        stream = cls(sock, settings)
        stream._begin(context._wrap_socket(sock, True, None, owner=stream))  # type: ignore[attr-defined]
        return stream

    def agreement(self) -> Handshake:
        """Return what the finished handshake has agreed on."""
        return Handshake(self._tls.version() or "", (self._tls.cipher() or ("",))[0])

    def peer_certificate(self) -> ClientCertificate | None:
        """Return the client's certificate, which was verified; None when it has shown none."""
        der = self._tls.getpeercert(True)
        return ClientCertificate.from_peer(self._tls.getpeercert(False), der) if der else None

    def _await_first_move(self, deadline: int) -> None:
        # The client speaks first, and hardly ever has by now: finding that out costs an exception.
        self.read_deadline = deadline
        self._wait_readable()

    def handshake_failed(self, error: OSError) -> ProxyError:
        if getattr(error, "reason", "") == "HTTP_REQUEST" or self._is_followed_by_http():
            self._speak_plainly()
            return HTTPError(400, "This is an HTTPS port: ask for https://, not http://")
        return ClientGone(f"TLS handshake: {_reason(error)}")

    def _is_followed_by_http(self) -> bool:
        """Tell whether what OpenSSL has not read ends a request line; it knows four methods itself."""
        try:
            return b" HTTP/1." in self.sock.recv(4096, socket.MSG_PEEK)
        except OSError:
            return False

    def _speak_plainly(self) -> None:
        self._recv, self._send = self.sock.recv, self.sock.send
        self._tls = None


class TlsUpstreamStream(TlsStream, UpstreamStream):
    """The upstream's side, TLS."""

    __slots__ = ()

    @classmethod
    def client(
        cls, sock: RawSocket, settings: StreamSettings, context: ssl.SSLContext, name: str
    ) -> TlsUpstreamStream:
        """Wrap a connected socket; ``handshake`` comes next. ``name`` is verified and sent as SNI."""
        stream = cls(sock, settings)
        stream._begin(context._wrap_socket(sock, False, name))  # type: ignore[attr-defined]
        return stream

    def handshake(self, patience: int) -> None:
        try:
            super().handshake(patience)
        except UpstreamTimeout as error:
            error.retryable = True
            error.proxy_status = "connection_timeout"
            raise

    def handshake_failed(self, error: OSError) -> ProxyError:
        bad_certificate = isinstance(error, ssl.SSLCertVerificationError)
        token = "tls_certificate_error" if bad_certificate else "tls_protocol_error"
        return ConnectError(f"TLS handshake: {_reason(error)}", proxy_status=token)


def _reason(error: OSError) -> str:
    """What OpenSSL says, without the line of Python's source that it says it in."""
    return str(error).partition(" (_ssl.c")[0]
