"""``LogFile``: whole lines at the end of a file that other processes write to as well.

What both logs need and ``logging.FileHandler`` does not give: one system call for many lines, a count
of the lines a full disk swallowed, and no exception but ``OSError``. O_APPEND makes each write land
at the end of the file whoever else writes, so workers may share one.
"""

from __future__ import annotations

import os
import select
import stat

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
# Requests are personal data: the owner writes, the group (log readers) reads.
_MODE = 0o640
_NEWLINE = ord("\n")


class LogFile:
    """An open log; ``target`` is a path, or the number of a descriptor that stays its owner's.

    ``lost`` counts the lines that could not be written; whoever reports them sets it back to 0.
    Raises ``OSError`` when the file cannot be opened or the descriptor is closed.
    """

    def __init__(self, target: str | int) -> None:
        self.path = target if isinstance(target, str) else None
        self.lost = 0
        self._is_torn = False
        self._descriptor = -1
        self._use(os.open(target, _APPEND, _MODE) if isinstance(target, str) else target)

    def append(self, data: bytes) -> None:
        """Write ``data``, lines that each end in a newline, in one system call if it takes them all.

        Raises ``OSError`` as it comes from the system, after adding the lines not written to ``lost``;
        a file is as usable after that as before.
        """
        # Half a line at the end of the file would swallow the next one.
        prefix = b"\n" if self._is_torn else b""
        data = prefix + data
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, self._piece(data, written))
        except OSError:
            self.lost += data.count(b"\n", max(written, len(prefix)))
            if written:
                self._is_torn = data[written - 1] != _NEWLINE
            raise
        self._is_torn = False

    def reopen(self) -> None:
        """Open the path anew, after a rotation; does nothing to a descriptor of somebody else's.

        Raises ``OSError`` and keeps the old file when the path cannot be opened.
        """
        if self.path is None:
            return
        old = self._descriptor
        self._use(os.open(self.path, _APPEND, _MODE))
        self._is_torn = False
        if old >= 0:
            os.close(old)

    def close(self) -> None:
        """Close the file, unless the descriptor is somebody else's; a second call does nothing."""
        if self.path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _use(self, descriptor: int) -> None:
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._descriptor = descriptor

    def _piece(self, data: bytes, start: int) -> bytes:
        """What to write next: all of it; to a pipe, as many lines as no other writer can split.

        POSIX write(): up to PIPE_BUF bytes go into a pipe in one piece. A container's stdout is one.
        """
        if not self._is_pipe or len(data) - start <= select.PIPE_BUF:
            return data[start:]
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1
        return data[start : end or data.find(b"\n", start) + 1 or len(data)]
