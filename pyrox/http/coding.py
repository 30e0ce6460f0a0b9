"""Content codings (RFC 9110 section 8.4): a body filter's view into a compressed body.

A coding is undone while the body streams by, the bytes pass a filter that knows nothing of it, and what
comes out is coded again, so that Content-Encoding stays true. gzip and deflate are what the standard
library can undo; a client's Accept-Encoding is narrowed to them where a filter needs plain bytes.

Compressed data is a lever in the hands of who sends it: one byte of deflate becomes up to 1032. So at
most 64 KiB are decoded before they are passed on, and codings stacked on each other have to live
within what one of them could do.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import NoReturn

from pyrox.errors import ProxyError
from pyrox.http.body import BodyFilterLike

PIECE = 1 << 16  # bytes decoded at once

# "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"" (RFC 9110 8.4.1.3).
_ALIASES = {"x-gzip": "gzip"}
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS + 16, "deflate": zlib.MAX_WBITS}  # RFC 1952; RFC 1950
_ACCEPTABLE = (*_WINDOW_BITS, "identity")

# Each needs some 300 KiB to be undone and made again. Nobody applies two, and a field line has room for
# a thousand.
_MOST_CODINGS = 3

# nginx's default: a quarter of level 6's CPU for a body that is a fifth longer.
_LEVEL = 1

# What deflate can make of a byte: a match of 258 bytes takes two bits (zlib's technical details).
_MOST_EXPANSION = 1032
_SLACK = 1 << 20
_STREAM_COST = 1 << 12  # to start a stream takes as long as to decode this many bytes

# Input is cut into slices because what zlib has not consumed is copied at each piece and each member.
_SLICE = 1 << 14

_is_weight = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch  # RFC 9110 12.4.2
_is_zero = re.compile(r"0(?:\.0*)?").fullmatch


def parse_codings(content_encoding: str) -> tuple[str, ...] | None:
    """Return the codings in the order in which they were applied; None when one cannot be undone.

    ``content_encoding`` is the field's value, several lines joined by commas. ``identity`` and empty
    items are left out and ``x-gzip`` is ``gzip``, so ``()`` means that the body is as it is. More than
    three codings count as unknown.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    codings = tuple(_ALIASES.get(name, name) for name in names if name not in ("", "identity"))
    if len(codings) > _MOST_CODINGS or any(coding not in _WINDOW_BITS for coding in codings):
        return None
    return codings


def can_decode(content_encoding: str) -> bool:
    """Tell whether ``Recoded`` knows every coding in the field's value; ``""`` is a plain body."""
    return parse_codings(content_encoding) is not None


def acceptable_codings(accept_encoding: str | None) -> str:
    """Narrow an Accept-Encoding field (RFC 9110 12.5.3) to what ``Recoded`` can undo.

    ``accept_encoding`` is the client's, several lines joined by commas; None when it sent none. What the
    client ranks is still ranked so: ``"br, gzip;q=0.8"`` gives ``"gzip;q=0.8"``, and ``*`` is spelled
    out. When nothing remains the result is ``"identity"``, also for a client that wants only what is
    not known here: the plain body is the one thing left that it may understand.
    """
    weights: dict[str, str] = {}
    for item in (accept_encoding or "").lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weight = next((p[2:].strip() for p in parameters if p.startswith("q=")), "1")
        weights.setdefault(_ALIASES.get(name, name), weight if _is_weight(weight) else "0")
    # "*" stands for every coding, identity among them, that is not listed itself.
    for name in _ACCEPTABLE if "*" in weights else ():
        weights.setdefault(name, weights["*"])
    known = {name: weight for name, weight in weights.items() if name in _ACCEPTABLE}
    if all(_is_zero(weight) for weight in known.values()):
        return "identity"
    # Not listed means not acceptable, but for identity, which has to be excluded by name.
    listed = [pair for pair in known.items() if pair[0] == "identity" or not _is_zero(pair[1])]
    return ", ".join(name if weight == "1" else f"{name};q={weight}" for name, weight in listed)


class Recoded:
    """A body filter that lets ``inner`` see the decoded body, and codes again what it returns.

    ``content_encoding`` is the message's field, which stays as it is; ``ValueError`` when it names a
    coding that ``can_decode`` does not know. ``error`` is whose fault broken data is: ``ClientError``
    for a request's (400), ``UpstreamError`` for a response's (502). It is raised for data that is no
    such coding, that goes on after its end or stops before it, and for codings stacked to a bomb.

    ``inner`` gets at most 64 KiB at once. A body without a byte stays without one unless ``inner``
    writes something; of any other the result is a whole coded body, even when ``inner`` drops it all.
    """

    def __init__(self, inner: BodyFilterLike, content_encoding: str, error: type[ProxyError]) -> None:
        codings = parse_codings(content_encoding)
        if codings is None:
            raise ValueError(f"cannot decode Content-Encoding {content_encoding!r}")
        self._inner = inner
        allowance = _Allowance(error)
        # "in the order in which they were applied", so the last is undone first.
        self._decoders = [_Decoder(coding, error, allowance) for coding in reversed(codings)]
        self._encoders = [_Encoder(coding) for coding in codings]
        self._allowance = allowance
        self._is_empty = True

    def feed(self, chunk: bytes) -> bytes:
        """Return what the next chunk becomes, so that the receiver can decode all of it at once.

        Of a bomb no more is held than the encoder makes of it: five times the chunk for zeros, sixty
        times for the worst data found, made to repeat in ways that the encoder's quick search misses.
        """
        if not chunk:
            return b""
        self._is_empty = False
        self._allowance.earn(len(chunk))
        pieces: Iterable[bytes] = (chunk,)
        for decoder in self._decoders:
            pieces = decoder.decode(pieces)
        encoded = [self._encode(written) for piece in pieces if (written := self._inner.feed(piece))]
        if encoded:
            encoded.append(self._flush())
        return b"".join(encoded)

    def finish(self) -> bytes:
        """Return the end of the coded body."""
        for decoder in self._decoders:
            decoder.check_end()
        rest = self._inner.finish()
        if self._is_empty and not rest:
            return b""
        for encoder in self._encoders:
            rest = encoder.finish(rest)
        return rest

    def _encode(self, data: bytes) -> bytes:
        for encoder in self._encoders:
            data = encoder.encode(data)
        return data

    def _flush(self) -> bytes:
        data = b""
        for encoder in self._encoders:
            data = encoder.encode(data) + encoder.flush()
        return data


class _Allowance:
    """What a body may still expand to, shared by all its decoders.

    One coding cannot exceed it. Two could: 64 KiB of gzip in gzip are 64 GiB, or millions of empty gzip
    members, and either takes minutes in which the worker does nothing else.
    """

    __slots__ = ("_error", "_left")

    def __init__(self, error: type[ProxyError]) -> None:
        self._error = error
        self._left = _SLACK

    def earn(self, received: int) -> None:
        self._left += received * _MOST_EXPANSION

    def spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise self._error("content codings expand the body more than a thousandfold")


class _Decoder:
    """Undoes one gzip or deflate coding."""

    __slots__ = ("_allowance", "_coding", "_error", "_has_ended", "_stream")

    def __init__(self, coding: str, error: type[ProxyError], allowance: _Allowance) -> None:
        self._coding = coding
        self._error = error
        self._allowance = allowance
        self._stream: zlib._Decompress | None = None  # while one is under way
        self._has_ended = False

    def decode(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what the chunks are when decoded, in pieces of 1 to 65536 bytes."""
        for chunk in chunks:
            for start in range(0, len(chunk), _SLICE):
                yield from self._decode(chunk[start : start + _SLICE])

    def _decode(self, data: bytes) -> Iterator[bytes]:
        is_full = False  # when a piece is, zlib may hold back more though it has consumed all its input
        while data or is_full:
            stream = self._stream or self._start(data[0])
            try:
                piece = stream.decompress(data, PIECE)
            except zlib.error as error:
                raise self._error(f"{self._coding}: {error}") from error
            if piece:
                self._allowance.spend(len(piece))
                yield piece
            is_full = len(piece) == PIECE and not stream.eof
            data = stream.unconsumed_tail
            if stream.eof:
                data = stream.unused_data
                self._stream, self._has_ended = None, True

    def _start(self, first_byte: int) -> zlib._Decompress:
        bits = _WINDOW_BITS[self._coding]
        if self._coding == "deflate":
            if self._has_ended:
                self._fail("goes on after its end")
            # The standard's deflate is zlib's format, which starts with CM = 8 in four bits (RFC 1950).
            # Some servers send it bare (RFC 1951), and browsers take that too. There these bits would
            # be a stored block with padding that is not zero, which no encoder writes.
            if first_byte & 0x0F != 8:
                bits = -zlib.MAX_WBITS
        # "A gzip file consists of a series of "members"" (RFC 1952 2.2); what is none fails in zlib.
        self._allowance.spend(_STREAM_COST)
        self._stream = zlib.decompressobj(bits)
        return self._stream

    def check_end(self) -> None:
        """Raise ``error`` when the coded data stops before its end."""
        if self._stream is not None:
            self._fail("ends too early")

    def _fail(self, what: str) -> NoReturn:
        raise self._error(f"{self._coding}: the coded body {what}")


class _Encoder:
    """Applies one gzip or deflate coding."""

    __slots__ = ("_bits", "_stream")

    def __init__(self, coding: str) -> None:
        self._bits = _WINDOW_BITS[coding]
        self._stream: zlib._Compress | None = None  # 256 KiB, made when there is something to encode

    def encode(self, data: bytes) -> bytes:
        return self._started().compress(data) if data else b""

    def flush(self) -> bytes:
        """Return all that ``encode`` has held back; only after it was given something.

        Without this a receiver would wait for an event of a live stream until some 16 KiB of later ones
        have filled a block. It costs an empty block of 5 bytes and new Huffman tables: 0.6 % of a body
        that comes in chunks of 16 KiB, 10 % at 1 KiB; what was sent before still serves for matches.
        """
        return self._started().flush(zlib.Z_SYNC_FLUSH)

    def finish(self, data: bytes) -> bytes:
        return self.encode(data) + self._started().flush(zlib.Z_FINISH)

    def _started(self) -> zlib._Compress:
        if self._stream is None:
            self._stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, self._bits)
        return self._stream
