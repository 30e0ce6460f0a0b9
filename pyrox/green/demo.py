"""The demo upstream: something to put behind the proxy when nothing else runs.

``pyrox demo`` runs it alone; with ``upstream_hosts = demo`` each worker runs one inside itself.
HTTP is gevent's own pywsgi server, so what the proxy sends is read by code that is not the proxy's.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer
from gunicorn.util import parse_address

from pyrox.green.demo_pages import Call, answer, status_line

DEFAULT_BIND = "127.0.0.1:8081"
BACKLOG = 1024

_logger = logging.getLogger("pyrox.demo")


class DemoServer(WSGIServer):  # type: ignore[misc]
    """The demo on a listening socket that the caller has bound; ``start()`` and ``stop()`` it.

    ``stop()`` closes the listener and ends the connections that are still open.
    """

    stop_timeout = 0.1

    def __init__(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        if listener.family != socket.AF_UNIX:
            # pywsgi sends head and body apart; Nagle would hold the body until the head is acknowledged.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A SERVER_NAME keeps pywsgi from asking the DNS for one.
        super().__init__(
            listener, _application, spawn=Pool(), handler_class=_Handler, log=None, error_log=None,
            environ={"SERVER_NAME": "pyrox-demo"},
        )  # fmt: skip


class _Handler(WSGIHandler):  # type: ignore[misc]
    """One client connection; adds to pywsgi the raw request, HEAD, WebSocket and quiet disconnects."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError as error:  # pywsgi answers a bad request without looking whether anybody is left
            _logger.debug("connection lost: %s", error)

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["demo.target"] = self.path
        environ["demo.headers"] = self.headers.items()
        environ["wsgi.input"] = self.wsgi_input  # never the bare socket, as pywsgi has it when upgrading
        return environ

    def run_application(self) -> None:
        if self._wants_websocket():
            # Not before it is needed: importing wsproto takes a fifth of the time the whole engine takes.
            from pyrox.green.demo_websocket import WebSocketEcho

            self.close_connection = True
            WebSocketEcho(self.socket, self.rfile).serve(self.path, self.environ["demo.headers"])
        else:
            super().run_application()

    def _wants_websocket(self) -> bool:
        upgrade = self.environ.get("HTTP_UPGRADE", "").lower()
        return (self.command, self.environ["PATH_INFO"], upgrade) == ("GET", "/ws", "websocket")

    def process_result(self) -> None:
        if self.command == "HEAD":
            self.write(b"")  # pywsgi leaves it to the application to send the head alone
        else:
            super().process_result()

    def handle_error(self, kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        # A client that leaves is an everyday event; the rest is a fault of ours and keeps its traceback.
        if isinstance(error, OSError):
            self.close_connection = True
            _logger.debug("%s: connection lost: %s", self.requestline, error)
        else:
            super().handle_error(kind, error, traceback)

    def _handle_client_error(self, error: Exception) -> Any:
        # pywsgi's own prints a traceback when the connection is reset in the middle of a head.
        _logger.debug("bad request: %s", error)
        return None if isinstance(error, OSError) else super()._handle_client_error(error)


def _application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    endpoint, _, argument = environ["PATH_INFO"].removeprefix("/").partition("/")
    call = Call(
        method=environ["REQUEST_METHOD"],
        target=environ["demo.target"],
        version=environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        headers=environ["demo.headers"],
        argument=argument,
        query=environ["QUERY_STRING"],
        body=environ["wsgi.input"],
    )
    status, headers, body = answer(call, endpoint)
    start_response(status_line(status), headers)
    return body


def main(binds: Sequence[str] = ()) -> int:
    """Run the demo on ``binds`` (``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``) until INT or TERM.

    Port 0 takes a free one. Returns the exit status: 0 after a signal, 1 when a bind is not to be had.
    """
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stopped.set)
    servers: list[DemoServer] = []
    try:
        for bind in binds or (DEFAULT_BIND,):
            servers.append(_start(bind))
        stopped.wait()
    except (OSError, OverflowError, RuntimeError) as error:
        print(f"pyrox demo: cannot listen on {bind}: {error}", file=sys.stderr)
        return 1
    finally:
        for server in servers:
            _stop(server)
    return 0


def _start(bind: str) -> DemoServer:
    server = DemoServer(_listen(bind))
    server.start()
    print(f"pyrox demo listens on {_url_of(server.address)}", flush=True)
    return server


def _stop(server: DemoServer) -> None:
    server.stop()
    if isinstance(server.address, str):
        os.unlink(server.address)


def _listen(bind: str) -> socket.socket:
    address = parse_address(bind, "8081")
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return socket.create_server(address, family=family, backlog=BACKLOG)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(BACKLOG)
    return listener


def _url_of(address: Any) -> str:
    if isinstance(address, str):
        return f"unix:{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}/"
