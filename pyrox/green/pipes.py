"""``Pipe``: what the kernel moves a body through from one socket to another, so that nobody copies it.

splice(2) hands over the pages that hold the bytes; Python sees their number. A round takes what the
source has into an empty pipe, then sends all of it, so it is always clear which side is waited for. The
sockets' part of it is ``SocketStream.splice_to`` and ``splice_from``.

A pipe lives as long as its body, so no byte that was left in it can get into another.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrox.green.stream import SocketStream

# A pipe holds so many pages, however little is in each: of packets of 1448 bytes, 1 MiB holds 370 KB.
_SIZE = 1 << 20
# What a round moves at most, while others wait: it takes as long as half of it does through a buffer. With
# half of it a byte would cost a third more, since each round wakes both peers.
_MOST_IN_A_ROUND = 1 << 19
# An unprivileged user who has many gets smaller ones, of 64 KiB and then 8; below this, to copy costs less.
_LEAST_SIZE = 1 << 16
# They are few, as the relay's buffers are: what slow clients leave in them is the kernel's memory.
_MOST_PIPES = 32

# What splice(2) says where the kernel has none for such sockets, or a sandbox forbids it.
_REFUSALS = frozenset((errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP))

_pipes = 0  # that there are
_is_possible = hasattr(os, "splice")


class SpliceRefused(Exception):
    """splice(2) is not to be had, or not here; nothing was moved."""


class Pipe:
    """A pipe of one body; ``held`` is how many bytes are in it."""

    __slots__ = ("_read_end", "_write_end", "held")

    def __init__(self) -> None:
        """Raises ``OSError`` when there is no descriptor, or too little room, for it."""
        global _pipes
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _pipes += 1
        self.held = 0
        try:
            _widen(self._write_end)
        except OSError:
            self.close()
            raise

    def fill(self, source: SocketStream, size: int, patience: int) -> int:
        """Wait at most ``patience`` ticks for bytes of ``source`` and take up to ``size``; 0 at its end.

        To be called when nothing is ``held``; returns what then is. Raises ``SpliceRefused`` with the bytes
        still in ``source``.
        """
        self.held = source.splice_to(self._write_end, min(size, _MOST_IN_A_ROUND), patience)
        return self.held

    def pour(self, destination: SocketStream) -> int:
        """Send to ``destination`` as much of what is ``held`` as it takes, at least a byte; returns how much.

        Raises ``SpliceRefused`` with the bytes still in the pipe.
        """
        sent = destination.splice_from(self._read_end, self.held)
        self.held -= sent
        return sent

    def empty(self) -> bytes:
        """Return what is ``held``, and hold nothing."""
        data = os.read(self._read_end, self.held) if self.held else b""
        self.held = 0
        return data

    def close(self) -> None:
        """Let it go, with what is in it."""
        global _pipes
        _pipes -= 1
        os.close(self._read_end)
        os.close(self._write_end)


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _SIZE)
    except OSError:
        if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) < _LEAST_SIZE:
            raise


def open_pipe(source: SocketStream, destination: SocketStream) -> Pipe | None:
    """Return a pipe for a body from ``source`` to ``destination``; None when it cannot have one."""
    if not (_is_possible and source.is_plain and destination.is_plain) or _pipes == _MOST_PIPES:
        return None
    try:
        return Pipe()
    except OSError:
        return None


def splice(source: int, destination: int, size: int) -> int:
    """Move up to ``size`` bytes between a pipe and a socket without waiting; returns how many, 0 at the end.

    Raises ``SpliceRefused``, and then there are no more pipes; or ``OSError``: ``BlockingIOError`` when the
    socket has none, or takes none.
    """
    try:
        return os.splice(source, destination, size, flags=os.SPLICE_F_NONBLOCK)
    except OSError as error:
        if error.errno in _REFUSALS:
            _forget_splice()
            raise SpliceRefused from None
        raise


def splice_in(source: int, pipe: int, size: int) -> int:
    """Do as ``splice`` with a socket that is said to be readable.

    When it has none then, to wait again would be in vain, and cost all of the worker: splice never gets
    past urgent data of TCP (RFC 9293 3.8.5), while the socket stays readable. A recv skips it. So that is a
    ``SpliceRefused``, too.
    """
    try:
        return splice(source, pipe, size)
    except BlockingIOError:
        raise SpliceRefused from None


def _forget_splice() -> None:
    global _is_possible
    _is_possible = False
