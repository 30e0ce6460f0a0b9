"""``Encoder``: applies content codings to a body while it streams by."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Protocol

from pyrox.http.coding import brotli_library, zstd_library
from pyrox.http.decoding import WINDOW_BITS
from pyrox.threads import run_in_thread

# Lowest and highest. Above 19 zstd wants windows over the 8 MiB that a client must grant (RFC 9659).
LEVELS = {"gzip": (1, 9), "deflate": (1, 9), "br": (0, 11), "zstd": (1, 19)}

# gzip's is nginx's default: a quarter of level 6's CPU for a body that is a fifth longer. br's costs as
# much, zstd's a third.
DEFAULT_LEVELS = {"gzip": 1, "deflate": 1, "br": 4, "zstd": 3}

# What is longer is encoded in a thread, while other exchanges go on: 0.1 (zstd) to 0.5 ms at the default
# levels, where the way there and back takes 0.05.
_THREAD_FROM = 1 << 15

_BROTLI_WINDOW_LOG = 19  # 512 KiB, as in nginx's module; the default costs four times the memory


class _Compressor(Protocol):
    """What zlib's compressor does, whatever the coding."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...
    def finish(self) -> bytes: ...


class Encoder:
    """Applies ``codings`` (as ``parse_codings`` gives them) in their order.

    ``level`` is how much is tried, within ``LEVELS`` of each coding; None for ``DEFAULT_LEVELS``, which are
    quick. Each coding takes memory only when there is something to encode: some 300 KiB, and 1 to 2 MiB for
    br and zstd. Raises ``ValueError`` for a coding that is not in ``available_codings()`` and for a level
    that it does not have.
    """

    __slots__ = ("_streams",)

    def __init__(self, codings: Sequence[str], level: int | None = None) -> None:
        self._streams = [_Stream(coding, level) for coding in codings]

    def encode(self, data: bytes) -> bytes:
        """Return what is ready to be sent; most of ``data`` may be held back until there is more."""
        for stream in self._streams:
            data = stream.encode(data) if data else b""
        return data

    def flush(self) -> bytes:
        """Return all that ``encode`` has held back; only after it was given something.

        Without this a receiver would wait for an event of a live stream until some 16 KiB of later ones
        have filled a block. It costs an empty block of 5 bytes and new Huffman tables: 0.6 % of a body
        that comes in chunks of 16 KiB, 10 % at 1 KiB; what was sent before still serves for matches.
        """
        data = b""
        for stream in self._streams:
            data = (stream.encode(data) if data else b"") + stream.flush()
        return data

    def finish(self, data: bytes = b"") -> bytes:
        """Return the end of the coded body, ``data`` included; it is a whole one even if it is empty."""
        for stream in self._streams:
            data = (stream.encode(data) if data else b"") + stream.finish()
        return data


class _Stream:
    """Applies one coding."""

    __slots__ = ("_coding", "_compressor", "_level")

    def __init__(self, coding: str, level: int | None) -> None:
        check_level(coding, level)
        self._coding = coding
        self._level = DEFAULT_LEVELS[coding] if level is None else level
        self._compressor: _Compressor | None = None

    def encode(self, data: bytes) -> bytes:
        compress = self._started().compress
        return compress(data) if len(data) < _THREAD_FROM else run_in_thread(compress, data)

    def flush(self) -> bytes:
        return self._started().flush()

    def finish(self) -> bytes:
        return self._started().finish()

    def _started(self) -> _Compressor:
        if self._compressor is None:
            self._compressor = _make_compressor(self._coding, self._level)
        return self._compressor


def check_level(coding: str, level: int | None) -> None:
    """Raise ``ValueError`` when ``coding`` cannot be applied here, or has no such level."""
    is_missing = (coding == "br" and not brotli_library()) or (coding == "zstd" and not zstd_library())
    if coding not in LEVELS or is_missing:
        raise ValueError(f"the content coding {coding!r} is not known here")
    lowest, highest = LEVELS[coding]
    if level is not None and not lowest <= level <= highest:
        raise ValueError(f"{coding} has levels from {lowest} to {highest}, not {level}")


def _make_compressor(coding: str, level: int) -> _Compressor:
    if coding == "br":
        return _Brotli(level)
    return _Zstd(level) if coding == "zstd" else _Zlib(WINDOW_BITS[coding], level)


class _Zlib:
    __slots__ = ("_stream", "compress")

    def __init__(self, bits: int, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, bits)
        self.compress = self._stream.compress

    def flush(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush(zlib.Z_FINISH)


class _Brotli:
    __slots__ = ("compress", "finish", "flush")

    def __init__(self, level: int) -> None:
        library: Any = brotli_library()
        stream = library.Compressor(quality=level, lgwin=_BROTLI_WINDOW_LOG)
        self.compress, self.flush, self.finish = stream.process, stream.flush, stream.finish


class _Zstd:
    __slots__ = ("_stream", "compress")

    def __init__(self, level: int) -> None:
        library: Any = zstd_library()
        self._stream = library.ZstdCompressor(level=level)
        self.compress = self._stream.compress

    def flush(self) -> bytes:
        block: bytes = self._stream.flush(self._stream.FLUSH_BLOCK)
        return block

    def finish(self) -> bytes:
        frame: bytes = self._stream.flush(self._stream.FLUSH_FRAME)
        return frame
