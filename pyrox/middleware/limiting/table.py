"""``Table``: keys and three numbers for each, in an area of shared memory, for all workers at once.

A key is 16 bytes of a keyed hash, kept whole, so two keys never meet in one record. It may stand in any of
the 32 slots of one bucket, which its first bytes name. There are twice as many slots as keys are wanted: a
bucket is full, before the table is, about once in ten thousand. A new key takes a free slot, or that of a
key whose time is over, or else that of the key whose time is over first.

Who looks at a bucket holds its lock. A worker may be killed at any moment, so records are changed in an
order in which each half-done change is harmless: words of 8 bytes are written whole, a record's key last,
and of a state the time last, so that at worst one key is forgiven what it used in one window.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from time import monotonic

from pyrox.shared_memory import Area, shared_area

_SLOTS = 32
_WORDS = 6  # of 8 bytes in a slot: two of the key, when it expires, and the state
_SLOT = _WORDS * 8
_BUCKET = _SLOTS * _SLOT
_NO_KEY = bytes(16)
_first_word = struct.Struct("<I").unpack_from  # of a key
_REPORT_INTERVAL = 60.0  # seconds between two lines in the log

log = logging.getLogger("pyrox")


class Table:
    """Room for ``most_keys`` under ``name``; every process that asks for the same gets the same."""

    def __init__(self, name: str, most_keys: int) -> None:
        buckets = 1 << max(2 * most_keys // _SLOTS - 1, 0).bit_length()
        self._mask = buckets - 1
        self._area: Area = shared_area(name, buckets * _BUCKET)
        self._memory = self._area.memory
        self._words = memoryview(self._memory).cast("d")
        self.secret = self._area.secret
        self._name = name
        self._most_keys = most_keys
        self._evicted = 0  # keys that this process has put out before their time, since it last said so
        self._report_at = 0.0

    def buckets_of(self, keys: Sequence[bytes]) -> list[int]:
        """Return the buckets of ``keys``, in the order in which they must be locked."""
        mask = self._mask
        if len(keys) == 1:  # mostly; it takes a fifth of the time
            return [_first_word(keys[0])[0] & mask]
        return sorted({_first_word(key)[0] & mask for key in keys})

    def lock(self, bucket: int) -> None:
        """Wait until no other process looks at ``bucket``."""
        self._area.lock(bucket)

    def unlock(self, bucket: int) -> None:
        """Let others look at ``bucket``."""
        self._area.unlock(bucket)

    def find(self, key: bytes) -> int:
        """Return the record of ``key``, or -1; its bucket must be locked."""
        start = (_first_word(key)[0] & self._mask) * _BUCKET
        end = start + _BUCKET
        found = self._memory.find(key, start, end)
        while found >= 0 and (found - start) % _SLOT:  # it is a part of two neighbours
            found = self._memory.find(key, found + 1, end)
        return found >> 3 if found >= 0 else -1

    def read(self, record: int) -> tuple[float, float, float, float]:
        """Return when the record expires, and its state."""
        words = self._words
        return words[record + 2], words[record + 3], words[record + 4], words[record + 5]

    def write(self, record: int, expires: float, a: float, b: float, c: float) -> None:
        """Change a record; its bucket must be locked. ``a`` is the time that ``b`` and ``c`` belong to."""
        words = self._words
        words[record + 5] = c
        words[record + 4] = b
        words[record + 3] = a
        words[record + 2] = expires

    def add(self, key: bytes, now: float, expires: float, a: float, b: float, c: float) -> None:
        """Make a record of ``key``, which has none; its bucket must be locked."""
        start = (_first_word(key)[0] & self._mask) * (_BUCKET >> 3)
        ends = self._words[start + 2 : start + _SLOTS * _WORDS : _WORDS].tolist()
        earliest = min(ends)
        if earliest > now:
            self._note_eviction()
        record = start + ends.index(earliest) * _WORDS
        self._memory[record << 3 : (record << 3) + 16] = _NO_KEY
        self.write(record, expires, a, b, c)
        self._memory[record << 3 : (record << 3) + 16] = key

    def _note_eviction(self) -> None:
        self._evicted += 1
        if monotonic() >= self._report_at:
            what = f"{self._evicted} keys put out before their time"
            log.warning("%s: %s, for want of room; raise max_keys (%d)", self._name, what, self._most_keys)
            self._evicted, self._report_at = 0, monotonic() + _REPORT_INTERVAL

    def remove(self, key: bytes) -> None:
        """Forget ``key``; its bucket must be locked."""
        record = self.find(key)
        if record >= 0:
            self._memory[record << 3 : (record << 3) + 16] = _NO_KEY
            self.write(record, 0.0, 0.0, 0.0, 0.0)

    def clear(self) -> None:
        """Forget all keys."""
        for bucket in range(self._mask + 1):
            self.lock(bucket)
            self._memory[bucket * _BUCKET : (bucket + 1) * _BUCKET] = bytes(_BUCKET)
            self.unlock(bucket)
