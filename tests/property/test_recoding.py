"""``Recoded``: cuts do not matter, what was encoded comes back, only its own error escapes."""

from __future__ import annotations

import gzip
import zlib

import brotli
from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import UpstreamError
from pyrox.http.coding import acceptable_codings, available_codings, can_decode, zstd_library
from pyrox.http.decoding import PIECE
from pyrox.http.recoding import Recoded
from pyrox.middleware import BodyFilter
from tests.property.messages import mutated, splits

zstd = zstd_library()
assert zstd is not None


def bare_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


def members(data: bytes) -> bytes:
    middle = len(data) // 3
    return gzip.compress(data[:middle]) + gzip.compress(b"") + gzip.compress(data[middle:])


def brotli_quick(data: bytes) -> bytes:
    return brotli.compress(data, quality=3)


def zstd_frames(data: bytes) -> bytes:
    middle = len(data) // 3
    return zstd.compress(data[:middle]) + zstd.compress(b"") + zstd.compress(data[middle:])


ENCODERS = {
    "gzip": [gzip.compress, members],
    "deflate": [zlib.compress, bare_deflate],
    "br": [brotli_quick],
    "zstd": [zstd.compress, zstd_frames],
    "identity": [bytes],
}
DECODERS = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
    "identity": bytes,
}

codings = st.lists(st.sampled_from(sorted(ENCODERS)), min_size=1, max_size=3)
# Long ones, too, and around the size of a piece, where zlib keeps output back.
plain_bodies = st.one_of(
    st.binary(max_size=500),
    st.builds(
        lambda unit, length: (unit * (length // len(unit) + 1))[:length],
        st.binary(min_size=1, max_size=40),
        st.sampled_from([PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7]),
    ),
)


@st.composite
def coded_bodies(draw: st.DrawFn) -> tuple[list[str], bytes, bytes]:
    """The codings, the plain body and the coded one."""
    names, plain = draw(codings), draw(plain_bodies)
    coded = plain
    for name in names:
        coded = draw(st.sampled_from(ENCODERS[name]))(coded)
    return names, plain, coded


class Collect(BodyFilter):
    """Remembers what it saw and changes it."""

    def __init__(self) -> None:
        self.seen = b""

    def feed(self, chunk: bytes) -> bytes:
        assert len(chunk) > 0
        self.seen += chunk
        return chunk.swapcase()

    def finish(self) -> bytes:
        return b"|"


def recode(pieces: list[bytes], content_encoding: str) -> tuple[bytes, bytes] | None:
    """What the filter saw and what was sent; None when the body is refused."""
    collect = Collect()
    recoded = Recoded(collect, content_encoding, UpstreamError, available_codings())
    try:
        sent = b"".join([recoded.feed(piece) for piece in pieces]) + recoded.finish()
    except UpstreamError:
        return None
    return collect.seen, sent


def decoded(body: bytes, names: list[str]) -> bytes:
    for name in reversed(names):
        body = DECODERS[name](body)
    return body


@given(coded_bodies(), st.data())
def test_what_was_encoded_is_seen_and_encoded_again(
    body: tuple[list[str], bytes, bytes], data: st.DataObject
) -> None:
    names, plain, coded = body
    result = recode(data.draw(splits(coded)), ", ".join(names))
    assert result is not None
    seen, sent = result
    assert seen == plain
    assert decoded(sent, names) == plain.swapcase() + b"|"


short_gzip = st.builds(gzip.compress, st.binary(max_size=60), mtime=st.just(0))
hostile = st.one_of(
    short_gzip,
    mutated(short_gzip),
    mutated(st.builds(zlib.compress, st.binary(max_size=60))),
    mutated(st.builds(brotli_quick, st.binary(max_size=60))),
    mutated(st.builds(zstd_frames, st.binary(max_size=60))),
    st.builds(lambda body, cut: body[:cut], short_gzip, st.integers(1, 40)),
    st.binary(max_size=60),
)


@given(hostile, st.sampled_from(["gzip", "deflate", "deflate, gzip", "br", "zstd"]), st.data())
def test_cuts_do_not_change_what_is_seen_or_refused(body: bytes, coding: str, data: st.DataObject) -> None:
    def seen(pieces: list[bytes]) -> bytes | None:
        result = recode(pieces, coding)
        return result and result[0]

    whole = seen([body])
    assert seen(data.draw(splits(body))) == whole
    assert seen([body[i : i + 1] for i in range(len(body))]) == whole


@given(st.text(st.sampled_from("gzipdeflatebr*,;q=0.15 \t"), max_size=60))
def test_narrowed_accept_encoding_names_only_what_can_be_decoded_and_stays_as_it_is(field: str) -> None:
    narrowed = acceptable_codings(field)
    assert acceptable_codings(narrowed) == narrowed
    assert all(can_decode(item.partition(";")[0]) for item in narrowed.split(","))
