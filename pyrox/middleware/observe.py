"""``Observer``: a middleware on trial. It is asked about every request, and nothing that it does counts.

The middleware gets a copy of the request's head, and of the response's once that is here, so whatever it
changes is changed for itself alone. When it lets the request pass, the real one goes on from within its
call, so that it sees real latencies, statuses and errors; when it answers itself, the answer is noted and
the real request goes on after it. What it attaches to the end of the response runs then.

Bodies are not copied. A request's body that the middleware reads is read and kept, up to 64 KiB; a longer
one, and the body of a response, cannot be observed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from time import monotonic
from typing import Any

from pyrox.error_log import log_failure
from pyrox.errors import ProxyError
from pyrox.http.body import known_length
from pyrox.http.framing import CHUNKED
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware

log = logging.getLogger("pyrox.observe")

OBSERVED = "observed"  # in request.state: the verdicts, for the access log
_TRIAL = "pyrox.trial"  # in the copy's state: which real request it is a copy of
_LONGEST_BODY = 1 << 16
_TOO_LONG = "it reads a body of more than 64 KiB"
_REPORT_INTERVAL = 10.0  # seconds between two lines in the log for one middleware


class NotObservable(Exception):
    """The middleware asked for what cannot be shown to it without changing the exchange."""


class Observer(Middleware):
    """Lets the middleware that ``make`` makes judge every request, and tells what it would have done.

    Each verdict other than to pass goes into ``request.state["observed"]``, which the access log shows as
    ``$observed``, and is counted; the counts go to the error log at most every ten seconds.
    """

    def __init__(self, app: App, name: str, make: Callable[[App], App]) -> None:
        super().__init__(app)
        self._name = name
        self._middleware = make(_go_on)
        self._asked = 0
        self._verdicts: Counter[str] = Counter()
        self._report_at = 0.0

    def __call__(self, request: Request) -> Response:
        trial = _Trial(request, self.app)
        verdict = trial.hold(self._middleware)
        self._asked += 1
        if verdict:
            self._note(request, verdict)
        return trial.conclude()

    def _note(self, request: Request, verdict: str) -> None:
        request.state.setdefault(OBSERVED, []).append(f"{self._name}={verdict}")
        self._verdicts[verdict] += 1
        now = monotonic()
        if now >= self._report_at:
            counts = ", ".join(f"{count} x {verdict}" for verdict, count in sorted(self._verdicts.items()))
            log.warning("middleware %r, observed, of %d requests: %s", self._name, self._asked, counts)
            self._report_at = now + _REPORT_INTERVAL
            self._asked = 0
            self._verdicts.clear()


class _Trial:
    """One request, and what becomes of it inside of the observed middleware."""

    __slots__ = ("_app", "_error", "_marks", "_request", "_response", "_shown", "is_sent")

    def __init__(self, request: Request, app: App) -> None:
        self._app = app
        self._request = request
        self._response: Response | None = None
        self._shown: Response | None = None  # what stands for it before the middleware
        self._error: BaseException | None = None
        self._marks: dict[str, Any] = {}  # what was noted on the error before the middleware saw it
        self.is_sent = False  # the real request is on its way

    def hold(self, middleware: App) -> str:
        """Ask ``middleware``; returns what it would have done, ``""`` for nothing."""
        try:
            answer = middleware(self._copy())
        except NotObservable as fault:
            return f"unknown: {fault}"
        except (Exception, SystemExit) as error:
            if error is self._error:
                return ""
            return str(error.status if isinstance(error, ProxyError) else 500)
        if not isinstance(answer, Response):
            return "500"
        if answer is not self._shown:
            _close(answer)
        return "" if answer.status == self._real_status() else str(answer.status)

    def go_on(self) -> Response:
        """Send the real request on, the first time; returns a copy of the response's head."""
        if self._error is not None:
            raise self._error
        if self._shown is None:
            self.is_sent = True
            try:
                self._response = self._app(self._request)
            except BaseException as error:
                self._error, self._marks = error, _marks_of(error)
                raise
            self._shown = _shown(self._response)
        return self._shown

    def conclude(self) -> Response:
        """Return the real response, now that the middleware has had its say."""
        if self._error is not None:
            # What a middleware notes on an error would become a part of the answer to it.
            self._error.__dict__.clear()
            self._error.__dict__.update(self._marks)
            raise self._error
        return self._app(self._request) if self._response is None else self._response

    def _real_status(self) -> int:
        """Return the status without the middleware; 0 while that is not known, for it answered itself."""
        if isinstance(self._error, ProxyError):
            return self._error.status
        return self._response.status if self._response is not None else 0

    def _copy(self) -> Request:
        real = self._request
        copy = Request.from_head(real.method, real.target, real.version, real.headers.fields.copy())
        copy.client, copy.client_address = real.client, real.client_address
        copy.content_length, copy.upgrade, copy.route = real.content_length, real.upgrade, real.route
        copy.keep_alive, copy.accepts_trailers = real.keep_alive, real.accepts_trailers
        body = real.body
        copy.body = body if isinstance(body, bytes) else _SharedBody(self, real)
        copy.state.update(real.state)
        copy.state[_TRIAL] = self
        return copy


def _go_on(copy: Request) -> Response:
    trial = copy.state.get(_TRIAL)
    if trial is None:
        raise NotObservable("it sends a request of its own")
    response: Response = trial.go_on()
    return response


def _shown(real: Response) -> Response:
    shown = Response.from_head(real.status, real.reason, real.version, real.headers.fields.copy())
    shown.content_length = real.content_length
    shown.made_by = real.made_by
    if real.body:
        shown.body = _UnseenBody(real)
    real.on_close(lambda: _close(shown))
    return shown


def _marks_of(error: BaseException) -> dict[str, Any]:
    return {
        name: mark.copy() if isinstance(mark, Headers | list) else mark
        for name, mark in error.__dict__.items()
    }


class _SharedBody:
    """The body of the real request, which is read when the copy's is, and stays there to be sent."""

    __slots__ = ("_real", "_trial", "length_to_come")

    def __init__(self, trial: _Trial, real: Request) -> None:
        self._trial = trial
        self._real = real
        self.length_to_come = known_length(real)

    def __iter__(self) -> Iterator[bytes]:
        """Yield it in one piece."""
        real = self._real
        if self._trial.is_sent:
            raise NotObservable("it reads the request's body after that was sent on")
        if "expect" in real.headers:  # upstream has to ask for it first
            raise NotObservable("it reads a body before the client was told to continue")
        if real.content_length is not None and real.content_length > _LONGEST_BODY:
            raise NotObservable(_TOO_LONG)  # unread, so that it still goes on with its declared length
        kept, chunks = bytearray(), real.stream()
        try:
            for chunk in chunks:
                kept += chunk
                if len(kept) > _LONGEST_BODY:
                    break
        except BaseException as error:
            real.body = _broken_off(bytes(kept), error)  # for who reads it next, too
            raise
        if len(kept) > _LONGEST_BODY:
            real.body = chain((bytes(kept),), chunks)
            raise NotObservable(_TOO_LONG)
        whole = bytes(kept)
        real.body = (whole,) if real.content_length == CHUNKED else whole  # trailers need chunks to follow
        yield whole


def _broken_off(kept: bytes, error: BaseException) -> Iterator[bytes]:
    yield kept
    raise error


class _UnseenBody:
    """Stands for the body of the real response, of which only the length can be told."""

    __slots__ = ("length_to_come",)

    def __init__(self, real: Response) -> None:
        self.length_to_come = known_length(real)

    def __iter__(self) -> Iterator[bytes]:
        raise NotObservable("it reads the response's body")
        yield b""


def _close(response: Response) -> None:
    for failure in response.close():
        log_failure("an on_close callback of an observed middleware failed", failure)
