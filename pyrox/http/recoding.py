"""``Recoded``: a body filter's view into a body with content codings (RFC 9110 section 8.4).

A coding is undone while the body streams by, the bytes pass a filter that knows nothing of it, and what
comes out is coded again, so that Content-Encoding stays true.
"""

from __future__ import annotations

from collections.abc import Collection

from pyrox.errors import ProxyError
from pyrox.http.body import BodyFilterLike
from pyrox.http.coding import STANDARD, parse_codings
from pyrox.http.decoding import Decoder
from pyrox.http.encoding import Encoder


class Recoded:
    """A body filter that lets ``inner`` see the decoded body, and codes again what it returns.

    ``content_encoding`` is the message's field, which stays as it is; ``ValueError`` when it names a
    coding that is not ``known``. ``error`` is whose fault broken data is; see ``Decoder``.

    ``inner`` gets at most 64 KiB of a coded body at once. A body without a byte stays without one unless
    ``inner`` writes something; of any other the result is a whole coded body, even when ``inner`` drops
    it all.
    """

    def __init__(
        self,
        inner: BodyFilterLike,
        content_encoding: str,
        error: type[ProxyError],
        known: Collection[str] = STANDARD,
    ) -> None:
        codings = parse_codings(content_encoding, known)
        if codings is None:
            raise ValueError(f"cannot decode Content-Encoding {content_encoding!r}")
        self._inner = inner
        self._decoder = Decoder(codings, error)
        self._encoder = Encoder(codings)
        self._is_empty = True

    def feed(self, chunk: bytes) -> bytes:
        """Return what the next chunk becomes, so that the receiver can decode all of it at once.

        Of a bomb no more is held than the encoder makes of it: five times the chunk for zeros, sixty
        times for the worst data found, made to repeat in ways that the encoder's quick search misses.
        """
        if not chunk:
            return b""
        self._is_empty = False
        feed, encode = self._inner.feed, self._encoder.encode
        encoded = [encode(written) for piece in self._decoder.decode(chunk) if (written := feed(piece))]
        if encoded:
            encoded.append(self._encoder.flush())
        return b"".join(encoded)

    def finish(self) -> bytes:
        """Return the end of the coded body."""
        self._decoder.finish()
        rest = self._inner.finish()
        return b"" if self._is_empty and not rest else self._encoder.finish(rest)
