"""``Forwarder``: the innermost handler. One request to one server, and its response back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from pyrox.errors import NoHealthyServer, UpstreamClosed, UpstreamError, UpstreamTimeout
from pyrox.green.attempt import StaleConnection, UpstreamExchange
from pyrox.green.body import BodyReader, body_reader
from pyrox.green.failover import Failover
from pyrox.green.kept_body import KeptBody, is_gone
from pyrox.green.pool import UpstreamPool
from pyrox.green.upload import Upload
from pyrox.http.forwarding import add_response_fields, answer_last_hop
from pyrox.http.framing import ChunkLimits
from pyrox.http.head import encode_request_head
from pyrox.http.head_cache import HeadCache
from pyrox.http.headers import make_field
from pyrox.http.message import Request, Response
from pyrox.router import Router
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.retry import IDEMPOTENT
from pyrox.upstreams.server import Server

if TYPE_CHECKING:
    from pyrox.green.exchange import LiveExchange
    from pyrox.green.wsgi import Applications

log = logging.getLogger("pyrox.upstream")

_EXPECTS_BODY = frozenset(("POST", "PUT", "PATCH"))


class Forwarder:
    """Sends requests upstream; the app at the bottom of every stack.

    Raises ``ProxyError``: 404 for an unknown cluster, 503 when no server may be used, 502 and 504 for
    what a server did or failed to do.
    """

    def __init__(
        self,
        router: Router,
        pool: UpstreamPool,
        heads: HeadCache,
        chunk_limits: ChunkLimits,
        first_byte_patience: int,
        read_patience: int,
        preserve_host: bool,
        current_exchange: Callable[[], LiveExchange | None],
        applications: Applications | None = None,
    ) -> None:
        self._router = router
        self._applications = applications
        self._pool = pool
        self._heads = heads
        self._chunk_limits = chunk_limits
        self._first_byte_patience = first_byte_patience
        self._read_patience = read_patience
        self._preserve_host = preserve_host
        self.current_exchange = current_exchange
        self._failover = Failover(self)

    def __call__(self, request: Request) -> Response:
        """Forward ``request`` and return the response as soon as its head is here."""
        if request._method in {"TRACE", "OPTIONS"} and (answer := answer_last_hop(request)):
            answer.made_by = "pyrox"
            return answer
        exchange: LiveExchange | None = request.exchange  # type: ignore[assignment]
        started = monotonic()
        if exchange is not None:
            exchange.connect_started = started
        cluster = self._router.route(request)
        if cluster.guard is not None:
            return self._failover.forward(cluster.guard, request, exchange)
        tried: tuple[Member, ...] = ()
        member = cluster.choose(request, started)
        fresh = False
        while True:
            try:
                response = self.try_once(UpstreamExchange(member, request), exchange, fresh)
            except UpstreamError as error:
                now = monotonic()
                if isinstance(error, StaleConnection):
                    fresh = True
                else:
                    if cluster.listens and not _is_late_by_its_client(exchange):
                        cluster.failed(member, now - started, now, refused=error.retryable)
                    if not error.retryable:
                        raise
                    tried = (*tried, member)
                    member = _next_member(cluster, request, now, tried, error)
                error.__traceback__ = None  # its frames hold the error
                log.info("%s: %s; trying again", (tried[-1] if tried else member).server, error)
                if exchange is not None:
                    exchange.retries += 1
                started = now
            else:
                if cluster.listens:
                    now = monotonic()
                    cluster.answered(member, request, response, now - started, now)
                return response

    def try_once(self, attempt: UpstreamExchange, exchange: LiveExchange | None, fresh: bool) -> Response:
        """Send the request of ``attempt``, of ``exchange`` when a client made it, and return the response.

        ``fresh``: on a connection made for it. Raises ``StaleConnection`` when it may be sent to the same
        server once more, on a fresh one.
        """
        certain = attempt.request._method not in IDEMPOTENT
        owner = exchange or self.current_exchange()
        server = attempt.member.server
        if exchange is not None:
            exchange.server = server.url  # also when no connection to it can be had
        if server.scheme == "wsgi" and self._applications is not None:
            return self._applications.answer(attempt, exchange, owner, self._first_byte_patience)
        pool = self._pool if exchange is None or exchange.pool is None else exchange.pool
        try:
            attempt.connection = pool.checkout(server, owner, fresh, certain)
            attempt.pool = pool
            if exchange is not None:
                exchange.connected_to(attempt)
            elif owner is not None:
                owner.adopt(attempt)
            self._send(attempt, exchange)
            response = self._read_head(attempt, exchange)
        except UpstreamClosed as error:
            attempt.close()
            if _may_repeat(attempt):
                raise StaleConnection(error.detail) from None
            raise
        except BaseException:
            attempt.close()
            raise
        return self._receive(attempt, response, exchange)

    # --- the request ---

    def _send(self, attempt: UpstreamExchange, exchange: LiveExchange | None) -> None:
        request, stream = attempt.request, attempt.connection.stream
        self._set_host(request, attempt.connection.server)
        body = request._body
        if isinstance(body, bytes) and request._filters is None:
            declared = body or request.content_length == 0 or request._method in _EXPECTS_BODY
            framing = b"Content-Length: %d\r\n" % len(body) if declared else b""
            if request.upgrade is not None or request.accepts_trailers:
                framing += _connection_fields(request)
            stream.send(encode_request_head(request, framing) + body)
            return
        reader = exchange.request_reader if exchange is not None else None
        if exchange is not None and is_gone(body, exchange):
            raise RuntimeError(
                "the request's body has been sent already; request.read_body() before the first"
                " self.app(request) keeps it for the second"
            )
        length = None
        if isinstance(body, BodyReader | KeptBody) and request._filters is None:
            length = body.length_to_come
        framing = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
        stream.send(encode_request_head(request, framing + _connection_fields(request)))
        attempt.upload = Upload(request, reader, stream, chunked=length is None)

    def _set_host(self, request: Request, server: Server) -> None:
        fields = request.headers.fields
        if self._preserve_host:
            for field in fields:
                if field[0] == b"host":
                    return
        kept = [field for field in fields if field[0] != b"host"]
        request.headers.fields = [(b"host", b"Host", server.authority.encode()), *kept]

    # --- the response ---

    def _read_head(self, attempt: UpstreamExchange, exchange: LiveExchange | None) -> Response:
        connection, request = attempt.connection, attempt.request
        patience = self._first_byte_patience
        while True:
            try:
                response = connection.read_response(request._method, self._heads, patience)
            except UpstreamTimeout:
                if connection.stream.failure is not None:  # the client was as late as the server
                    raise connection.stream.failure from None
                # The server's time begins when it has the whole request; an upload may take longer.
                patience = attempt.patience_left(self._first_byte_patience)
                if patience <= 0:
                    raise UpstreamTimeout("no response within upstream_first_byte") from None
                continue
            attempt.has_answered = True
            if response._status >= 200:
                return response
            if response._status == 101:
                _check_upgrade(attempt, response)
                return response
            if exchange is not None:
                exchange.relay_informational(response)
            patience = self._first_byte_patience

    def _receive(
        self, attempt: UpstreamExchange, response: Response, exchange: LiveExchange | None
    ) -> Response:
        """Attach the body to ``response`` and make it one that the stack can be given."""
        stream, length = attempt.connection.stream, response.body_length
        response.made_by = "upstream"
        add_response_fields(response)
        attempt.keep_alive = response.keep_alive and response._status != 101
        if exchange is not None:
            exchange.answered_by_upstream(response)
        elif (owner := self.current_exchange()) is not None:
            owner.responses.append(response)
        data = stream.buffer
        if length == len(data):
            response._body, stream.buffer = data, b""
        elif 0 < length < len(data):
            response._body, stream.buffer = data[:length], data[length:]
        elif length:
            attempt.reader = body_reader(
                stream, length, self._read_patience, UpstreamError, self._chunk_limits
            )
            response._body = attempt.reader
        if attempt.reader is None and attempt.upload is None and response._status != 101:
            attempt.close()
        else:
            response.on_close(attempt.close)
        return response


def _next_member(
    cluster: Cluster, request: Request, now: float, tried: tuple[Member, ...], failure: UpstreamError
) -> Member:
    with suppress(NoHealthyServer):
        return cluster.choose(request, now, tried)
    raise failure  # what the last server did says more than that none is left


def _is_late_by_its_client(exchange: LiveExchange | None) -> bool:
    """Whether the time of the exchange was over before its server had the whole request."""
    return exchange is not None and exchange.cancelled is not None and exchange.is_uploading


def _may_repeat(attempt: UpstreamExchange) -> bool:
    """RFC 9110 9.2.2: idempotent, on a reused connection, no response byte, and the body still whole."""
    return (
        attempt.pool is not None
        and attempt.connection.is_reused
        and attempt.upload is None
        and attempt.request._method in IDEMPOTENT
        and not attempt.has_answered
        and not attempt.connection.stream.buffer
    )


def _check_upgrade(attempt: UpstreamExchange, response: Response) -> None:
    offered, detail = attempt.request.upgrade, ""
    if not _is_offered(response.upgrade, offered):
        detail = f"101 to {response.upgrade!r}, offered was {offered!r}"
    elif attempt.is_uploading:
        # RFC 9110 7.8: the client "can't change the protocol it is sending in the middle of a message".
        detail = "101 before the end of the request"
    if detail:
        raise UpstreamError(detail, proxy_status="http_upgrade_failed")


def _is_offered(accepted: str, offered: str | None) -> bool:
    """RFC 9110 7.8: a server must not switch to a protocol that the client did not indicate."""
    if not accepted or offered is None:
        return False
    return _protocols(accepted) <= _protocols(offered)


def _protocols(names: str) -> set[str]:
    return {name.strip().lower() for name in names.split(",")}


def _connection_fields(request: Request) -> bytes:
    """RFC 9110 7.6.1: what is meant for the next hop only is named in Connection."""
    if request.upgrade is not None:
        _, name, value = make_field("Upgrade", request.upgrade)  # a middleware may have set anything
        return b"Connection: Upgrade\r\n%b: %b\r\n" % (name, value)
    if request.accepts_trailers:
        return b"Connection: TE\r\nTE: trailers\r\n"
    return b""
