"""A clock that goes when the test says so, and streams over socket pairs."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent

from pyrox.green.deadlines import Deadlines
from pyrox.green.stream import ClientStream, SocketStream, StreamSettings, UpstreamStream

PATIENCE = 8  # ticks; nothing here waits for real time


class Clock(Deadlines):
    """Goes on by ``advance`` alone, which may be called from any greenlet."""

    def advance(self, ticks: int = 1) -> None:
        """Let ``ticks`` sweeps run in the hub, as the timer's would, before anything else happens."""
        for _ in range(ticks):
            self.hub.loop.run_callback(self._sweep)

    def pass_by(self, ticks: int = 1) -> None:
        """``advance``, and come back when it is done."""
        self.advance(ticks)
        gevent.idle()


class Rig:
    """Makes streams and closes all of them at the end."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._streams: list[SocketStream] = []
        self._peers: list[socket.socket] = []

    def client(self, **settings: Any) -> tuple[ClientStream, socket.socket]:
        """A client's stream, and the client's end of it: a non-blocking socket."""
        return self._pair(ClientStream, **settings)

    def upstream(self, **settings: Any) -> tuple[UpstreamStream, socket.socket]:
        return self._pair(UpstreamStream, **settings)

    def _pair(self, kind: Any, write_patience: int = PATIENCE, buffer_size: int = 65536) -> Any:
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        stream = kind(ours, StreamSettings(self.clock, write_patience, buffer_size))
        self._streams.append(stream)
        self._peers.append(theirs)
        return stream, theirs

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        for peer in self._peers:
            peer.close()
        gevent.idle()  # lets failures be delivered to whoever still waits
        self.clock.stop()


def soon(call: Callable[..., object], *arguments: object) -> gevent.Greenlet:
    """Run ``call`` in a greenlet of its own as soon as the one that runs now waits."""
    return gevent.spawn(call, *arguments)


def fill(sock: socket.socket) -> int:
    """Write until the kernel takes no more; returns how much it took."""
    taken = 0
    try:
        while True:
            taken += sock.send(bytes(1 << 16))
    except BlockingIOError:
        return taken


def drain(sock: socket.socket) -> bytes:
    """Read what is there."""
    found = b""
    try:
        while piece := sock.recv(1 << 16):
            found += piece
    except BlockingIOError:
        pass
    return found
