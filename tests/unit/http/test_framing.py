"""Where a body ends: RFC 9112 6.3, narrowed to what is beyond doubt."""

from __future__ import annotations

import pytest

from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http.framing import (
    CHUNKED,
    LAST_CHUNK,
    UNTIL_CLOSE,
    encode_chunk,
    encode_last_chunk,
    forwardable_trailers,
    parse_content_length,
    request_body_length,
    response_body_length,
)
from pyrox.http.headers import Field, make_field

# --- Content-Length ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "length"),
    [(b"0", 0), (b"5", 5), (b"0005", 5), (b"9223372036854775807", 2**63 - 1), (b"0" * 5000 + b"7", 7)],
)
def test_content_length_of_digits_is_their_number(value: bytes, length: int) -> None:
    assert parse_content_length(value, ClientError) == length


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"+5",
        b"-5",
        b"-0",
        b"5,5",
        b"5, 5",
        b"5;5",
        b"0x5",
        b"5_0",
        b"5.0",
        b"1e3",
        b" 5",
        b"5 ",
        b"5\x0b",
        b"5\x00",
        b"five",
        "\u0665".encode(),  # a digit to str.isdigit()
        b"\xb2",  # a digit to latin-1 readers
        b"9223372036854775808",
        b"18446744073709551621",  # 5 in a 64-bit counter that wraps
        b"9" * 5000,  # more than int() takes
    ],
)
@pytest.mark.parametrize("error", [ClientError, UpstreamError])
def test_content_length_of_anything_else_is_refused(value: bytes, error: type[ProxyError]) -> None:
    with pytest.raises(error):
        parse_content_length(value, error)


# --- requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_request_without_framing_fields_has_no_body(version: str) -> None:
    assert request_body_length([], [], version) == 0


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_request_body_is_as_long_as_its_content_length(version: str) -> None:
    assert request_body_length([b"12"], [], version) == 12


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED"])
def test_request_with_chunked_coding_is_chunked(coding: bytes) -> None:
    assert request_body_length([], [coding], "1.1") == CHUNKED


@pytest.mark.parametrize(
    ("lengths", "codings", "version", "status"),
    [
        ([b"5"], [b"chunked"], "1.1", 400),
        ([b"5"], [b"chunked"], "1.0", 400),
        ([b"5"], [b"foo"], "1.1", 400),
        ([b"5"], [b""], "1.1", 400),
        ([b"5", b"5"], [], "1.1", 400),
        ([b"5", b"6"], [], "1.1", 400),
        ([b"5,5"], [], "1.1", 400),
        ([b"+5"], [], "1.1", 400),
        ([b"9223372036854775808"], [], "1.1", 400),
        ([], [b"chunked"], "1.0", 400),
        ([], [b"chunked, gzip"], "1.1", 400),
        ([], [b"chunked", b"identity"], "1.1", 400),
        ([], [b"chunked, foo"], "1.1", 400),
        ([], [b"gzip"], "1.1", 400),
        ([], [b"X-Compress"], "1.1", 400),
        ([], [b"chunked, chunked"], "1.1", 400),
        ([], [b"chunked", b"chunked"], "1.1", 400),
        ([], [b"chunked, gzip, chunked"], "1.1", 400),
        ([], [b""], "1.1", 400),
        ([], [b"chunked,"], "1.1", 400),
        ([], [b", chunked"], "1.1", 400),
        ([], [b"chunked", b""], "1.1", 400),
        ([], [b'"chunked"'], "1.1", 400),
        ([], [b"chunked;a=b"], "1.1", 400),
        ([], [b"\x0bchunked"], "1.1", 400),
        ([], [b"chunked\x00"], "1.1", 400),
        ([], [b"chunked\xa0"], "1.1", 400),
        ([], [b"chunked chunked"], "1.1", 400),
        ([], [b"xchunked"], "1.1", 501),
        ([], [b"foo"], "1.1", 501),
        ([], [b"identity"], "1.1", 501),
        ([], [b"foo, chunked"], "1.1", 501),
        ([], [b"gzip, chunked"], "1.1", 501),  # understood by others; Pyrox would relay it undecoded
        ([], [b"gzip", b"chunked"], "1.1", 501),
    ],
)
def test_request_whose_framing_is_in_doubt_is_refused(
    lengths: list[bytes], codings: list[bytes], version: str, status: int
) -> None:
    with pytest.raises(ClientError) as caught:
        request_body_length(lengths, codings, version)
    assert caught.value.status == status


# --- responses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method"),
    [(200, "HEAD"), (404, "HEAD"), (100, "GET"), (101, "GET"), (103, "POST"), (204, "GET"), (304, "GET")],
)
@pytest.mark.parametrize(
    ("lengths", "codings"),
    [([], []), ([b"5"], []), ([], [b"chunked"]), ([b"5", b"x"], [b"gzip", b"chunked"])],
)
def test_response_that_never_has_a_body_has_none_whatever_its_fields_say(
    status: int, method: str, lengths: list[bytes], codings: list[bytes]
) -> None:
    assert response_body_length(status, method, lengths, codings, "1.1") == 0


@pytest.mark.parametrize("status", [200, 205, 303, 404, 500, 599])
def test_response_without_framing_fields_ends_with_the_connection(status: int) -> None:
    assert response_body_length(status, "GET", [], [], "1.1") == UNTIL_CLOSE


@pytest.mark.parametrize("lengths", [[b"7"], [b"7", b"7"], [b"7", b"07", b"7"]])
def test_response_body_is_as_long_as_its_content_lengths_agree(lengths: list[bytes]) -> None:
    assert response_body_length(200, "GET", lengths, [], "1.0") == 7


def test_response_with_chunked_coding_is_chunked() -> None:
    assert response_body_length(200, "GET", [], [b"Chunked"], "1.1") == CHUNKED


@pytest.mark.parametrize(
    ("lengths", "codings", "version"),
    [
        ([b"5"], [b"chunked"], "1.1"),
        ([b"5"], [b"identity"], "1.1"),
        ([b"5", b"6"], [], "1.1"),
        ([b"5", b"x"], [], "1.1"),
        ([b"5, 5"], [], "1.1"),
        ([b"-1"], [], "1.1"),
        ([], [b"chunked"], "1.0"),
        ([], [b"chunked", b"chunked"], "1.1"),
        ([], [b"gzip, chunked"], "1.1"),
        ([], [b"chunked, gzip"], "1.1"),
        ([], [b"identity"], "1.1"),
        ([], [b"chunked,"], "1.1"),
        ([], [b""], "1.1"),
    ],
)
def test_response_whose_framing_is_in_doubt_is_a_502(
    lengths: list[bytes], codings: list[bytes], version: str
) -> None:
    with pytest.raises(UpstreamError) as caught:
        response_body_length(200, "GET", lengths, codings, version)
    assert caught.value.status == 502


# --- encoding ---------------------------------------------------------------------------------------


def test_chunk_is_its_size_in_hex_and_its_data() -> None:
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_chunk_of_no_data_is_nothing_because_an_empty_chunk_ends_the_body() -> None:
    assert encode_chunk(b"") == b""


def test_last_chunk_carries_the_trailers_with_their_names_as_received() -> None:
    trailers = [make_field("X-Sum", "1"), make_field("x-sum", "")]
    assert encode_last_chunk(trailers) == b"0\r\nX-Sum: 1\r\nx-sum: \r\n\r\n"
    assert encode_last_chunk([]) == LAST_CHUNK == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "name",
    [
        "Transfer-Encoding",
        "Content-Length",
        "Content-Type",
        "Content-Encoding",
        "Content-Range",
        "Content_Length",
        "CONTENT-LENGTH",
        "Trailer",
        "Connection",
        "Upgrade",
        "TE",
        "Host",
        "Via",
        "Forwarded",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Real-IP",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "Expect",
        "Range",
        "If-None-Match",
        "Max-Forwards",
        "Cache-Control",
        "Location",
        "Vary",
    ],
)
def test_trailer_that_could_change_the_head_is_not_forwarded(name: str) -> None:
    kept = make_field("X-Kept", "1")
    assert forwardable_trailers([make_field(name, "1"), kept]) == [kept]


def test_other_trailers_are_forwarded_in_order() -> None:
    names = ["Server-Timing", "ETag", "grpc-status", "Content-Digest", "Digest", "Authentication-Info"]
    trailers: list[Field] = [make_field(name, "v") for name in names]
    assert forwardable_trailers(trailers) == trailers
