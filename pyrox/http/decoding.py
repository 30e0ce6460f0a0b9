"""``Decoder``: undoes the content codings of a body while it streams by.

Compressed data is a lever in the hands of who sends it: one byte of deflate becomes up to 1032, one of
brotli or zstd a million. So what is decoded comes in pieces of at most 64 KiB, each made only when the
one before it was taken; all that a body becomes has to stay within a thousand times of what arrived;
and a window, which has to be kept in memory, within what the format's standard grants a stranger.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from pyrox.errors import ProxyError
from pyrox.http.coding import brotli_library, zstd_library

PIECE = 1 << 16  # the most bytes that are decoded at once

# What deflate can make of a byte: a match of 258 bytes takes two bits (zlib's technical details).
MOST_EXPANSION = 1032
_SLACK = 1 << 20
# To start a stream takes as long as to decode this many bytes.
_STREAM_COST = {"gzip": 1 << 12, "deflate": 1 << 12, "br": 1 << 14, "zstd": 1 << 14}

# Input is cut into slices because what a library has not consumed is copied at each piece and each member.
_SLICE = 1 << 14

WINDOW_BITS = {"gzip": zlib.MAX_WBITS + 16, "deflate": zlib.MAX_WBITS}  # RFC 1952; RFC 1950

# brotli's output grows in blocks of 32 and 64 KiB and more, until it is at least this long.
_BROTLI_PIECE = 1 << 14

# "a decoder MUST reject a frame whose window size is larger than 8 MB" (RFC 9659 3). Brotli's largest,
# 16 MiB, is a part of its format (RFC 7932 9.1).
_ZSTD_WINDOW_LOG = 23


class Decoder:
    """Undoes ``codings`` (as ``parse_codings`` gives them, in the order in which they were applied).

    ``error`` is whose fault broken data is: ``ClientError`` for a request's (400), ``UpstreamError`` for a
    response's (502). It is raised for data that is no such coding, that goes on after its end or stops
    before it, whose window is over 8 MiB (zstd), and for a body that becomes more than ``ratio`` times
    what has arrived, beyond its first MiB: all codings together, every layer of them. In a request that last
    is a 413.

    A body without a byte is taken for an empty one. Raises ``ValueError`` for a coding that is not in
    ``available_codings()``.
    """

    __slots__ = ("_allowance", "_ratio", "_streams")

    def __init__(self, codings: Sequence[str], error: type[ProxyError], ratio: int = MOST_EXPANSION) -> None:
        self._ratio = ratio
        self._allowance = _Allowance(error, ratio)
        # "in the order in which they were applied", so the last is undone first.
        self._streams = [_coded_stream(coding, error, self._allowance) for coding in reversed(codings)]

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what ``chunk`` adds to the plain body, in pieces of 1 to 65536 bytes.

        Each is made when it is asked for; take all of them before the next call. With no codings that is
        ``chunk``, at whatever length.
        """
        self._allowance.left += len(chunk) * self._ratio
        pieces: Iterable[bytes] = (chunk,) if chunk else ()
        for stream in self._streams:
            pieces = stream.decode(pieces)
        return iter(pieces)

    def finish(self) -> None:
        """Call at the end of the body: raises ``error`` when the coded data stops before its own."""
        for stream in self._streams:
            stream.check_end()


class _Allowance:
    """What a body may still expand to, shared by all its codings.

    One gzip coding cannot exceed it. Two could: 64 KiB of gzip in gzip are 64 GiB, or millions of empty
    gzip members, and either takes minutes in which the worker does nothing else.
    """

    __slots__ = ("_error", "_ratio", "left")

    def __init__(self, error: type[ProxyError], ratio: int) -> None:
        self._error = error
        self._ratio = ratio
        self.left = _SLACK

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            detail = f"content codings expand the body more than {self._ratio} times"
            raise self._error(detail, status=413) if self._error.source == "client" else self._error(detail)


class _CodedStream:
    """Undoes one coding; a subclass knows its library."""

    __slots__ = ("_allowance", "_coding", "_error", "_has_ended", "_stream")

    def __init__(self, coding: str, error: type[ProxyError], allowance: _Allowance) -> None:
        self._coding = coding
        self._error = error
        self._allowance = allowance
        self._stream: Any = None  # the library's object, while one is under way
        self._has_ended = False  # one has been

    def decode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            for start in range(0, len(chunk), _SLICE):
                for piece in self._decode(chunk[start : start + _SLICE]):
                    self._allowance.spend(len(piece))
                    yield piece

    def _decode(self, data: bytes) -> Iterator[bytes]:
        """Yield non-empty pieces of ``data``, which is not empty."""
        raise NotImplementedError

    def check_end(self) -> None:
        if self._stream is not None:
            self._fail("the coded body ends too early")

    def _charge_start(self) -> None:
        self._allowance.spend(_STREAM_COST[self._coding])

    def _fail(self, what: object, cause: Exception | None = None) -> NoReturn:
        raise self._error(f"{self._coding}: {what}") from cause


class _ZlibStream(_CodedStream):
    """gzip or deflate."""

    __slots__ = ()

    def _decode(self, data: bytes) -> Iterator[bytes]:
        is_full = False  # when a piece is, zlib may hold back more though it has consumed all its input
        while data or is_full:
            stream = self._stream or self._start(data[0])
            try:
                piece = stream.decompress(data, PIECE)
            except zlib.error as error:
                self._fail(error, error)
            if piece:
                yield piece
            is_full = len(piece) == PIECE and not stream.eof
            data = stream.unconsumed_tail
            if stream.eof:
                data = stream.unused_data
                self._stream, self._has_ended = None, True

    def _start(self, first_byte: int) -> Any:
        bits = WINDOW_BITS[self._coding]
        if self._coding == "deflate":
            if self._has_ended:
                self._fail("the coded body goes on after its end")
            # The standard's deflate is zlib's format, which starts with CM = 8 in four bits (RFC 1950).
            # Some servers send it bare (RFC 1951), and browsers take that too. There these bits would
            # be a stored block with padding that is not zero, which no encoder writes.
            if first_byte & 0x0F != 8:
                bits = -zlib.MAX_WBITS
        # "A gzip file consists of a series of "members"" (RFC 1952 2.2); what is none fails in zlib.
        self._charge_start()
        self._stream = zlib.decompressobj(bits)
        return self._stream


class _BrotliStream(_CodedStream):
    """br (RFC 7932)."""

    __slots__ = ("_library",)

    def __init__(self, library: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._library = library

    def _decode(self, data: bytes) -> Iterator[bytes]:
        if self._has_ended:
            self._fail("the coded body goes on after its end")
        if self._stream is None:
            self._charge_start()
            self._stream = self._library.Decompressor()
        stream = self._stream
        while True:
            try:
                piece = stream.process(data, output_buffer_limit=_BROTLI_PIECE)
            except self._library.error as error:  # also for what follows the end
                self._fail(error, error)
            if piece:
                yield piece
            if stream.is_finished():
                self._stream, self._has_ended = None, True
                return
            if not piece and stream.can_accept_more_data():
                return
            data = b""


class _ZstdStream(_CodedStream):
    """zstd (RFC 8878): frames one after another, some of which may be to skip."""

    __slots__ = ("_library",)

    def __init__(self, library: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._library = library

    def _decode(self, data: bytes) -> Iterator[bytes]:
        needs_input = True
        while data or not needs_input:
            stream = self._stream or self._start()
            try:
                piece = stream.decompress(data, PIECE)
            except self._library.ZstdError as error:
                self._fail(error, error)
            if piece:
                yield piece
            if stream.eof:
                data, needs_input = stream.unused_data, True
                self._stream, self._has_ended = None, True
            else:
                data, needs_input = b"", stream.needs_input

    def _start(self) -> Any:
        self._charge_start()
        limit = self._library.DecompressionParameter.window_log_max
        self._stream = self._library.ZstdDecompressor(options={limit: _ZSTD_WINDOW_LOG})
        return self._stream


def _coded_stream(coding: str, error: type[ProxyError], allowance: _Allowance) -> _CodedStream:
    if coding in WINDOW_BITS:
        return _ZlibStream(coding, error, allowance)
    if coding == "br" and (brotli := brotli_library()) is not None:
        return _BrotliStream(brotli, coding, error, allowance)
    if coding == "zstd" and (zstd := zstd_library()) is not None:
        return _ZstdStream(zstd, coding, error, allowance)
    raise ValueError(f"the content coding {coding!r} is not known here")
