"""Middleware for tests of the worker processes."""

from __future__ import annotations

import itertools
import os
import time

from pyrox import Middleware, Request, Response


class TellWorker(Middleware):
    """``X-Worker`` of each answer says which process gave it; ``/pid`` is answered with that."""

    def __call__(self, request: Request) -> Response:
        response = Response(200, b"ok") if request.path == "/pid" else self.app(request)
        response.headers["x-worker"] = str(os.getpid())
        return response


class Hang(Middleware):
    """Never answers ``/loop``, as a bug would, nor ``/c``, where Python hears no signal."""

    def __call__(self, request: Request) -> Response:
        while request.path == "/loop":
            time.monotonic()
        if request.path == "/c":
            sum(itertools.repeat(1))
        return self.app(request)


class Identity(Middleware):
    """Answers ``/identity`` with the account that the worker runs as."""

    def __call__(self, request: Request) -> Response:
        if request.path != "/identity":
            return self.app(request)
        return Response(200, f"{os.getuid()} {os.getgid()} {os.getgroups()} {os.umask(0o22):03o}")
