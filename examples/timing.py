"""Measure exchanges to their last byte, and log the slow ones."""

from __future__ import annotations

import logging
from time import monotonic

from pyrox import Middleware, Request, Response
from pyrox.middleware import App

log = logging.getLogger("timing")


class Timing(Middleware):
    """Tells the client how long the upstream took, and the log which exchanges were slow.

    * ``slow``: seconds from the request to the last byte of its response, from which it is logged.
    """

    def __init__(self, app: App, slow: float = 1.0) -> None:
        super().__init__(app)
        if slow < 0:
            raise ValueError(f"slow: {slow} is negative")
        self.slow = slow

    def __call__(self, request: Request) -> Response:
        started = monotonic()
        asked_for = f"{request.method} {request.target}"
        response = self.app(request)  # returns when the head is here; the body is still on its way
        milliseconds = (monotonic() - started) * 1000
        response.headers.add("Server-Timing", f"upstream;dur={milliseconds:.1f}")

        def finished() -> None:
            seconds = monotonic() - started
            if seconds >= self.slow:
                log.warning("%s took %.3f s (%d)", asked_for, seconds, response.status)

        response.on_close(finished)
        return response
