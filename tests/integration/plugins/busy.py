"""Middleware that costs CPU time, for profiles."""

from __future__ import annotations

import time

from pyrox import Middleware, Request, Response


class Busy(Middleware):
    """Computes for 20 ms of CPU time, then waits for 100 ms."""

    def __call__(self, request: Request) -> Response:
        self.compute()
        self.idle()
        return Response(200, "done\n")

    def compute(self) -> None:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    def idle(self) -> None:
        time.sleep(0.1)
