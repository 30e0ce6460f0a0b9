"""``Tunnel``: bytes both ways after a 101, until both sides have ended."""

from __future__ import annotations

import gevent

from pyrox.errors import ProxyError
from pyrox.green.deadlines import Deadlines
from pyrox.green.stream import SocketStream


class Tunnel:
    """Two streams, each copied to the other; an end of one is passed on as a half-close.

    ``patience`` ticks without a byte in either direction end it. ``sent`` and ``received`` count the
    bytes to and from the client.
    """

    def __init__(self, client: SocketStream, upstream: SocketStream, clock: Deadlines, patience: int) -> None:
        self._client = client
        self._upstream = upstream
        self._clock = clock
        self._patience = patience
        self._last_byte = clock.now
        self.sent = 0
        self.received = 0

    def run(self) -> None:
        """Copy until both sides have ended, or one failed; closes neither stream."""
        other = gevent.spawn(self._copy_to_upstream)
        try:
            self.sent = self._copy(self._upstream, self._client)
            other.join()
        finally:
            other.kill()

    def _copy_to_upstream(self) -> None:
        self.received = self._copy(self._client, self._upstream)

    def _copy(self, source: SocketStream, destination: SocketStream) -> int:
        copied = 0
        try:
            while data := source.take() or self._receive(source):
                destination.send(data)
                copied += len(data)
            destination.shut_down()
        except ProxyError as error:
            # One direction is lost: neither side may wait for the other any longer.
            source.fail(error)
            destination.fail(error)
        return copied

    def _receive(self, source: SocketStream) -> bytes:
        """Wait as long as either direction moves."""
        while True:
            left = self._last_byte + self._patience - self._clock.now
            try:
                data = source.receive(max(left, 1))
            except source.late:
                if self._clock.now - self._last_byte >= self._patience:
                    raise
            else:
                self._last_byte = self._clock.now
                return data
