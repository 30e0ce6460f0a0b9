"""``health``: whether this proxy should get requests, for probes and load balancers."""

from __future__ import annotations

import os
from pathlib import Path

from pyrox.departure import is_about_to_end
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware

_METHODS = ("GET", "HEAD")
_NOT_STORED = {"Cache-Control": "no-store"}


class Health(Middleware):
    """Answers one path itself: 200 ``ok``, which says that a worker takes connections and runs its stack.

    It says nothing of the upstream: a proxy whose upstream is down is not mended by a restart, and taking
    all proxies out would turn the upstream's 502 into no answer at all.

    From TERM on the answer is 503 ``draining``; with ``drain_delay`` in [core] everything else is served for
    that long yet.

    * ``path``: the path it answers, to GET and HEAD; anything else gets 405. Default ``/-/healthy``.
    * ``drain_file``: while this file exists, the answer is 503 ``draining``, so that a load balancer sends
      its requests elsewhere before the proxy is stopped; every other request is served as ever. Default
      none.

    Put it outermost, or a middleware that refuses clients refuses the probe.
    """

    def __init__(self, app: App, path: str = "/-/healthy", drain_file: Path | None = None) -> None:
        super().__init__(app)
        if not path.startswith("/") or any(mark in path for mark in "?#"):
            raise ValueError(
                f"path: {path!r} is no path; write it as it stands in a URL, from the first / on"
            )
        if drain_file is not None and not drain_file.is_absolute():
            raise ValueError(f"drain_file: {str(drain_file)!r} must begin with /")
        self._path = path
        self._drain_file = None if drain_file is None else str(drain_file)

    def __call__(self, request: Request) -> Response:
        if request.path != self._path:
            return self.app(request)
        if request.method not in _METHODS:
            return Response(405, "ask with GET or HEAD\n", {"Allow": ", ".join(_METHODS)})
        # One look at the file for each probe: there are few of them.
        is_marked = self._drain_file is not None and os.path.lexists(self._drain_file)
        if is_marked or is_about_to_end():
            return Response(503, "draining\n", _NOT_STORED)
        return Response(200, "ok\n", _NOT_STORED)
