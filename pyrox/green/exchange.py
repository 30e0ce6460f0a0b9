"""``LiveExchange``: an exchange in progress, the record and the hands the engine has in it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from pyrox.error_log import log_failure
from pyrox.errors import ProxyError, UpstreamTimeout
from pyrox.exchange import Exchange
from pyrox.green.body import BodyReader
from pyrox.green.stream import SocketStream
from pyrox.http.head import encode_response_head
from pyrox.http.message import Response

if TYPE_CHECKING:
    from pyrox.green.attempt import UpstreamExchange
    from pyrox.green.pool import UpstreamPool
    from pyrox.green.waiting import Interruptible, Wait


class LiveExchange(Exchange):
    """One exchange of one client connection; the forwarder reports to it, the client may cancel it."""

    __slots__ = (
        "attempts",
        "cancelled",
        "connecting",
        "is_head",
        "pool",
        "request_reader",
        "stream",
        "timer",
        "waits",
    )

    def __init__(
        self, stream: SocketStream, peer_address: str, started: float, pool: UpstreamPool | None = None
    ) -> None:
        Exchange.__init__(self, peer_address, started)  # super() takes 0.1 us
        self.stream = stream  # the client's side
        self.pool = pool  # of the client's own connections; None for those that all clients share
        self.is_head = False  # the client's own line says so: a middleware may change it for the upstream
        self.request_reader: BodyReader | None = None  # the request's body, while it arrives
        self.attempts: list[UpstreamExchange] = []
        self.connecting: SocketStream | None = None  # a new connection on its way
        self.waits: tuple[Wait | Interruptible, ...] = ()  # for something that is no connection
        self.cancelled: ProxyError | None = None
        self.timer: Any = None  # of the whole exchange, when it has one

    # --- told by the forwarder ---

    def connecting_to(self, stream: SocketStream) -> None:
        """A new connection is being made; raises when the exchange was cancelled."""
        self.connecting = stream
        if self.cancelled is not None:
            raise self.cancelled

    def connected_to(self, attempt: UpstreamExchange) -> None:
        """A connection for this exchange was found; raises when the exchange was cancelled."""
        self.connect_done = monotonic()
        self.attempts.append(attempt)
        if self.cancelled is not None:
            raise self.cancelled

    def adopt(self, attempt: UpstreamExchange) -> None:
        """Cancel and release ``attempt``, of a request that a middleware made itself, with this exchange.

        Raises when the exchange was cancelled.
        """
        self.attempts.insert(0, attempt)  # the last is that of the client's own request
        if self.cancelled is not None:
            raise self.cancelled

    def answered_by_upstream(self, response: Response) -> None:
        """The head of the final response is here."""
        self.first_byte = monotonic()
        self.responses.append(response)

    def relay_informational(self, response: Response) -> None:
        """Pass a 1xx on at once; HTTP/1.0 knows none (RFC 9110 15.2)."""
        if self.request is not None and self.request.version == "1.1":
            self.send_head(encode_response_head(response, b""))

    # --- told by the client's connection ---

    def send(self, data: bytes) -> None:
        """Send ``data`` to the client and count it."""
        self.stream.send(data)
        self.bytes_sent += len(data)

    def send_head(self, head: bytes, body: bytes = b"") -> None:
        """Send ``head``, and a body that is here already in the same packet.

        The connection is aborted when that fails: a part of it may be out, and there is never a second head.
        """
        message = head + body
        try:
            self.stream.send(message)
        except BaseException:
            self.stream.abort()
            raise
        self.head_bytes_sent += len(head)
        self.bytes_sent += len(message)

    def cancel(self, error: ProxyError) -> None:
        """Give the exchange up: whoever waits for its upstream, now or later, raises ``error``."""
        self.cancelled = error
        if self.connecting is not None:
            self.connecting.fail(error)
        for wait in self.waits:
            wait.fail(error)
        for attempt in self.attempts:
            if not attempt.is_closed:
                attempt.fail(error)

    def expire(self) -> None:
        """The exchange took longer than its timeout; a tunnel may."""
        if self.status == 101:
            return
        error = UpstreamTimeout("the exchange took too long")
        self.cancel(error)
        if self.status:
            self.stream.fail(error)  # the answer is on its way: all that can be done is to cut it off
        else:
            self.stream.interrupt(error)

    @property
    def is_uploading(self) -> bool:
        """Whether a part of the request's body is still on its way upstream."""
        return any(attempt.is_uploading for attempt in self.attempts)

    def release(self, response: Response | None) -> None:
        """Run the ``on_close`` callbacks, and close what a middleware left open."""
        if response is not None:
            _close(response)
        for made in self.responses:
            if made is not response:
                _close(made)
        for attempt in self.attempts:
            if not attempt.is_closed:
                attempt.close()


def _close(response: Response) -> None:
    for failure in response.close():
        log_failure("an on_close callback failed", failure)
