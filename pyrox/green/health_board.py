"""``HealthBoard``: which servers are healthy, in memory that the workers of one master share.

The master makes it before it forks. One worker at a time leads: it checks the servers and writes; the
others read. Who leads is decided by a lock of the kernel's, which a worker that dies cannot keep. Entries
are found by a key in a table that is never locked: each word is written whole, and a writer looks for its
entry each time, so that even two that write at once, for the moment in which one hands over to the next,
lose at most an entry until the next check.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from enum import IntEnum
from time import monotonic_ns

_SLOTS = 1 << 15
_WINDOW = 64  # places, one behind the other, at which a key may stand
# Seconds after which an entry that nobody refreshes is one of a configuration that is no more.
_FORGOTTEN = 600
HANDED_OVER = "PYROX_HEALTH_BOARD"  # in the environment of the next master: the board's descriptor
_NAME = "pyrox-health"


class Verdict(IntEnum):
    """What the checks say of a server."""

    UNKNOWN = 0
    HEALTHY = 1
    UNHEALTHY = 2


class HealthBoard:
    """A table of verdicts with ``slots`` places; make it before the first fork.

    Keys are numbers from 1 to 2^63 - 1; times are whole seconds of the monotonic clock.
    """

    def __init__(self, slots: int = _SLOTS) -> None:
        self._file = os.memfd_create(_NAME)
        self._size = (1 + 3 * slots) * 8
        os.ftruncate(self._file, self._size)
        words = memoryview(mmap.mmap(self._file, self._size)).cast("q")
        self._changed = words[:1]
        self._keys = words[1 : slots + 1]
        self._verdicts = words[slots + 1 : 2 * slots + 1]
        self._refreshed = words[2 * slots + 1 :]
        self._starts = max(slots - _WINDOW, 1)

    def hand_over(self) -> str:
        """Let the next program of this process read the board; returns the value for ``HANDED_OVER``."""
        os.set_inheritable(self._file, True)
        return str(self._file)

    def take_over(self, handed_over: str) -> None:
        """Begin with what is on the board of the master before this one, which goes on with its own.

        Both have workers for a while, which lead and write each for themselves.
        """
        if not handed_over.isdecimal():
            return
        with contextlib.suppress(OSError):
            descriptor = int(handed_over)
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"/memfd:{_NAME} "):
                # read() would move the offset, which the master before shares: a second upgrade, after one
                # that failed, would find the end.
                content = os.pread(descriptor, self._size + 1, 0)
                os.close(descriptor)
                if len(content) == self._size:
                    os.pwrite(self._file, content, 0)

    def try_to_lead(self) -> bool:
        """Become the one who writes, unless another worker is; whoever ends is no more."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def resign(self) -> None:
        """Let another worker lead."""
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    @property
    def changed(self) -> int:
        """A number that is another after every change of a verdict."""
        return self._changed[0]

    def verdict(self, key: int) -> Verdict:
        """Return what is known of the server with ``key``."""
        place = self._find(key)
        return Verdict.UNKNOWN if place is None else Verdict(self._verdicts[place])

    def set_verdict(self, key: int, verdict: Verdict, now: int) -> bool:
        """Let the others know; returns whether there was room."""
        place = self._find(key)
        if place is None:
            place = self._find_free(key, now)
            if place is None:
                return False
            self._verdicts[place] = Verdict.UNKNOWN  # what stood there is not this server's
            self._keys[place] = key
        self._refreshed[place] = now
        if self._verdicts[place] != verdict:
            self._verdicts[place] = verdict
            self._changed[0] = monotonic_ns()  # no count: two who count at once would make one of two
        return True

    def refresh(self, key: int, now: int) -> None:
        """Keep the entry of ``key``, if there is one; to be called every few minutes."""
        place = self._find(key)
        if place is not None:
            self._refreshed[place] = now

    def _window(self, key: int) -> tuple[int, list[int]]:
        start = key % self._starts
        return start, self._keys[start : start + _WINDOW].tolist()

    def _find(self, key: int) -> int | None:
        start, keys = self._window(key)
        return start + keys.index(key) if key in keys else None

    def _find_free(self, key: int, now: int) -> int | None:
        start, keys = self._window(key)
        for place, other in enumerate(keys, start):
            if not other or now - self._refreshed[place] > _FORGOTTEN:
                return place
        return None
