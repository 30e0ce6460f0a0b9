"""A system whose resolver does not answer for ``slow.test``."""

from __future__ import annotations

import socket
from typing import Any

from pyrox import Middleware, Request, Response


class SlowNames(Middleware):
    """Makes look-ups of that name wait for ever."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        look_up = socket.getaddrinfo

        def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
            if host == "slow.test":
                from gevent import sleep

                sleep(3600)
            return look_up(host, *arguments, **options)

        socket.getaddrinfo = getaddrinfo

    def __call__(self, request: Request) -> Response:
        return self.app(request)
