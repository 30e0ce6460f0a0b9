"""Content codings: what is undone, what is refused, and what a bomb may cost."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest

from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http.coding import can_decode
from pyrox.http.decoding import PIECE
from pyrox.http.message import Response
from pyrox.http.recoding import Recoded
from pyrox.middleware import BodyFilter

TEXT = b"The quick brown fox jumps over the lazy dog. " * 40


def bare_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


def small_window(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=9)
    return encoder.compress(data) + encoder.flush()


class Upper(BodyFilter):
    def feed(self, chunk: bytes) -> bytes:
        return chunk.upper()


class Tail(BodyFilter):
    """Adds something at the end only."""

    def finish(self) -> bytes:
        return b"tail"


class Drop(BodyFilter):
    def feed(self, chunk: bytes) -> bytes:
        return b""


class Watch(BodyFilter):
    """Drops everything and remembers how it was called."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.endings = 0

    def feed(self, chunk: bytes) -> bytes:
        self.lengths.append(len(chunk))
        return b""

    def finish(self) -> bytes:
        self.endings += 1
        return b""


def recode(body: bytes, coding: str, inner: BodyFilter | None = None) -> bytes:
    recoded = Recoded(inner or BodyFilter(), coding, UpstreamError)
    return recoded.feed(body) + recoded.finish()


# --- what is undone and made again ---


@pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "identity, gzip", ", gzip ,"])
def test_gzip_is_decoded_filtered_and_encoded_again(coding: str) -> None:
    result = recode(gzip.compress(TEXT), coding, Upper())
    assert gzip.decompress(result) == TEXT.upper()


def test_every_member_of_a_gzip_body_is_decoded() -> None:
    members = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    assert gzip.decompress(recode(members, "gzip", Upper())) == b"ONE TWO"


@pytest.mark.parametrize("encode", [zlib.compress, small_window, bare_deflate])
def test_deflate_is_read_with_and_without_its_zlib_header_and_written_with(encode) -> None:  # type: ignore[no-untyped-def]
    assert zlib.decompress(recode(encode(TEXT), "deflate", Upper())) == TEXT.upper()


def test_codings_are_undone_from_the_last_and_applied_from_the_first() -> None:
    body = gzip.compress(zlib.compress(TEXT))
    result = recode(body, "deflate, gzip", Upper())
    assert zlib.decompress(gzip.decompress(result)) == TEXT.upper()
    twice = recode(gzip.compress(gzip.compress(TEXT)), "gzip, gzip", Upper())
    assert gzip.decompress(gzip.decompress(twice)) == TEXT.upper()


@pytest.mark.parametrize("coding", ["", "identity", "identity, Identity"])
def test_plain_body_is_only_filtered(coding: str) -> None:
    assert recode(TEXT, coding, Upper()) == TEXT.upper()


def test_inner_filter_sees_at_most_64_kib_at_once_and_one_end() -> None:
    watch = Watch()
    recode(gzip.compress(bytes(3 * PIECE)), "gzip", watch)
    assert watch.lengths == [PIECE, PIECE, PIECE]
    assert watch.endings == 1


@pytest.mark.parametrize("coding", ["gzip", "deflate, gzip"])
def test_empty_body_stays_empty(coding: str) -> None:
    assert recode(b"", coding) == b""


def test_what_is_written_at_the_end_is_encoded() -> None:
    assert gzip.decompress(recode(b"", "gzip", Tail())) == b"tail"
    assert gzip.decompress(recode(gzip.compress(b"head "), "gzip", Tail())) == b"head tail"


@pytest.mark.parametrize("body", [gzip.compress(TEXT), gzip.compress(b"")])
def test_body_without_output_is_a_whole_gzip_body_all_the_same(body: bytes) -> None:
    result = recode(body, "gzip", Drop())
    assert result != b""
    assert gzip.decompress(result) == b""


def test_nothing_is_written_while_the_filter_writes_nothing() -> None:
    recoded = Recoded(Drop(), "gzip", UpstreamError)
    assert recoded.feed(gzip.compress(TEXT)) == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, deflate"])
def test_event_of_a_live_stream_can_be_decoded_as_soon_as_it_was_fed(coding: str) -> None:
    sender = [zlib.compressobj(wbits=31 if name == "gzip" else 15) for name in coding.split(", ")]
    receiver = [zlib.decompressobj(31 if name == "gzip" else 15) for name in coding.split(", ")][::-1]
    recoded = Recoded(Upper(), coding, UpstreamError)
    for event in (b"data: one\n\n", b"data: two\n\n"):
        sent = event
        for encoder in sender:
            sent = encoder.compress(sent) + encoder.flush(zlib.Z_SYNC_FLUSH)
        received = recoded.feed(sent)
        for decoder in receiver:
            received = decoder.decompress(received)
        assert received == event.upper()


def test_as_a_filter_of_a_message() -> None:
    compressed = gzip.compress(TEXT)
    response = Response(200, [compressed[:9], compressed[9:]], {"Content-Encoding": "gzip"})
    response.filter_body(Recoded(Upper(), "gzip", UpstreamError))
    assert gzip.decompress(response.read_body()) == TEXT.upper()


# --- what is refused ---


@pytest.mark.parametrize(
    ("coding", "body", "detail"),
    [
        ("gzip", b"plain text", "gzip: Error -3 while decompressing data: incorrect header check"),
        ("deflate", b"\xff\xff\xff", "deflate: Error -3 while decompressing data: invalid block type"),
        ("gzip", gzip.compress(TEXT) + b"garbage", "incorrect header check"),
        ("gzip", gzip.compress(TEXT) + b"\0", "gzip: the coded body ends too early"),
        ("gzip", gzip.compress(TEXT)[:-8] + bytes(8), "incorrect data check"),
        ("deflate", zlib.compress(TEXT) + b"garbage", "deflate: the coded body goes on after its end"),
        ("gzip", gzip.compress(TEXT)[:-1], "gzip: the coded body ends too early"),
        ("gzip", b"\x1f", "gzip: the coded body ends too early"),
        ("deflate", bare_deflate(TEXT)[:-1], "deflate: the coded body ends too early"),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT)[:-1]), "deflate: the coded body ends too early"),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT))[:-1], "gzip: the coded body ends too early"),
    ],
)
@pytest.mark.parametrize("error", [ClientError, UpstreamError])
def test_broken_body_is_the_fault_of_who_sent_it(
    coding: str, body: bytes, detail: str, error: type[ProxyError]
) -> None:
    recoded = Recoded(BodyFilter(), coding, error)
    with pytest.raises(error) as caught:
        recoded.feed(body), recoded.finish()
    assert type(caught.value) is error
    assert detail in caught.value.detail


def test_inner_filter_is_not_told_of_the_end_of_a_truncated_body() -> None:
    watch = Watch()
    with pytest.raises(UpstreamError):
        recode(gzip.compress(TEXT)[:-1], "gzip", watch)
    assert watch.endings == 0


def test_data_after_the_end_of_deflate_is_refused_in_a_chunk_of_its_own_too() -> None:
    recoded = Recoded(BodyFilter(), "deflate", UpstreamError)
    recoded.feed(zlib.compress(TEXT))
    with pytest.raises(UpstreamError, match="goes on after its end"):
        recoded.feed(b"x")


@pytest.mark.parametrize(
    "coding", ["br", "zstd", "compress", "gzip, br", "gzip;q=1", ", ".join(["gzip"] * 4)]
)
def test_unknown_coding_cannot_be_decoded(coding: str) -> None:
    assert not can_decode(coding)
    with pytest.raises(ValueError, match="cannot decode Content-Encoding"):
        Recoded(BodyFilter(), coding, UpstreamError)


@pytest.mark.parametrize("coding", ["", "gzip", "X-GZIP", "deflate", "identity", "gzip, deflate,gzip"])
def test_known_coding_can_be_decoded(coding: str) -> None:
    assert can_decode(coding)


# --- bombs ---


def test_64_mib_of_zeros_are_passed_on_in_a_few_mib_of_memory() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    recoded = Recoded(BodyFilter(), "gzip", UpstreamError)
    tracemalloc.start()
    try:
        result = recoded.feed(bomb) + recoded.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 << 20
    assert gzip.decompress(result) == bytes(64 << 20)


def test_data_that_is_hard_to_encode_again_stays_within_sixty_times_the_chunk() -> None:
    unit = bytes(random.Random(1).choices(range(6), k=4100))
    chunk = gzip.compress(unit * 4000)
    recoded = Recoded(BodyFilter(), "gzip", UpstreamError)
    assert len(recoded.feed(chunk)) < 70 * len(chunk)


def test_bomb_in_a_bomb_is_refused_before_it_unfolds() -> None:
    bomb = gzip.compress(gzip.compress(bytes(16 << 20)))
    watch = Watch()
    with pytest.raises(UpstreamError, match="expand the body more than 1032 times"):
        recode(bomb, "gzip, gzip", watch)
    assert sum(watch.lengths) < 2 << 20


def test_compressed_heap_of_empty_members_is_refused() -> None:
    heap = gzip.compress(gzip.compress(b"") * 100_000)
    with pytest.raises(UpstreamError, match="expand the body more than 1032 times"):
        recode(heap, "gzip, gzip")


def test_one_coding_may_expand_as_far_as_it_can() -> None:
    watch = Watch()
    recode(gzip.compress(bytes(8 << 20)), "gzip", watch)
    assert sum(watch.lengths) == 8 << 20
    recode(gzip.compress(b"") * 10_000, "gzip", watch)
