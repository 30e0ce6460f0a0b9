"""Middleware that stalls its worker for a second or two, in every way that it can."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from time import monotonic

from pyrox import BodyFilter, Middleware, Request, Response

SECONDS = 2.0
_free, _holding = ctypes.CDLL(None), ctypes.PyDLL(None)  # without, and with, the interpreter's lock


def sleep_in_c() -> None:
    _free.usleep(int(SECONDS * 1e6))  # line of sleep_in_c


def hold_the_lock() -> None:
    _holding.usleep(int(SECONDS * 1e6))  # line of hold_the_lock


def backtrack() -> None:
    re.search(r"(a+)+$", "a" * 25 + "b")  # line of backtrack


def loop() -> None:
    end = monotonic() + SECONDS
    while monotonic() < end:  # line of loop
        pass


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way for way in (sleep_in_c, hold_the_lock, backtrack, loop)
}


class Stalls(Middleware):
    """Stalls in the way that the path names."""

    def __call__(self, request: Request) -> Response:
        way = WAYS.get(request.path[1:])
        if way is not None:
            way()
        if request.path == "/in_a_body":
            response = Response(200, "piece")
            response.filter_body(StallingFilter())
            return response
        return Response(200, "done\n")


class StallingFilter(BodyFilter):
    """Stalls where no layer of the stack runs any more."""

    def feed(self, chunk: bytes) -> bytes:
        _free.usleep(int(SECONDS * 1e6))  # line of feed
        return chunk
