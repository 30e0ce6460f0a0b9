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

from pyrox.errors import ClientGone, ConnectError, ProxyError, UpstreamTimeout
from pyrox.green.stream import ClientStream, SocketStream, StreamSettings, UpstreamStream
from pyrox.settings import SslSettings, UpstreamSettings


class RawSocket(_socket.socket):
    """A socket without Python's layer on it, but weakly referable, as ``SSLContext`` demands."""

    __slots__ = ("__weakref__",)


class TlsStream(SocketStream):
    """What the two sides' TLS streams share."""

    __slots__ = ("_tls",)
    _tls: Any

    def _begin(self, tls: Any) -> None:
        self._tls = tls
        self._recv = self._recv_tls
        self._send = self._send_tls

    def handshake(self, patience: int) -> None:
        """Do the TLS handshake within ``patience`` ticks; raises the side's error."""
        deadline = self._clock.now + patience
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

    def handshake_failed(self, error: OSError) -> ProxyError:
        return self.gone(f"TLS handshake: {error}", proxy_status="tls_protocol_error")

    def _wait_readable(self) -> None:
        # What OpenSSL has decrypted already never makes the socket readable.
        if not self._tls.pending():
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
        if not self.is_closed:
            # A peer that is gone or busy gets none: close_notify is a courtesy, not a condition.
            with suppress(OSError):
                self._tls.shutdown()
        super().close()


class TlsClientStream(TlsStream, ClientStream):
    """The client's side, TLS."""

    __slots__ = ()

    @classmethod
    def server(cls, sock: RawSocket, settings: StreamSettings, context: ssl.SSLContext) -> TlsClientStream:
        """Wrap an accepted socket; ``handshake`` comes next."""
        stream = cls(sock, settings)
        stream._begin(context._wrap_socket(sock, True, None))  # type: ignore[attr-defined]
        return stream

    def handshake_failed(self, error: OSError) -> ProxyError:
        return ClientGone(f"TLS handshake: {error}")


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
        return ConnectError(f"TLS handshake: {error}", proxy_status=token)


def server_context(settings: SslSettings) -> ssl.SSLContext | None:
    """Return the context for the listeners, or None when no certificate is configured.

    Raises ``OSError`` when a file cannot be read or the key does not fit.
    """
    if settings.cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.cert_file, settings.key_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def upstream_context(settings: UpstreamSettings) -> ssl.SSLContext:
    """Return the context for https upstreams: certificate and name are verified unless told not to."""
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
