"""``Remembered``: a bounded memory for what is met again and again."""

from __future__ import annotations

from array import array
from typing import TypeVar

Value = TypeVar("Value")

_SLOTS = 1024  # a power of two


class Remembered(dict[bytes, Value]):
    """What was found out about pieces of bytes, of at most ``most`` of them; the oldest go first.

    Only what is met a second time is worth an entry: most of what differs from one message to the next
    never comes again, and would push out what does. What was met once leaves its hash in one of 1024
    slots, until another piece takes it: 8 KiB, and nothing to clear. Two pieces with one hash do no harm, the
    second is kept a little early.
    """

    __slots__ = ("_met", "_most")

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._met = array("q", bytes(8 * _SLOTS))

    def is_repeated(self, key: bytes) -> bool:
        """Tell whether ``key`` was asked about before, as far as is known; the next time it was."""
        digest = hash(key)
        slot = digest & (_SLOTS - 1)
        if self._met[slot] == digest:
            return True
        self._met[slot] = digest
        return False

    def keep(self, key: bytes, value: Value) -> None:
        """Remember ``value``; what was remembered first goes when there is no room."""
        if len(self) >= self._most:
            del self[next(iter(self))]
        self[key] = value
