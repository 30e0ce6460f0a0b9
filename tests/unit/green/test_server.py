"""What a server does with a connection before anyone reads from it."""

from __future__ import annotations

import socket
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import gevent.socket

from pyrox.green.server import ProxyServer


def test_client_that_connected_before_the_listener_was_set_up_is_sent_small_pieces_at_once() -> None:
    nobody: Any = SimpleNamespace(accepted=0, app=None, opened=lambda: None)
    with gevent.socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        accepted = ProxyServer(listener, nobody, None, nobody).do_read()
        assert accepted is not None
        with closing(accepted[0]) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
