"""``Applications``: WSGI applications that stand as servers, called in the greenlet of their exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent
from greenlet import getcurrent

from pyrox.error_log import log_failure
from pyrox.errors import ProxyError, UpstreamError, UpstreamTimeout
from pyrox.green.attempt import UpstreamExchange
from pyrox.green.body import BodyReader
from pyrox.green.deadlines import NEVER, Deadlines
from pyrox.green.kept_body import KeptBody, is_gone
from pyrox.http.forwarding import add_response_fields
from pyrox.http.message import Request, Response
from pyrox.upstreams.wsgi import Application, BadApplication, Call
from pyrox.upstreams.wsgi_environ import ErrorLog, body_file, make_environ

if TYPE_CHECKING:
    from pyrox.green.exchange import LiveExchange

# Seconds that an application may give piece after piece to a client that takes them at once, before others
# have their turn: a send that does not wait lets nobody else run.
_TURN = 0.01


class Applications:
    """The applications of one worker by the URLs that name them; see ``load_applications``."""

    def __init__(self, known: Mapping[str, Application], clock: Deadlines, multiprocess: bool) -> None:
        self._known = known
        self._clock = clock
        self._multiprocess = multiprocess

    def answer(
        self,
        attempt: UpstreamExchange,
        exchange: LiveExchange | None,
        owner: LiveExchange | None,
        patience: int,
    ) -> Response:
        """Return the response to the request of ``attempt``, as soon as its head is final.

        ``owner`` is the client's exchange that all of it is done for, and ``exchange`` the same when the
        request is the client's own. Raises ``UpstreamError``: 500 when the application fails, 502 when it
        breaks PEP 3333, 504 when its head takes longer than ``patience`` ticks. Its failures are logged.
        """
        attempt.application = call = ApplicationCall(attempt.member.server.url, attempt.request, self._clock)
        try:
            if exchange is not None:
                exchange.connected_to(attempt)
            elif owner is not None:
                owner.adopt(attempt)
            response = self._call(call, exchange, patience)
            if owner is not None and owner.cancelled is not None:
                raise owner.cancelled
        except BaseException:
            attempt.close()
            raise
        if exchange is not None:
            exchange.answered_by_upstream(response)
        elif owner is not None:
            owner.responses.append(response)
        response.on_close(attempt.close)
        return response

    def _call(self, call: ApplicationCall, exchange: LiveExchange | None, patience: int) -> Response:
        request = call.request
        if exchange is not None and is_gone(request._body, exchange):
            raise RuntimeError("the request's body has been sent already")
        seconds = None if patience >= NEVER else patience * self._clock.INTERVAL
        late = UpstreamTimeout(f"{call.url}: no answer yet")
        errors = ErrorLog(call.url)
        with gevent.Timeout(seconds, late) as limit:
            is_here = isinstance(request._body, bytes) and request._filters is None
            body = body_file(request._body if is_here else _incoming(call, exchange, limit))  # type: ignore[arg-type]
            environ = make_environ(request, body, _length_of(request), errors, self._multiprocess)
            try:
                response = call.run(self._known[call.url], environ)
            finally:
                errors.flush()
            # Frameworks make an answer of every exception, of these, too.
            if call.refused is not None:
                raise call.refused
            if seconds is not None and not limit.pending:
                raise late
            return response


class ApplicationCall:
    """One call of the application at ``url`` for ``request``, until its response is closed.

    ``may_read``: the application may still read the request's body, while it makes that of its response.
    ``refused``: what is wrong with that body, or with who sends it.
    """

    __slots__ = ("_call", "_clock", "_ended", "_greenlet", "may_read", "refused", "request", "url")

    def __init__(self, url: str, request: Request, clock: Deadlines) -> None:
        self.url = url
        self.request = request
        self._clock = clock
        self._call: Call | None = None
        self._greenlet: Any = None  # that the application runs in, while it does
        self._ended: BaseException | None = None  # what it was interrupted by, or is to be
        self.may_read = False
        self.refused: ProxyError | None = None

    def run(self, application: Application, environ: dict[str, Any]) -> Response:
        """Call the application up to its head; raises what ``Applications.answer`` does."""
        self._call = call = Call(application, environ)
        self._greenlet = getcurrent()
        try:
            call.start()
            return self._respond(call)
        except (Exception, SystemExit) as error:
            raise self.failure(error) from None
        finally:
            self._greenlet = None

    def _respond(self, call: Call) -> Response:
        head, whole = call.head, call.whole
        response = Response.from_head(head.status, head.reason, "1.1", head.fields)
        response.made_by = "upstream"
        response.content_length = head.length
        add_response_fields(response)
        if self.request.method == "HEAD" or head.status in (204, 304):
            if whole and head.length is None:
                response.content_length = len(whole)
        elif whole is None:
            self.may_read = True
            response._body = ApplicationBody(self, next(call.pieces), head.length)
        elif head.length not in (None, len(whole)):
            raise BadApplication(f"its body has {len(whole)} bytes, not {head.length}")
        else:
            response._body = whole
        return response

    def next_piece(self) -> bytes:
        """Let the application make the next piece of its body; ``b""`` at the end.

        Raises ``UpstreamError`` for what the application raises.
        """
        assert self._call is not None
        if self._ended is not None:
            raise self._ended
        self._greenlet = getcurrent()
        try:
            return next(self._call.pieces, b"")
        except (Exception, SystemExit) as error:
            raise self.failure(error) from None
        finally:
            self._greenlet = None

    def fail(self, error: BaseException) -> None:
        """Interrupt the application where it waits.

        Not when the client has left before there was a head: then the work may be worth ending. A stream that
        nobody reads is worth nothing, and might wait for its next event for ever.
        """
        if self.may_read or getattr(error, "source", None) != "client":
            self._ended = error
            self._clock.hub.loop.run_callback(self._interrupt, error)

    def close(self) -> None:
        """Close what the application has returned."""
        if self._call is None:
            return
        try:
            self._call.close()
        except (Exception, SystemExit) as error:
            log_failure(f"{self.url}: closing its response failed", error)

    def _interrupt(self, error: BaseException) -> None:
        if self._greenlet is not None:
            self._greenlet.throw(error)

    def failure(self, error: BaseException) -> ProxyError:
        """Return what to raise for ``error``, which came out of the application, and log it once."""
        if isinstance(error, ProxyError):
            return error  # of the request's body, or a time-out
        log_failure(f"{self.url}: {self.request!r} failed", error)
        detail = f"{self.url}: {type(error).__name__}: {error}"
        if isinstance(error, BadApplication):
            return UpstreamError(detail)
        return UpstreamError(detail, status=500, proxy_status="proxy_internal_error")


class ApplicationBody(BodyReader):
    """The body of the response of ``call``, made piece by piece as the client takes it; ``first`` is here."""

    __slots__ = ("_call", "_first", "_left", "_turn_ends")

    def __init__(self, call: ApplicationCall, first: bytes, length: int | None) -> None:
        super().__init__(None, length, 0)  # type: ignore[arg-type]  # there is no stream under it
        self._call = call
        self._left = length
        self._turn_ends = monotonic() + _TURN
        self._first: bytes | None = first

    def read_buffered(self) -> bytes:
        """Return the first piece, if it was not read yet."""
        piece, self._first = self._first, None
        return b"" if piece is None else self._accept(piece)

    def read(self) -> bytes:
        """Return the next piece; ``b""`` at the end.

        Raises ``UpstreamError`` for what the application raises, and when it ends before its Content-Length.
        """
        if self.is_complete:
            return b""
        if self._first is not None:
            return self.read_buffered()
        self._give_way()
        piece = self._call.next_piece()
        if piece:
            return self._accept(piece)
        if self._left:
            raise self._call.failure(BadApplication(f"its body is {self._left} bytes shorter than announced"))
        self.is_complete = True
        return b""

    def _accept(self, data: bytes) -> bytes:
        if self._left is not None:
            data = data[: self._left]  # PEP 3333: no more than was announced
            self._left -= len(data)
            self.is_complete = not self._left
        self.wire_bytes += len(data)
        return data

    def _give_way(self) -> None:
        now = monotonic()
        if now >= self._turn_ends:
            gevent.sleep(0.0001)  # 0 would let no timer run and no socket be looked at
            self._turn_ends = monotonic() + _TURN


def _incoming(call: ApplicationCall, exchange: LiveExchange | None, limit: gevent.Timeout) -> Iterator[bytes]:
    """Yield the request's body; the application's time stands still while the client takes its own."""
    request = call.request
    # RFC 9110 10.1.1: who reads the body asks for it, since nothing else would let the client begin; but not
    # for what is here already, nor behind the head of a final answer.
    if (
        exchange is not None
        and not call.may_read
        and "expect" in request.headers
        and not isinstance(request._body, bytes)
    ):
        exchange.relay_informational(Response.from_head(100, "Continue", "1.1", []))
    pieces = request.stream()
    while True:
        was_pending = limit.pending
        limit.cancel()
        try:
            piece = next(pieces, b"")
        except ProxyError as error:
            call.refused = error
            raise
        finally:
            if was_pending:
                limit.start()
        if not piece:
            return
        yield piece


def _length_of(request: Request) -> int | None:
    """Return the length of the body that the application will read, None when it is not known."""
    body = request._body
    if request._filters is not None:
        return None
    if isinstance(body, bytes):
        return len(body)
    return body.length_to_come if isinstance(body, BodyReader | KeptBody) else None
