"""``ChunkedDecoder``: the grammar of RFC 9112 7.1, its limits, and what it costs."""

from __future__ import annotations

import tracemalloc

import pytest

from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http.framing import ChunkedDecoder, ChunkLimits, encode_chunk, encode_last_chunk

LIMITS = ChunkLimits()


def make_decoder(limits: ChunkLimits = LIMITS, error: type[ProxyError] = ClientError) -> ChunkedDecoder:
    return ChunkedDecoder(error, limits)


def decode(data: bytes, limits: ChunkLimits = LIMITS) -> bytes:
    """Decode ``data`` in one piece and byte by byte; both must agree, also on refusing."""
    whole = make_decoder(limits)
    stepped = make_decoder(limits)
    try:
        payload = whole.feed(data)
    except ClientError:
        with pytest.raises(ClientError):
            feed_bytewise(stepped, data)
        raise
    assert feed_bytewise(stepped, data) == payload
    assert stepped.trailers == whole.trailers
    assert stepped.leftover == whole.leftover
    assert stepped.is_complete == whole.is_complete
    return payload


def feed_bytewise(decoder: ChunkedDecoder, data: bytes) -> bytes:
    return b"".join([decoder.feed(data[i : i + 1]) for i in range(len(data))])


def test_chunks_are_joined_and_the_end_is_seen() -> None:
    decoder = make_decoder()
    assert decoder.feed(b"5\r\nhello\r\n1\r\n,\r\n0\r\n\r\n") == b"hello,"
    assert decoder.is_complete
    assert decoder.trailers == []
    assert decoder.leftover == b""


def test_payload_is_handed_out_as_it_arrives() -> None:
    decoder = make_decoder()
    pieces = [b"1", b"0\r", b"\nabc", b"def", b"0123456789\r\n0", b"\r\n", b"\r\n"]
    assert [decoder.feed(piece) for piece in pieces] == [b"", b"", b"abc", b"def", b"0123456789", b"", b""]
    assert decoder.is_complete


def test_payload_inside_a_chunk_is_not_copied() -> None:
    decoder = make_decoder()
    decoder.feed(b"100000\r\n")
    piece = bytes(1 << 16)
    assert decoder.feed(piece) is piece


@pytest.mark.parametrize("size_line", [b"5", b"05", b"0000000000000005"])
def test_size_may_have_leading_zeros_up_to_16_digits(size_line: bytes) -> None:
    assert decode(size_line + b"\r\nhello\r\n0\r\n\r\n") == b"hello"


@pytest.mark.parametrize("digits", [b"aB", b"AB", b"ab"])
def test_size_is_hexadecimal_in_either_case(digits: bytes) -> None:
    assert len(decode(digits + b"\r\n" + b"x" * 0xAB + b"\r\n0\r\n\r\n")) == 0xAB


def test_last_chunk_may_have_several_zeros() -> None:
    decoder = make_decoder()
    decoder.feed(b"0000\r\n\r\n")
    assert decoder.is_complete


def test_bytes_after_the_end_are_left_over() -> None:
    decoder = make_decoder()
    decoder.feed(b"1\r\na\r\n0\r\n\r\nGET / HT")
    assert decoder.leftover == b"GET / HT"
    assert decoder.feed(b"TP/1.1\r\n") == b""
    assert decoder.leftover == b"GET / HTTP/1.1\r\n"


def test_nothing_is_left_over_before_the_end() -> None:
    decoder = make_decoder()
    decoder.feed(b"5\r\nhel")
    assert (decoder.leftover, decoder.is_complete) == (b"", False)


def test_trailers_keep_order_and_names_and_lose_outer_whitespace() -> None:
    decoder = make_decoder()
    decoder.feed(b"0\r\nX-One: 1 \r\nx-one:\t2\r\nEmpty:\r\nHigh: \xe4 b\r\n\r\n")
    assert decoder.trailers == [
        (b"x-one", b"X-One", b"1"),
        (b"x-one", b"x-one", b"2"),
        (b"empty", b"Empty", b""),
        (b"high", b"High", b"\xe4 b"),
    ]


@pytest.mark.parametrize(
    "extension",
    [
        b";a",
        b";a=b",
        b";a;b;c=d",
        b';a="b"',
        b';a=""',
        b';a="b c\t;\xe4"',
        b';a="\\""',
        b';a="\\\\";b',
        b";" + b"a" * 4095,
    ],
)
def test_extensions_are_skipped(extension: bytes) -> None:
    assert decode(b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\n") == b"hello"


BAD_SIZE_LINES = [
    b"",
    b"-5",
    b"+5",
    b"0x5",
    b"0X5",
    b"x",
    b"5h",
    b"g",
    b" 5",
    b"5 ",
    b"5\t",
    b"\t5",
    b"5_0",
    b"_5",
    b"5.0",
    b"5,5",
    b"5\r",
    b"\r5",
    b"5\x00",
    b"\xff",
    "\uff15".encode(),
    b"00000000000000005",
    b"fffffffffffffffff",
    b"5;",
    b"5;;a",
    b"5;a;",
    b"5 ;a",
    b"5; a",
    b"5;a =b",
    b"5;a= b",
    b"5;a=b ",
    b"5;a=",
    b"5;=b",
    b"5;a=b=c",
    b"5;a(b",
    b'5;"a"',
    b'5;a="b',
    b'5;a=b"',
    b'5;a="b"c',
    b'5;a="b\\"',
    b'5;a="\x00"',
    b'5;a="\x7f"',
    b'5;a="\\\x01"',
    b"5;a\rb",
    b"5;a\x00",
    b"5;\xe4",
]


@pytest.mark.parametrize("line", BAD_SIZE_LINES)
@pytest.mark.parametrize("before", [b"", b"1\r\na\r\n"], ids=["first", "second"])
def test_bad_chunk_size_line_is_refused(before: bytes, line: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        decode(before + line + b"\r\nhello\r\n0\r\n\r\n")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5;a\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r\n0\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"0\r\nX: a\n\r\n",
        b"0\r\nX: a\r\n\n",
        b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    ],
)
def test_bare_line_feed_is_refused(body: bytes) -> None:
    with pytest.raises(ClientError):
        decode(body)


@pytest.mark.parametrize("after", [b"!\r\n0\r\n\r\n", b"0\r\n\r\n", b"\r\r\n", b"\rX", b" \r\n", b"\n", b"5"])
def test_data_longer_than_its_size_is_refused(after: bytes) -> None:
    with pytest.raises(ClientError):
        decode(b"5\r\nhello" + after)


@pytest.mark.parametrize(
    "data", [b"-", b"5 ", b"x", b"11111111111111111", b"5\rx", b"5\r\nhelloX", b"1\r\naX"]
)
def test_what_cannot_become_a_chunk_is_refused_before_its_line_is_complete(data: bytes) -> None:
    with pytest.raises(ClientError):
        decode(data)


@pytest.mark.parametrize(
    "line",
    [
        b" folded: a",
        b"\tfolded: a",
        b"X : a",
        b"X\t: a",
        b": a",
        b"no colon",
        b"X(: a",
        b"\xe4: a",
        b"X: a\rb",
        b"X: a\x00b",
        b"X: \x01",
        b"X: \x7f",
        b"X: a\r",
    ],
)
def test_malformed_trailer_field_is_refused(line: bytes) -> None:
    with pytest.raises(ClientError):
        decode(b"0\r\nGood: 1\r\n" + line + b"\r\n\r\n")


def test_obs_fold_in_trailers_is_refused() -> None:
    with pytest.raises(ClientError):
        decode(b"0\r\nX: a\r\n b\r\n\r\n")


def test_extension_over_its_limit_is_refused() -> None:
    limits = ChunkLimits(extension=10)
    assert decode(b"1;" + b"a" * 9 + b"\r\nx\r\n0\r\n\r\n", limits) == b"x"
    with pytest.raises(ClientError):
        decode(b"1;" + b"a" * 10 + b"\r\nx\r\n0\r\n\r\n", limits)


def test_extensions_of_one_message_over_their_limit_are_refused() -> None:
    limits = ChunkLimits(extensions_total=10)
    assert decode(b"1;a\r\nx\r\n" * 5 + b"0\r\n\r\n", limits) == b"xxxxx"
    with pytest.raises(ClientError):
        decode(b"1;a\r\nx\r\n" * 5 + b"0;a\r\n\r\n", limits)


def test_trailer_section_over_its_size_is_refused() -> None:
    line = b"X: 12345\r\n"
    limits = ChunkLimits(trailer_size=len(line) + 2)
    decode(b"0\r\n" + line + b"\r\n", limits)
    with pytest.raises(ClientError):
        decode(b"0\r\n" + line.replace(b"1", b"11") + b"\r\n", limits)


def test_more_trailer_fields_than_the_limit_are_refused() -> None:
    limits = ChunkLimits(trailer_fields=2)
    decode(b"0\r\n" + b"X: a\r\n" * 2 + b"\r\n", limits)
    with pytest.raises(ClientError):
        decode(b"0\r\n" + b"X: a\r\n" * 3 + b"\r\n", limits)


def test_default_limits_are_the_documented_ones() -> None:
    assert ChunkLimits() == ChunkLimits(4096, 65536, 32768, 100)


def test_endless_extension_is_refused_although_its_line_never_ends() -> None:
    decoder = make_decoder()
    decoder.feed(b"1;")
    with pytest.raises(ClientError):
        for _ in range(LIMITS.extension + 20):
            decoder.feed(b"a")


def test_endless_trailer_line_is_refused_although_it_never_ends() -> None:
    decoder = make_decoder()
    decoder.feed(b"0\r\n")
    with pytest.raises(ClientError):
        for _ in range(LIMITS.trailer_size + 1):
            decoder.feed(b"a")


def test_violations_of_an_upstream_are_its_own_error() -> None:
    with pytest.raises(UpstreamError) as caught:
        make_decoder(error=UpstreamError).feed(b"nonsense\r\n")
    assert caught.value.status == 502


@pytest.mark.parametrize("more", [b"\r", b"5\r\nhello\r\n0\r\n\r\n", b""])
def test_decoder_that_failed_does_not_recover(more: bytes) -> None:
    decoder = make_decoder()
    with pytest.raises(ClientError):
        decoder.feed(b"nonsense\r\n")
    with pytest.raises(ClientError):
        decoder.feed(more)
    assert not decoder.is_complete


def test_memory_does_not_grow_with_the_body() -> None:
    decoder = make_decoder()
    wire = encode_chunk(bytes(1000)) * 64
    tracemalloc.start()
    try:
        for _ in range(200):
            decoder.feed(wire)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(wire)


def test_what_was_encoded_is_decoded() -> None:
    trailers = [(b"x-sum", b"X-Sum", b"42")]
    decoder = make_decoder()
    wire = b"".join(
        [encode_chunk(b"a" * 5000), encode_chunk(b""), encode_chunk(b"b"), encode_last_chunk(trailers)]
    )
    assert decoder.feed(wire) == b"a" * 5000 + b"b"
    assert (decoder.is_complete, decoder.trailers) == (True, trailers)


@pytest.mark.parametrize(
    "body",
    [
        b"5" + b";a=b" * 300_000 + b"(\r\n",
        b'5;a="' + b"\\a" * 500_000 + b"\r\n",
        b"5;" + b"a" * 1_000_000 + b"(\r\n",
        b"0\r\n" + b"a" * 1_000_000 + b"\r\n",
        b"0\r\nX:" + b" \t" * 500_000 + b"\x00\r\n",
    ],
    ids=["extensions", "quoted", "token", "name", "value"],
)
def test_hostile_line_is_refused_in_linear_time(body: bytes) -> None:
    """A pattern that backtracks takes hours over a megabyte; the suite's time limit ends it."""
    with pytest.raises(ClientError):
        make_decoder(ChunkLimits(trailer_size=1 << 21)).feed(body)
