"""``UpstreamExchange``: one try at one server; ``GuardedExchange``: one that others must hear the end of."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from pyrox.errors import UpstreamError
from pyrox.green.body import BodyReader
from pyrox.green.pool import UpstreamPool
from pyrox.green.upload import Upload
from pyrox.green.upstream import UpstreamConnection
from pyrox.http.message import Request
from pyrox.upstreams.member import Member

if TYPE_CHECKING:
    from pyrox.green.wsgi import ApplicationCall


class UpstreamExchange:
    """One try at one server: the request on its way, the response, and the connection under both.

    It is in flight, and so counted, from here to ``close``. It has a ``connection`` when it has a ``pool``
    to give it back to; an ``application`` that is called instead has none.
    """

    __slots__ = (
        "application",
        "body",
        "connection",
        "has_answered",
        "is_closed",
        "keep_alive",
        "member",
        "pool",
        "reader",
        "request",
        "upload",
    )
    connection: UpstreamConnection

    def __init__(self, member: Member, request: Request) -> None:
        member.in_flight += 1
        self.member = member
        self.pool: UpstreamPool | None = None
        self.application: ApplicationCall | None = None
        self.request = request
        self.body = request._body
        self.upload: Upload | None = None
        self.reader: BodyReader | None = None
        self.has_answered = False  # some head came back, be it informational
        self.keep_alive = False  # known when the response head is
        self.is_closed = False

    @property
    def is_uploading(self) -> bool:
        """Whether the request's body is still on its way."""
        if self.application is not None:
            return self.application.may_read and not self.is_closed
        return self.upload is not None and not self.upload.is_complete

    def patience_left(self, patience: int) -> int:
        """Return how many of ``patience`` ticks since the end of the request are left."""
        if self.upload is None:
            return 0
        if self.upload.ended is None:
            return patience
        return self.upload.ended + patience - self.connection.stream.now

    def fail(self, error: BaseException) -> None:
        """Make whoever waits for this server raise ``error``."""
        if self.application is not None:
            self.application.fail(error)
        else:
            self.connection.stream.fail(error)

    def close(self) -> None:
        """Give the connection back if both messages ended exactly on a boundary; else close it."""
        if self.is_closed:
            return
        self.is_closed = True
        self.member.in_flight -= 1
        pool, upload = self.pool, self.upload
        if pool is None:
            if self.application is not None:
                self.application.close()
            return
        on_boundary = self.keep_alive and (self.reader is None or self._has_read_all(self.reader))
        if upload is not None and not upload.is_complete:
            upload.stop()
            on_boundary = False
        if on_boundary:
            pool.checkin(self.connection)
        else:
            pool.discard(self.connection)

    def _has_read_all(self, reader: BodyReader) -> bool:
        """Whether the server has sent the body, and not a byte more.

        Of a long one no more is read than is due, so the hub has not heard yet of what comes after it.
        """
        stream = self.connection.stream
        return reader.is_complete and stream.failure is None and stream.is_quiet()


class GuardedExchange(UpstreamExchange):
    """A try that tells when it is over, whichever way it ends."""

    __slots__ = ("_afterwards",)

    def __init__(self, member: Member, request: Request) -> None:
        UpstreamExchange.__init__(self, member, request)
        self._afterwards: tuple[Callable[[float], object], ...] = ()

    def then(self, call: Callable[[float], object]) -> None:
        """Call ``call`` with the time when it is over; at once when it is."""
        if self.is_closed:
            call(monotonic())
        else:
            self._afterwards += (call,)

    def close(self) -> None:
        try:
            UpstreamExchange.close(self)
        finally:
            calls, self._afterwards = self._afterwards, ()
            if calls:
                now = monotonic()
                for call in calls:
                    call(now)


class StaleConnection(UpstreamError):
    """A reused connection was closed by the server before it took the request."""
