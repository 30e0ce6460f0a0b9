"""Decoders and encoders of every coding: what comes back, what is refused, what a bomb may cost."""

from __future__ import annotations

import random
import resource
import tracemalloc
from collections.abc import Iterable

import brotli
import pytest

from pyrox import threads
from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http import decoding, encoding
from pyrox.http.coding import zstd_library
from pyrox.http.decoding import PIECE, Decoder
from pyrox.http.encoding import LEVELS, Encoder

zstd = zstd_library()
assert zstd is not None

CODINGS = ("gzip", "deflate", "br", "zstd")
TEXT = b"The quick brown fox jumps over the lazy dog. " * 40
NOISE = random.Random(1).randbytes(300_000)


def encoded(data: bytes, *codings: str, level: int | None = None) -> bytes:
    encoder = Encoder(codings, level)
    return encoder.encode(data) + encoder.finish()


def decoded(chunks: Iterable[bytes], *codings: str, error: type[ProxyError] = UpstreamError) -> bytes:
    decoder = Decoder(codings, error)
    plain = b"".join([b"".join(decoder.decode(chunk)) for chunk in chunks])
    decoder.finish()
    return plain


# --- what comes back ---


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, bytes(3 * PIECE), NOISE], ids=len)
def test_what_was_encoded_comes_back(coding: str, data: bytes) -> None:
    body = encoded(data, coding)
    assert len(body) > 0
    assert decoded([body], coding) == data


@pytest.mark.parametrize("coding", CODINGS)
def test_body_may_be_cut_at_every_byte(coding: str) -> None:
    body = encoded(TEXT, coding)
    for cut in range(len(body) + 1):
        assert decoded([body[:cut], body[cut:]], coding) == TEXT
    assert decoded([body[i : i + 1] for i in range(len(body))], coding) == TEXT


@pytest.mark.parametrize("first", CODINGS)
@pytest.mark.parametrize("second", CODINGS)
def test_codings_are_undone_from_the_last(first: str, second: str) -> None:
    body = encoded(NOISE, first, second)
    assert body == encoded(encoded(NOISE, first), second)
    assert decoded([body], first, second) == NOISE


@pytest.mark.parametrize("coding", CODINGS)
def test_body_without_a_byte_is_an_empty_one(coding: str) -> None:
    assert decoded([], coding) == decoded([b""], coding) == b""


def test_no_codings_leave_the_body_as_it_is() -> None:
    assert encoded(NOISE) == NOISE
    assert list(Decoder((), UpstreamError).decode(NOISE)) == [NOISE]


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_flushed_can_be_decoded_at_once(coding: str) -> None:
    encoder, decoder = Encoder([coding]), Decoder([coding], UpstreamError)
    for event in (b"data: one\n\n", b"data: two\n\n", NOISE):
        assert b"".join(decoder.decode(encoder.encode(event) + encoder.flush())) == event
    assert b"".join(decoder.decode(encoder.finish(b"end"))) == b"end"
    decoder.finish()


@pytest.mark.parametrize("coding", CODINGS)
def test_every_level_makes_a_body_that_comes_back(coding: str) -> None:
    lowest, highest = LEVELS[coding]
    for level in (lowest, highest):
        assert decoded([encoded(TEXT, coding, level=level)], coding) == TEXT
    for level in (lowest - 1, highest + 1):
        with pytest.raises(ValueError, match=f"{coding} has levels from {lowest} to {highest}, not {level}"):
            Encoder([coding], level)


@pytest.mark.parametrize("coding", CODINGS)
def test_pieces_are_made_when_they_are_asked_for_and_no_longer_than_64_kib(coding: str) -> None:
    pieces = Decoder([coding], UpstreamError, ratio=1 << 20).decode(encoded(bytes(20 << 20), coding))
    tracemalloc.start()
    try:
        lengths = [len(piece) for piece in pieces]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(lengths) == 20 << 20
    assert max(lengths) <= PIECE
    assert peak < 1 << 20


def test_zstd_frames_follow_one_another_and_some_are_skipped() -> None:
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    body = encoded(b"one ", "zstd") + skipped + encoded(b"", "zstd") + encoded(b"two", "zstd") + skipped
    assert decoded([body], "zstd") == b"one two"
    assert decoded([body[i : i + 1] for i in range(len(body))], "zstd") == b"one two"


@pytest.mark.parametrize("coding", CODINGS)
def test_what_takes_long_is_encoded_in_a_thread(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []

    def run(function, data):  # type: ignore[no-untyped-def]
        lengths.append(len(data))
        return function(data)

    monkeypatch.setattr(threads, "_run", run)
    assert decoded([encoded(NOISE, coding)], coding) == NOISE
    encoded(TEXT, coding)
    assert lengths == [len(NOISE)]


# --- what is refused ---

BROKEN = [
    *[(coding, b"plain text, which is no coded body", "") for coding in CODINGS],
    *[(coding, encoded(NOISE, coding)[:-1], "ends too early") for coding in CODINGS],
    *[(coding, encoded(NOISE, coding)[:9], "ends too early") for coding in CODINGS],
    *[(coding, encoded(TEXT, coding) + b"garbage", "") for coding in CODINGS],
    ("gzip", encoded(TEXT, "gzip") + b"\x1f", "ends too early"),
    ("zstd", encoded(TEXT, "zstd") + b"\x28", "ends too early"),
]


@pytest.mark.parametrize(("coding", "body", "detail"), BROKEN)
@pytest.mark.parametrize("error", [ClientError, UpstreamError])
def test_broken_body_is_the_fault_of_who_sent_it(
    coding: str, body: bytes, detail: str, error: type[ProxyError]
) -> None:
    for chunks in ([body], [body[i : i + 1] for i in range(len(body))] if len(body) < 999 else [body]):
        with pytest.raises(error, match=f"^{coding}: .*{detail}") as caught:
            decoded(chunks, coding, error=error)
        assert type(caught.value) is error


@pytest.mark.parametrize("coding", ["deflate", "br"])
def test_data_after_the_end_is_refused_in_a_chunk_of_its_own_too(coding: str) -> None:
    with pytest.raises(UpstreamError, match="goes on after its end"):
        decoded([encoded(TEXT, coding), b"x"], coding)


def test_coding_without_its_library_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (decoding, encoding):
        monkeypatch.setattr(module, "brotli_library", lambda: None)
        monkeypatch.setattr(module, "zstd_library", lambda: None)
    for coding in ("br", "zstd", "compress"):
        with pytest.raises(ValueError, match="not known here"):
            Decoder([coding], UpstreamError)
        with pytest.raises(ValueError, match="not known here"):
            Encoder([coding])


# --- bombs ---


@pytest.mark.parametrize("coding", ["br", "zstd"])
def test_bomb_is_refused_once_it_has_become_a_thousand_times_what_arrived(coding: str) -> None:
    bomb = encoded(bytes(64 << 20), coding, level=1)
    made = 0
    with pytest.raises(UpstreamError, match="expand the body more than 1032 times"):
        for piece in Decoder([coding], UpstreamError).decode(bomb):
            made += len(piece)
    assert made <= (1 << 20) + len(bomb) * 1032


@pytest.mark.parametrize("coding", CODINGS)
def test_ratio_is_the_callers(coding: str) -> None:
    body = encoded(bytes(4 << 20), coding)
    with pytest.raises(ClientError, match="expand the body more than 10 times"):
        for _ in Decoder([coding], ClientError, ratio=10).decode(body):
            pass


@pytest.mark.parametrize("inner", CODINGS)
@pytest.mark.parametrize("outer", CODINGS)
def test_bomb_in_a_bomb_is_refused_before_it_unfolds(inner: str, outer: str) -> None:
    bomb = encoded(encoded(bytes(64 << 20), inner), outer)
    made = 0
    with pytest.raises(UpstreamError, match="expand the body more than 1032 times"):
        for piece in Decoder([inner, outer], UpstreamError).decode(bomb):
            made += len(piece)
    assert made <= 32 << 20


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_heap_of_empty_streams_is_refused_or_cheap(coding: str) -> None:
    heap = encoded(encoded(b"", coding) * 100_000, coding)
    with pytest.raises(UpstreamError, match="expand the body more than 1032 times"):
        decoded([heap], coding, coding)


def test_zstd_window_over_8_mib_is_refused() -> None:
    for log, is_refused in ((23, False), (24, True), (30, True)):
        options = {zstd.CompressionParameter.window_log: log}
        stream = zstd.ZstdCompressor(options=options)
        body = stream.compress(TEXT) + stream.flush()
        if is_refused:
            with pytest.raises(UpstreamError, match="too much memory"):
                decoded([body], "zstd")
        else:
            assert decoded([body], "zstd") == TEXT


def test_brotli_with_a_window_beyond_its_standard_is_refused() -> None:
    # "Large window brotli" starts with a bit pattern that RFC 7932 9.1 keeps free.
    with pytest.raises(UpstreamError, match="br: "):
        decoded([b"\x11\x9e" + bytes(30)], "br")


def test_many_brotli_streams_that_declare_the_largest_window_cost_what_they_fill() -> None:
    head = brotli.compress(TEXT, lgwin=24)[:20]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decoders = [Decoder(["br"], UpstreamError) for _ in range(100)]
    for decoder in decoders:
        list(decoder.decode(head))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB
