"""``LogFile``: whole lines at the end of a file that other processes write to as well.

What both logs need and ``logging.FileHandler`` does not give: one system call for many lines, a count
of the lines a full disk swallowed, no exception but ``OSError``, and no waiting. O_APPEND makes each
write land at the end of the file whoever else writes, so workers may share one.

A pipe needs more, and a container's standard output is one. Its reader may stand still, and a worker
must not stand still with it: so the pipe is written without blocking, and what it has no room for is
kept for the next time, up to a limit.
"""

from __future__ import annotations

import os
import select
import stat
from time import monotonic

# O_NONBLOCK does nothing to a file; a named pipe without a reader fails at once instead of hanging.
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
# Requests are personal data: the owner writes, the group (log readers) reads.
_MODE = 0o640
_NEWLINE = ord("\n")
_MAX_PENDING = 1 << 20
# Seconds a reader gets at the end for what is left.
_FAREWELL = 1.0


class LogFile:
    """An open log; ``target`` is a path, or the number of a descriptor that stays its owner's.

    ``lost`` counts the lines that could not be written; whoever reports them sets it back to 0.
    Raises ``OSError`` when the file cannot be opened or the descriptor is closed.
    """

    def __init__(self, target: str | int) -> None:
        self.path = target if isinstance(target, str) else None
        self.lost = 0
        self._pending = b""
        self._is_torn = False
        self._descriptor = -1
        self._is_own = self._is_pipe = False
        if isinstance(target, str):
            self._use(os.open(target, _APPEND, _MODE), is_own=True)
        else:
            self._borrow(target)

    @property
    def has_pending(self) -> bool:
        """Whether lines wait for room in a pipe; ``append(b"")`` tries again."""
        return bool(self._pending)

    def append(self, data: bytes) -> None:
        """Write ``data``, lines that each end in a newline, in one system call if it takes them all.

        Raises ``OSError`` as it comes from the system, after adding the lines that will never be
        written to ``lost``; the file is as usable after that as before.
        """
        # Half a line at the end of the file would swallow the next one.
        prefix = b"\n" if self._is_torn else b""
        data = prefix + self._pending + data
        self._pending = b""
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, self._piece(data, written))
        except BlockingIOError:
            self._is_torn = self._is_torn and not written
            if not self._keep(data[max(written, len(prefix)) :]):
                raise
        except OSError:
            self.lost += data.count(b"\n", max(written, len(prefix)))
            if written:
                self._is_torn = data[written - 1] != _NEWLINE
            raise
        else:
            self._is_torn = False

    def reopen(self) -> None:
        """Open the path anew, after a rotation; does nothing to a descriptor of somebody else's.

        Raises ``OSError`` and keeps the old file when the path cannot be opened.
        """
        if self.path is None:
            return
        old = self._descriptor
        self._use(os.open(self.path, _APPEND, _MODE), is_own=True)
        self._is_torn = self._is_torn and os.fstat(self._descriptor).st_size > 0
        if old >= 0:
            os.close(old)

    def close(self) -> None:
        """Close the file, unless the descriptor is somebody else's; a second call does nothing.

        Waits up to a second for a pipe to take what is left.
        """
        if self._descriptor < 0:
            return
        self._wait_for_reader(monotonic() + _FAREWELL)
        self.lost += self._pending.count(b"\n")
        self._pending = b""
        if self._is_own:
            os.close(self._descriptor)
        self._descriptor = -1

    def _wait_for_reader(self, deadline: float) -> None:
        room = select.poll()  # not select(), which stops at descriptor 1023
        room.register(self._descriptor, select.POLLOUT)
        while self._pending and (left := deadline - monotonic()) > 0:
            room.poll(left * 1000)
            try:
                self.append(b"")
            except OSError:
                return  # the reader has gone; the lines are counted

    def _borrow(self, descriptor: int) -> None:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            try:
                # O_NONBLOCK belongs to the open file, which a pipe's other users share: open it again.
                self._use(os.open(f"/proc/self/fd/{descriptor}", _APPEND), is_own=True)
                return
            except OSError:
                pass  # another user's pipe, or no /proc: then writing may wait for the reader
        self._use(descriptor, is_own=False)

    def _use(self, descriptor: int, is_own: bool) -> None:
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._descriptor = descriptor
        self._is_own = is_own

    def _piece(self, data: bytes, start: int) -> bytes:
        """What to write next: all of it; to a pipe, as many lines as no other writer can split.

        POSIX write(): up to PIPE_BUF bytes go into a pipe in one piece or not at all.
        """
        if not self._is_pipe or len(data) - start <= select.PIPE_BUF:
            return data[start:]
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1
        return data[start : end or data.find(b"\n", start) + 1 or len(data)]

    def _keep(self, rest: bytes) -> bool:
        """Keep ``rest`` for later, or as many lines as there is room for; True when that is all."""
        end = len(rest) if len(rest) <= _MAX_PENDING else rest.rfind(b"\n", 0, _MAX_PENDING) + 1
        self._pending = rest[:end]
        lost = rest.count(b"\n", end)
        self.lost += lost
        return not lost
