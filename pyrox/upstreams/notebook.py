"""``Notebook``: what sources found last, for workers that start while nobody can be asked.

A worker that is replaced, or comes by a reload or an upgrade, begins with nothing. If its nameservers are
silent at that moment, it finds here what its predecessors and siblings found last. Each source has a page
in memory that all workers share, which outlives each of them; what a page holds is compressed, and so
comes with a checksum: what a worker was killed in the middle of writing counts as nothing.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import blake2b

from pyrox.shared_memory import Area, shared_area
from pyrox.upstreams.resolver import Found
from pyrox.upstreams.server import Server

_NAME = "servers that were found, 1"  # another number for another format: masters of two versions share it
_HEAD = struct.Struct("=16sdI")  # digest of the source, when it was answered (monotonic), length of the rest
_PAGE = 1 << 16  # bytes, of which only those that are written take memory: some 5,000 servers
_PAGES = 512
_WINDOW = 8  # pages, one behind the other, on which a source may stand
_LOCK = 0
# Seconds after which nothing here is believed any more: RFC 8767 section 5 proposes one to three days, and an
# outage may last for a weekend.
_OLDEST = 3 * 24 * 3600.0


class Notebook:
    """Pages in ``area``, by default the one that all workers of the proxy share."""

    def __init__(self, area: Area | None = None) -> None:
        self._area = area or shared_area(_NAME, _PAGE * _PAGES)

    def note(self, source: str, content: bytes, now: float) -> None:
        """Remember what ``encode_found`` made of what ``source`` found at ``now``; too much is not kept."""
        digest = _digest_of(source)
        if _HEAD.size + len(content) > _PAGE:
            content = b""
        with self._locked():
            start = self._place_for(digest)
            page = _HEAD.pack(digest, now, len(content)) + content
            self._area.memory[start : start + len(page)] = page

    def recall(self, source: str, now: float) -> tuple[frozenset[Found], float] | None:
        """Return what ``source`` found last, and how many seconds ago; None when that is not known."""
        digest = _digest_of(source)
        with self._locked():
            for start in self._window(digest):
                owner, time, length = _HEAD.unpack_from(self._area.memory, start)
                if owner == digest:
                    begin = start + _HEAD.size
                    content = self._area.memory[begin : min(begin + length, start + _PAGE)]
                    break
            else:
                return None
        found, age = _decode_found(content), max(now - time, 0.0)  # another may have noted it just now
        return (found, age) if found and age <= _OLDEST else None

    def _place_for(self, digest: bytes) -> int:
        """Return where a page for ``digest`` begins: its own, or else a free one, or else the oldest."""
        heads = [(start, *_HEAD.unpack_from(self._area.memory, start)) for start in self._window(digest)]
        start: int = min(heads, key=lambda head: (head[1] != digest, any(head[1]), head[2]))[0]
        return start

    def _window(self, digest: bytes) -> range:
        first = int.from_bytes(digest[:4]) % (_PAGES - _WINDOW)
        return range(first * _PAGE, (first + _WINDOW) * _PAGE, _PAGE)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._area.lock(_LOCK)
        try:
            yield
        finally:
            self._area.unlock(_LOCK)


def encode_found(found: Collection[Found]) -> bytes:
    """Return what ``Notebook.note`` keeps."""
    rows = [
        (s.url, s.scheme, s.host, s.port, s.path, s.address, one.weight, one.is_backup)
        for one in found
        for s in (one.server,)
    ]
    return zlib.compress(json.dumps(rows).encode(), 1)


def _decode_found(content: bytes) -> frozenset[Found]:
    """Return what was encoded, nothing when it is not whole."""
    try:
        rows = json.loads(zlib.decompress(content))
        return frozenset(Found(Server(*row[:6]), *row[6:]) for row in rows)
    except (zlib.error, ValueError, TypeError):
        return frozenset()


def _digest_of(source: str) -> bytes:
    return blake2b(source.encode(), digest_size=16).digest()
