"""``SharedCounts``: how much each key has in hand now, summed over all workers.

Each worker has a column of counters, one for each slot that a key can have, and nobody else changes it. A
key's count is the sum over the workers that live; a worker lives as long as it holds the lock of its column,
which the kernel takes from it when it dies. So what a killed worker had in hand is not lost: whoever finds
the lock free wipes the column.

Who claims a slot, or decides by a count, holds the lock of the slot's bucket. A slot is free when its count
is 0.
"""

from __future__ import annotations

import mmap
from hashlib import blake2b

from pyrox.shared_memory import Area, shared_area

_SLOTS = 32  # of one bucket, which the first bytes of a key name
_KEY = 16
_MOST_WORKERS = 1024
_PAGE = mmap.PAGESIZE
_WORD = 4


def shared_counts(name: str, most_keys: int) -> SharedCounts:
    """Return the counts for up to ``most_keys`` keys under ``name``, the same for all workers of a proxy.

    Raises ``MemoryError`` when more than 1024 workers count together.
    """
    shape = _Shape(most_keys)
    area = shared_area(f"counts {name}", shape.size)
    if not isinstance(area.owner, SharedCounts):
        area.owner = SharedCounts(area, shape)
    return area.owner


class _Shape:
    """Where things are: the number of columns ever used, the keys, the columns; each from a new page on."""

    def __init__(self, most_keys: int) -> None:
        self.buckets = 1 << max(2 * most_keys // _SLOTS - 1, 0).bit_length()
        slots = self.buckets * _SLOTS
        self.keys_at = _PAGE
        self.columns_at = _PAGE + _in_pages(slots * _KEY)
        self.column = _in_pages(slots * _WORD)
        self.size = self.columns_at + _MOST_WORKERS * self.column  # sparse: what is not used is not there


def _in_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


class SharedCounts:
    """One per process and area, see ``shared_counts``."""

    def __init__(self, area: Area, shape: _Shape) -> None:
        self._area = area
        self._memory = area.memory
        self._shape = shape
        self._mask = shape.buckets - 1
        self._stride = shape.column // _WORD
        self._used = memoryview(area.memory)[:_WORD].cast("I")
        self._counters = memoryview(area.memory)[shape.columns_at :].cast("I")
        self._own = self._take_column() * self._stride

    def add(self, text: str, most: int, of_worker: bool = False) -> int | None:
        """Count one more for ``text`` unless it has ``most``; returns what ``release`` wants, or None.

        ``of_worker``: what the other workers have does not matter. None also when there is no room.
        """
        encoded = text.encode("utf-8", "surrogatepass")
        key = blake2b(encoded, digest_size=_KEY, key=self._area.secret).digest()
        bucket = int.from_bytes(key[:4], "little") & self._mask
        self._area.lock(bucket)
        try:
            slot = self._slot_of(key, bucket)
            if slot is None or not self._has_room(slot, most, of_worker):
                return None
            self._counters[self._own + slot] += 1
            return slot
        finally:
            self._area.unlock(bucket)

    def release(self, slot: int) -> None:
        """Take back what ``add`` has counted."""
        # Without a lock: nobody else writes here, and a count that is too high for a moment harms nobody.
        self._counters[self._own + slot] -= 1

    def _has_room(self, slot: int, most: int, of_worker: bool) -> bool:
        if of_worker:
            return self._counters[self._own + slot] < most
        return self._sum(slot) < most or self._sum_of_living(slot) < most

    def _slot_of(self, key: bytes, bucket: int) -> int | None:
        """Return the slot of ``key``, or a free one that becomes its own; None when there is none."""
        start = self._shape.keys_at + bucket * _SLOTS * _KEY
        end = start + _SLOTS * _KEY
        found = self._memory.find(key, start, end)
        while found >= 0 and (found - start) % _KEY:  # it is a part of two neighbours
            found = self._memory.find(key, found + 1, end)
        if found >= 0:
            return (found - self._shape.keys_at) // _KEY
        for count in (self._sum, self._sum_of_living):
            for slot in range(bucket * _SLOTS, (bucket + 1) * _SLOTS):
                if not count(slot):
                    at = self._shape.keys_at + slot * _KEY
                    self._memory[at : at + _KEY] = key
                    return slot
        return None

    def _sum(self, slot: int) -> int:
        return sum(self._counters[slot : self._used[0] * self._stride : self._stride])

    def _sum_of_living(self, slot: int) -> int:
        """Return the count after what dead workers have left is wiped."""
        area = self._area
        for column in range(self._used[0]):
            start = column * self._stride
            if start == self._own or not self._counters[start + slot]:
                continue
            if area.try_lock(self._lock_of(column)):
                self._wipe(column)
                area.unlock(self._lock_of(column))
        return self._sum(slot)

    def _take_column(self) -> int:
        """Return a column that is this worker's from now on, until it dies."""
        for column in range(_MOST_WORKERS):
            if self._area.try_lock(self._lock_of(column)):
                self._wipe(column)
                self._area.lock(self._lock_of(_MOST_WORKERS))
                self._used[0] = max(self._used[0], column + 1)
                self._area.unlock(self._lock_of(_MOST_WORKERS))
                return column
        raise MemoryError(f"more than {_MOST_WORKERS} workers count together")

    def _wipe(self, column: int) -> None:
        """Give the column's pages back; they read as zeros."""
        start = self._shape.columns_at + column * self._shape.column
        self._memory.madvise(mmap.MADV_REMOVE, start, self._shape.column)

    def _lock_of(self, column: int) -> int:
        """Return the lock that a column's worker holds; those of the buckets come before."""
        return self._shape.buckets + column
