"""``ClientConnection``: the keep-alive loop of one client."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

from gevent import Timeout

from pyrox.error_log import log_failure
from pyrox.errors import ClientError, ClientGone, ClientTimeout, ProxyError, UpstreamClosed, UpstreamTimeout
from pyrox.green.body import BodyReader, LengthReader, LimitedReader, body_reader
from pyrox.green.deadlines import NEVER
from pyrox.green.exchange import LiveExchange
from pyrox.green.respond import send_response
from pyrox.green.stream import ClientStream, SocketStream
from pyrox.green.tunnel import Tunnel
from pyrox.http.error_response import error_response, internal_error
from pyrox.http.forwarding import ClientSide
from pyrox.http.framing import CHUNKED
from pyrox.http.head import check_partial_request_head, encode_response_head
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App

if TYPE_CHECKING:
    from pyrox.green.engine import Engine
    from pyrox.green.pool import UpstreamPool

log = logging.getLogger("pyrox")

# What a middleware may raise besides exceptions proper: its own timeout, and sys.exit(), which ends its
# request and not the worker with all its clients.
_FAILURES = (Exception, Timeout, SystemExit)

_CR = ord("\r")


class ClientConnection:
    """Reads requests, lets the stack answer them, sends the answers; one greenlet each."""

    __slots__ = ("_half_closed", "_lingers", "app", "engine", "exchange", "pool", "side", "started", "stream")

    def __init__(self, engine: Engine, stream: ClientStream, side: ClientSide, app: App) -> None:
        self.engine = engine
        self.app = app
        self.stream = stream
        self.side = side
        self.pool: UpstreamPool | None = None  # of connections that carry only this client's requests
        self.exchange: LiveExchange | None = None  # the one in progress
        self.started = 0.0  # first byte of the current request
        self._half_closed = False
        self._lingers = False
        stream.unattended = self._on_unattended

    def serve(self) -> None:
        """Serve requests until either side ends the connection; closes the stream."""
        try:
            while self._serve_one():
                pass
            if self._lingers and (patience := self.engine.linger_patience):
                self.stream.linger(patience)
        finally:
            self.stream.close()
            if self.pool is not None:
                self.pool.close()

    @property
    def is_tunnel(self) -> bool:
        """Whether the connection speaks another protocol by now."""
        return self.exchange is not None and self.exchange.status == 101

    def drain(self) -> None:
        """Give an idle client a moment to use the connection once more, then let it go."""
        if self.exchange is None:
            stream = self.stream
            stream.read_deadline = min(stream.read_deadline, self.engine.drain_deadline())

    def _serve_one(self) -> bool:
        """Read one request and answer it; returns whether another may follow."""
        try:
            raw = self._next_head()
            refused = None
        except ClientGone:
            return False
        except ClientError as error:
            raw, refused = b"", error
        if raw is None:
            self._lingers = False  # the last answer was read long ago, or the client has ended
            return False
        return self._exchange(raw, refused)

    def refuse(self, error: ProxyError) -> None:
        """Answer what is no request, and close the stream when the client has read it."""
        self.started = monotonic()
        try:
            self._exchange(b"", error)
            self.stream.linger(self.engine.linger_patience)
        finally:
            self.stream.close()

    def _exchange(self, raw: bytes, refused: ProxyError | None) -> bool:
        """Answer ``raw``, or ``refused``; returns whether another request may follow."""
        exchange = LiveExchange(self.stream, self.side.address, self.started, self.pool)
        self.exchange = exchange
        exchange.bytes_received = len(raw)
        response: Response | None = None
        if self.engine.exchange_timeout:
            self.engine.start_exchange_timer(exchange)
        try:
            response = self._refuse(exchange, refused) if refused else self._answer(exchange, raw)
            return self._send(exchange, response)
        except ClientGone as gone:
            exchange.status, exchange.error = gone.status, gone.proxy_status
            gone.__traceback__ = None
            return False
        finally:
            self.exchange = None
            if exchange.timer is not None:
                exchange.timer.close()
            exchange.release(response)
            exchange.finished = monotonic()
            if exchange.request_reader is not None:
                exchange.bytes_received += exchange.request_reader.wire_bytes
            self.engine.record(exchange)
            if exchange.request is not None:
                exchange.request.exchange = None  # no cycle is left for the collector

    # --- the request ---

    def _next_head(self) -> bytes | None:
        """Return the next request head; None when the client is done, or idle for too long."""
        stream, engine = self.stream, self.engine
        skipped = False
        while not stream.buffer:
            try:
                data = stream.receive(engine.idle_patience)
            except ClientTimeout:
                if stream.probe():
                    continue  # it came while the worker was busy; a close would reset the connection
                return None
            if not data:
                return None
            # RFC 9112 2.2: ignore at least one empty line before a request; here, at most one.
            if data[0] == _CR and data.startswith(b"\r\n") and not skipped:
                skipped = True
                data = data[2:]
            stream.buffer = data
        self.started = monotonic()
        raw = stream.read_head(check_partial_request_head, engine.heads.limits, engine.head_patience)
        if raw is not None and raw[0] == _CR and raw.startswith(b"\r\n") and not skipped:
            raw = raw[2:]
        return raw

    def _receive(self, exchange: LiveExchange, raw: bytes) -> Request:
        """Turn a head into a request with its body attached, ready for the stack."""
        exchange.raw_request_line = raw.partition(b"\r\n")[0]
        request = exchange.request = self.engine.heads.request(raw)
        exchange.head_received = monotonic()
        exchange.is_head = request._method == "HEAD"
        request.exchange = exchange
        length = request.content_length
        if length:
            self._attach_body(exchange, request, length)
        self.side.receive(request)
        return request

    def _attach_body(self, exchange: LiveExchange, request: Request, length: int) -> None:
        engine, stream = self.engine, self.stream
        limit = engine.max_body_size
        if 0 < length <= len(stream.buffer) and (not limit or length <= limit):
            data = stream.buffer
            request._body, stream.buffer = data[:length], data[length:]
            exchange.bytes_received += length
            return
        patience = engine.body_patience
        if request.headers.get("expect", "").lower() == "100-continue":
            # The client waits for the upstream's word, so its patience is the upstream's too.
            patience = min(patience + engine.first_byte_patience, NEVER)
        reader = body_reader(stream, length, patience, ClientError, engine.chunk_limits)
        exchange.request_reader = reader
        if limit and length > limit:
            raise ClientError(f"request body over max_body_size {limit}", status=413)
        request._body = LimitedReader(reader, limit) if limit and length == CHUNKED else reader

    # --- the answer ---

    def _answer(self, exchange: LiveExchange, raw: bytes) -> Response:
        try:
            response = self.app(self._receive(exchange, raw))
            if not isinstance(response, Response):
                raise TypeError(f"the outermost middleware returned {response!r}, not a Response")
            return response
        except ClientGone:
            raise
        except ProxyError as error:
            if _is_of_a_body(exchange, error):
                self.engine.broke_off(exchange)
            return self._refuse(exchange, error)
        except _FAILURES as error:
            log_failure(f"{exchange.request!r} failed", error)
            return self._refuse(exchange, internal_error(error))

    def _refuse(self, exchange: LiveExchange, error: ProxyError) -> Response:
        request = exchange.request
        if request is None:
            received = exchange.raw_request_line or self.stream.buffer
            exchange.raw_request_line = line = received[:1024].partition(b"\r\n")[0]
            exchange.is_head = line.startswith(b"HEAD ")
        exchange.error = error.proxy_status
        error.__traceback__ = None  # its frames hold what holds it: only the collector could free them
        if error.source == "upstream":
            log.warning("%r: %s", request, _with_server(exchange, error))
        else:
            what = request or exchange.raw_request_line[:80] or "a request"
            log.info("%s from %s refused: %r", what, self.side.address, error)
        if error.status == 502 and error.source == "upstream":
            error.status = self.engine.error_status
        response = error_response(error, request.headers.get("accept") if request else None)
        if error.source == "client" and request is not None:
            request.keep_alive = False  # where its next request starts is in doubt
        return response

    def _send(self, exchange: LiveExchange, response: Response) -> bool:
        exchange.status = response._status
        exchange.answered_by = response.made_by or "middleware"
        if response._status == 101:
            return self._run_tunnel(exchange, response)
        request = exchange.request
        keep_alive = request is not None and self._may_keep_alive(exchange, request)
        try:
            keep_alive = send_response(exchange, response, keep_alive)
        except ClientGone:
            raise
        except ProxyError as error:
            if not self.stream.is_closed:  # the head was not sent yet
                return self._send(exchange, self._refuse(exchange, error))
            exchange.error = error.proxy_status
            error.__traceback__ = None
            if error.source == "upstream" and exchange.cancelled is None:
                self.engine.broke_off(exchange)
            log.warning("%r: %s; aborted", request, _with_server(exchange, error))
            return False
        except _FAILURES as error:
            log_failure(f"{request!r}: the response failed on its way", error)
            if not self.stream.is_closed:
                return self._send(exchange, self._refuse(exchange, internal_error(error)))
            exchange.error = ProxyError.proxy_status
            return False
        reader = exchange.request_reader
        unread = reader is not None and not reader.is_complete
        self._lingers = request is None or unread or request.keep_alive or self.stream.buffer != b""
        return keep_alive and not unread

    def _may_keep_alive(self, exchange: LiveExchange, request: Request) -> bool:
        if not request.keep_alive or self.engine.is_draining or exchange.cancelled is not None:
            return False
        reader = exchange.request_reader
        if reader is None or reader.is_complete:
            return True
        return not exchange.is_uploading and self._read_unread(request, reader)

    def _read_unread(self, request: Request, reader: BodyReader) -> bool:
        """Read what is left of a body that nobody wanted, if it is little and comes soon."""
        engine = self.engine
        limit = engine.unread_body
        too_long = isinstance(reader, LengthReader) and reader.left > limit
        # After a final answer the client of Expect: 100-continue may or may not send its body.
        if too_long or "expect" in request.headers:
            return False
        deadline = engine.clock.now + engine.linger_patience
        received = 0
        try:
            while not reader.is_complete and received <= limit:
                reader.patience = max(deadline - engine.clock.now, 1)
                received += len(reader.read())
        except ProxyError:
            return False
        return reader.is_complete

    def _run_tunnel(self, exchange: LiveExchange, response: Response) -> bool:
        engine, attempt = self.engine, exchange.attempts[-1]
        framing = f"Connection: Upgrade\r\nUpgrade: {response.upgrade}\r\n".encode("latin-1")
        exchange.send_head(encode_response_head(response, framing))
        self.stream.unattended = None
        tunnel = Tunnel(self.stream, attempt.connection.stream, engine.clock, engine.tunnel_patience)
        try:
            tunnel.run()
        finally:
            exchange.bytes_sent += tunnel.sent
            exchange.bytes_received += tunnel.received
        return False

    # --- a client that speaks or leaves while nobody listens ---

    def _on_unattended(self, stream: SocketStream) -> None:
        """Called in the hub: bytes, an end or a reset came while the exchange is elsewhere."""
        try:
            data = stream.probe()
        except ClientGone as gone:
            stream.pause()
            self._cancel(gone)
            return
        if data is None:
            return
        stream.pause()
        if data:
            return  # the next request, or a body that waits to be read: back-pressure
        # A FIN alone does not say whether the client still reads.
        patience = self.engine.half_closed_patience
        if self._half_closed or not patience:
            self._cancel(ClientGone("left before its answer"))
        else:
            self._half_closed = True
            stream.read_deadline = self.engine.clock.now + patience

    def _cancel(self, gone: ClientGone) -> None:
        if self.exchange is not None:
            self.exchange.cancel(gone)

    def abort(self) -> None:
        """End the connection now, whatever it is doing."""
        gone = ClientGone("the proxy stops")
        self._cancel(gone)
        self.stream.fail(gone)


def _is_of_a_body(exchange: LiveExchange, error: ProxyError) -> bool:
    """Whether a server broke off a body that a middleware was reading: its cluster knows of the head only."""
    reader = exchange.attempts[-1].reader if exchange.attempts else None
    is_broken = isinstance(error, UpstreamClosed | UpstreamTimeout) and exchange.cancelled is None
    return is_broken and reader is not None and not reader.is_complete


def _with_server(exchange: LiveExchange, error: ProxyError) -> str:
    """What the log says of an error: also which server's it is, when its detail does not say so."""
    is_named = error.source != "upstream" or error.detail.startswith(exchange.server)
    return error.detail if is_named else f"{exchange.server}: {error.detail}"
