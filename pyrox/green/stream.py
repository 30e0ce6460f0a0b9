"""``SocketStream``: one non-blocking socket with one persistent read watcher, a buffer and deadlines.

``gevent.socket`` starts and stops a watcher, and often a timer, for every wait. Here the read watcher
is started once; its callback runs in the hub and switches to the greenlet that is recorded as waiting
on *this* stream. A middleware that blocks elsewhere in gevent is therefore never woken by surprise.
When nobody waits, the callback asks ``unattended``, or stops the watcher: that is back-pressure.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gevent.monkey import get_original
from greenlet import getcurrent

from pyrox.errors import ClientGone, ClientTimeout, ProxyError, UpstreamClosed, UpstreamTimeout
from pyrox.green.deadlines import NEVER, Deadlines
from pyrox.green.pipes import splice, splice_in
from pyrox.http.head import HeadLimits

_READ, _WRITE = 1, 2  # libev's event bits; the first is POLLIN as well
_new_poll = get_original("select", "poll")  # gevent's own would let other greenlets run
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST

T = TypeVar("T")
CheckPartial = Callable[[bytes, HeadLimits], None]


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What all streams of one side share.

    * ``write_patience``: ticks that a write may stand still.
    * ``buffer_size``: bytes that one read takes at most, and so what an exchange holds in memory.
    """

    clock: Deadlines
    write_patience: int
    buffer_size: int


class SocketStream:
    """Bytes in and out of one socket, for at most one reading and one writing greenlet at a time.

    ``gone`` and ``late`` are the errors that a lost peer and a passed deadline become. ``is_plain``: what is
    sent and received is on the socket as it is.
    """

    __slots__ = (
        "_clock",
        "_poll",
        "_read_watcher",
        "_reader",
        "_recv",
        "_send",
        "_switch",
        "_write_watcher",
        "_writer",
        "buffer",
        "buffer_size",
        "failure",
        "is_closed",
        "is_watching",
        "read_deadline",
        "sock",
        "unattended",
        "write_deadline",
        "write_patience",
    )
    gone: type[ProxyError] = ClientGone
    late: type[ProxyError] = ClientTimeout
    is_plain = True

    def __init__(self, sock: Any, settings: StreamSettings) -> None:
        clock = settings.clock
        self.sock = sock
        self.buffer_size = settings.buffer_size
        self.write_patience = settings.write_patience
        self.buffer = b""  # received and not yet consumed
        self.is_closed = False
        self.unattended: Callable[[SocketStream], None] | None = None
        self.read_deadline = self.write_deadline = NEVER
        self._clock = clock
        self._recv = sock.recv
        self._send = sock.send
        self._switch = clock.switch
        # What everybody who uses the stream from now on gets.
        self.failure: BaseException | type[BaseException] | None = None
        self._poll: Any = None  # what tells whether the peer is quiet
        self._reader: Any = None
        self._writer: Any = None
        self._write_watcher: Any = None
        self._read_watcher = clock.hub.loop.io(sock.fileno(), _READ)
        self._read_watcher.start(self._on_readable)
        self.is_watching = True  # so that the hub hears of what the peer does
        clock.watch(self)

    @property
    def now(self) -> int:
        """The current tick of the clock that the deadlines are compared with."""
        return self._clock.now

    # --- reading ---

    def receive(self, patience: int) -> bytes:
        """Wait at most ``patience`` ticks for bytes and return them; ``b""`` at the end of the stream."""
        self.read_deadline = self._clock.now + patience
        while True:
            self._wait_readable()
            try:
                return self._recv(self.buffer_size)  # type: ignore[no-any-return]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.gone(f"receive: {error}") from None

    def receive_into(self, view: memoryview, patience: int) -> int:
        """Wait for bytes, store them in ``view`` and return how many; 0 at the end of the stream."""
        return self._when_readable(patience, lambda: self._recv_into(view))

    def splice_to(self, pipe: int, size: int, patience: int) -> int:
        """Wait for bytes, move up to ``size`` into an empty ``pipe`` and return how many; 0 at the end."""
        return self._when_readable(patience, lambda: splice_in(self.sock.fileno(), pipe, size))

    def take(self) -> bytes:
        """Return the bytes that are buffered, without waiting."""
        data = self.buffer
        self.buffer = b""
        return data

    def has_unread(self) -> bool:
        """Tell whether bytes were received that nobody has read."""
        return self.buffer != b""

    def read_head(self, check_partial: CheckPartial, limits: HeadLimits, patience: int) -> bytes | None:
        """Return the bytes up to and including the first empty line; None at EOF before any byte.

        The whole head must arrive within ``patience`` ticks. ``check_partial`` is called with what is
        there so far and raises what makes waiting for more pointless.
        """
        data = self.buffer or self.receive(patience)
        if not data:
            return None
        _, end, rest = data.partition(b"\r\n\r\n")  # half the time of find()
        if not end:
            data, rest = self._read_rest_of_head(data, check_partial, limits, patience)
        self.buffer = rest
        return data[: -len(rest)] if rest else data

    def _read_rest_of_head(
        self, data: bytes, check_partial: CheckPartial, limits: HeadLimits, patience: int
    ) -> tuple[bytes, bytes]:
        deadline = self._clock.now + patience
        while (end := data.find(b"\r\n\r\n")) < 0:
            self.buffer = data  # kept for whoever asks what arrived
            check_partial(data, limits)
            more = self.receive(max(deadline - self._clock.now, 1))
            if not more:
                raise self.gone("closed in the middle of a head")
            data += more
        return data, data[end + 4 :]

    def probe(self) -> bytes | None:
        """Tell what the socket holds without consuming it: bytes, ``b""`` for EOF, None for nothing."""
        try:
            return self.sock.recv(1, socket.MSG_PEEK)  # type: ignore[no-any-return]
        except BlockingIOError:
            return None
        except OSError as error:
            raise self.gone(f"receive: {error}") from None

    def is_quiet(self) -> bool:
        """Whether the kernel knows of nothing from the peer: no bytes, no end, no error.

        A poll that finds nothing takes a third of the time of a recv that finds nothing, which raises.
        """
        if self._poll is None:
            self._poll = _new_poll()
            self._poll.register(self.sock.fileno(), _READ)
        return not self._poll.poll(0)

    def peek(self, size: int, patience: int) -> bytes:
        """Wait for bytes on the socket itself, below TLS; return up to ``size`` and leave them there.

        ``b""`` at the end of the stream. ``skip`` takes what was peeked at.
        """
        return self._when_readable(patience, lambda: self.sock.recv(size, socket.MSG_PEEK))  # type: ignore[no-any-return]

    def _when_readable(self, patience: int, read: Callable[[], T]) -> T:
        self.read_deadline = self._clock.now + patience
        while True:
            self._wait_readable()
            try:
                return read()
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.gone(f"receive: {error}") from None

    def skip(self, size: int) -> None:
        """Take ``size`` bytes, which ``peek`` has shown, off the socket."""
        self.sock.recv(size)

    def pause(self) -> None:
        """Stop watching the socket until the next read: back-pressure."""
        self._read_watcher.stop()
        self.is_watching = False

    def resume(self) -> None:
        """Watch the socket again."""
        if not self.is_watching:
            self._read_watcher.start(self._on_readable)
            self.is_watching = True

    def _recv_into(self, view: memoryview) -> int:
        return self.sock.recv_into(view)  # type: ignore[no-any-return]

    def _wait_readable(self) -> None:
        if self.failure is not None:
            raise self.failure
        if not self.is_watching:
            self.resume()
        self._reader = getcurrent()
        try:
            self._switch()
        finally:
            self._reader = None

    def _on_readable(self) -> None:
        reader = self._reader
        if reader is not None:
            self._reader = None
            reader.switch()
        elif self.unattended is not None:
            self.unattended(self)
        else:
            self.pause()

    # --- writing ---

    def send(self, data: bytes | memoryview) -> None:
        """Send all of ``data``; waits, at most ``write_patience`` ticks for each bit of progress."""
        if self.failure is not None:
            raise self.failure
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self.gone(f"send: {error}") from None
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def _send_rest(self, rest: memoryview) -> None:
        while rest:
            self.wait_writable(self.write_patience)
            try:
                rest = rest[self._send(rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.gone(f"send: {error}") from None

    def splice_from(self, pipe: int, size: int) -> int:
        """Send some of the ``size`` bytes in ``pipe``, waiting as ``send`` does; returns how many."""
        while self.failure is None:
            try:
                return splice(pipe, self.sock.fileno(), size)
            except BlockingIOError:
                self.wait_writable(self.write_patience)
            except OSError as error:
                raise self.gone(f"send: {error}") from None
        raise self.failure

    def wait_writable(self, patience: int) -> None:
        """Wait at most ``patience`` ticks until the socket takes bytes, or is connected."""
        if self.failure is not None:
            raise self.failure
        if self._write_watcher is None:
            self._write_watcher = self._clock.hub.loop.io(self.sock.fileno(), _WRITE)
        self.write_deadline = self._clock.now + patience
        self._writer = getcurrent()
        self._write_watcher.start(self._on_writable)
        try:
            self._switch()
        finally:
            self._writer = None
            self.write_deadline = NEVER
            if not self.is_closed:
                self._write_watcher.stop()

    def _on_writable(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.switch()

    # --- the end ---

    def expire(self, now: int) -> None:
        """Wake whoever waits past a deadline with ``late``; called by the sweep, in the hub."""
        if self.write_deadline <= now:
            self.write_deadline = NEVER
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.throw(
                    self.late("the peer takes no more bytes", proxy_status="connection_write_timeout")
                )
        if self.read_deadline <= now:
            self.read_deadline = NEVER
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.throw(self.late("the peer sends no more bytes"))
            elif self.unattended is not None and not self.is_closed:
                self.unattended(self)

    def fail(self, error: BaseException) -> None:
        """Make whoever waits on this stream, or uses it next, raise ``error``; callable from anywhere."""
        if self.failure is None:
            self.failure = error
            self._clock.hub.loop.run_callback(self._deliver_failure)

    def interrupt(self, error: BaseException) -> None:
        """Make whoever reads now raise ``error``; the stream stays usable. To be called in the hub."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.throw(error)

    def _deliver_failure(self) -> None:
        if self._reader is not None:
            self._reader.throw(self.failure)
        if self._writer is not None:  # asked only now: the reader's end may have ended the writer
            self._writer.throw(self.failure)

    def shut_down(self) -> None:
        """Send FIN: nothing more comes from here, reading goes on."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self.gone(f"shutdown: {error}") from None

    def linger(self, patience: int) -> None:
        """Close so that the peer can read what was sent: FIN, then drop what comes for ``patience`` ticks.

        A close with unread bytes would send RST, which destroys the answer on its way (RFC 9112 9.6): a
        client that reads nothing before it has sent everything must be able to send everything.
        """
        try:
            self.shut_down()
            self.take()
            deadline = self._clock.now + patience
            while self._clock.now < deadline and self.receive(deadline - self._clock.now):
                pass
        except ProxyError:
            pass  # the peer left, or is silent
        self.close()

    def abort(self) -> None:
        """Close with RST, and nothing before it: the peer must not take what it has for the whole."""
        if not self.is_closed:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            SocketStream.close(self)  # TLS would say first that all is well

    def close(self) -> None:
        """Stop the watchers, then close the socket; a second call does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._reader is not None or self._writer is not None:
            self.fail(self.gone("closed while it was in use"))
        else:
            self.failure = self.gone  # the class makes the error when somebody does use it
        self._clock.forget(self)
        self.unattended = None
        for watcher in (self._read_watcher, self._write_watcher):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self.sock.close()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"fd {self.sock.fileno()}"
        return f"<{type(self).__name__} {state}, {len(self.buffer)} buffered>"


class ClientStream(SocketStream):
    """The client's side."""

    __slots__ = ()


class UpstreamStream(SocketStream):
    """The upstream's side."""

    __slots__ = ()
    gone = UpstreamClosed
    late = UpstreamTimeout
