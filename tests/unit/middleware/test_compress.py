"""Responses coded for clients that can undo it, and those that stay as they are."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import brotli
import pytest

from pyrox import threads
from pyrox.errors import UpstreamError
from pyrox.http.coding import zstd_library
from pyrox.http.decoding import Decoder
from pyrox.http.message import Request, Response
from pyrox.middleware.compress import Compress
from pyrox.testing import ClientResponse, TestClient

TEXT = b"".join(b"line %d of a text that shrinks\n" % number for number in range(200))
JSON = {"Content-Type": "application/json"}


def client_of(answer: Any = None, /, headers: Any = JSON, body: Any = TEXT, **options: Any) -> TestClient:
    return TestClient((Compress, options), upstream=answer or Response(200, body, headers))


def get(client: TestClient, accept: str | None = "gzip", method: str = "GET") -> ClientResponse:
    return client.request(method, "/", headers={} if accept is None else {"Accept-Encoding": accept})


def plain(answer: ClientResponse) -> bytes:
    return b"".join(Decoder((answer.headers["content-encoding"],), UpstreamError).decode(answer.body))


# --- which coding


def test_gzip_br_and_zstd_are_what_their_libraries_undo() -> None:
    assert gzip.decompress(get(client_of(), "gzip").body) == TEXT
    assert brotli.decompress(get(client_of(), "br").body) == TEXT
    zstd = zstd_library()
    assert zstd is not None
    assert zstd.decompress(get(client_of(), "zstd").body) == TEXT


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br;q=0.9", "gzip"),
        ("gzip;q=0.5, br;q=0.8", "br"),
        ("x-gzip", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, gzip", "gzip"),
        ("deflate", None),
        ("gzip;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("", None),
        (None, None),
    ],
)
def test_coding_that_the_client_ranks_highest(accept: str | None, coding: str | None) -> None:
    answer = get(client_of(), accept)
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (plain(answer) if coding else answer.body) == TEXT


def test_only_the_codings_that_are_configured_in_their_order() -> None:
    client = client_of(codings=["gzip", "br"])
    assert get(client, "zstd, br, gzip").headers["content-encoding"] == "gzip"
    assert "content-encoding" not in get(client, "zstd").headers


def test_two_lines_of_accept_encoding_are_one_list() -> None:
    answer = client_of().get("/", headers=[("Accept-Encoding", "br;q=0.1"), ("Accept-Encoding", "gzip")])
    assert answer.headers["content-encoding"] == "gzip"


# --- what is coded, and what is not


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "TEXT/CSV; charset=latin-1",
        "application/problem+json",
        "image/svg+xml",
        "application/json",
    ],
)
def test_media_type_that_shrinks(content_type: str) -> None:
    assert get(client_of(headers={"Content-Type": content_type})).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "image/png"},
        {"Content-Type": "video/mp4"},
        {"Content-Type": "application/octet-stream"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": "json"},
        {"Content-Type": "text/event-stream"},
        {**JSON, "Content-Encoding": "br"},
        {**JSON, "Content-Range": "bytes 0-9/99"},
        {**JSON, "Cache-Control": "public, no-transform"},
        {**JSON, "Cache-Control": "NO-TRANSFORM"},
    ],
)
def test_response_that_stays_as_it_is(headers: dict[str, str]) -> None:
    answer = get(client_of(headers=headers))
    assert answer.body == TEXT
    assert answer.headers.get("content-encoding") == headers.get("Content-Encoding")
    assert "vary" not in answer.headers


def test_client_may_forbid_it() -> None:
    headers = {"Accept-Encoding": "gzip", "Cache-Control": "no-cache, no-transform"}
    assert client_of().get("/", headers=headers).body == TEXT
    quoted = {"Accept-Encoding": "gzip", "Cache-Control": 'x="no-transform"'}
    assert client_of().get("/", headers=quoted).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("status", [204, 206])
def test_status_without_a_whole_body(status: int) -> None:
    assert "content-encoding" not in get(client_of(Response(status, TEXT, JSON))).headers


def answers(body: bytes, **headers: str) -> Any:
    return lambda app: lambda request: Response(200, body, {**JSON, **headers})


def test_short_body_stays_as_it_is_when_its_length_is_known() -> None:
    assert "content-encoding" not in get(TestClient([Compress, answers(b"x" * 1023)])).headers
    assert get(TestClient([Compress, answers(b"x" * 1024)])).headers["content-encoding"] == "gzip"
    layer = (Compress, {"min_size": "1"})
    answer = get(TestClient([layer, answers(b"x")]))
    assert (answer.body, answer.headers["vary"]) == (b"x", "Accept-Encoding")  # gzip has 20 bytes for it
    assert "content-encoding" not in answer.headers


def test_body_of_known_length_keeps_one() -> None:
    request = Request("GET", "/", {"Accept-Encoding": "gzip"})
    response = Compress(lambda request: Response(200, TEXT, JSON))(request)
    assert isinstance(response.body, bytes)
    assert gzip.decompress(response.body) == TEXT


def test_head_is_answered_as_get_would_be_without_a_length() -> None:
    client = client_of(headers={**JSON, "ETag": '"a"'})
    head, full = get(client, method="HEAD"), get(client)
    assert head.body == b""
    fields = ("content-encoding", "vary", "etag", "content-type")
    assert [head.headers[name] for name in fields] == [full.headers[name] for name in fields]


def test_head_of_a_short_body_is_not_coded() -> None:
    def upstream(app: Any) -> Any:
        def middleware(request: Request) -> Response:
            response = Response(200, b"", JSON)
            response.content_length = 10
            return response

        return middleware

    assert "content-encoding" not in get(TestClient([Compress, upstream]), method="HEAD").headers


# --- fields


def test_what_is_true_of_the_bytes_only_is_corrected() -> None:
    about = {
        "ETag": '"a"',
        "Accept-Ranges": "bytes",
        "Repr-Digest": "x",
        "Content-MD5": "y",
        "Vary": "Cookie",
    }
    answer = get(client_of(headers={**JSON, **about, "Last-Modified": "z"}))
    assert answer.headers["etag"] == 'W/"a"'
    assert answer.headers["vary"] == "Cookie, Accept-Encoding"
    assert answer.headers["last-modified"] == "z"
    assert not [name for name in ("accept-ranges", "repr-digest", "content-md5") if name in answer.headers]
    uncoded = get(client_of(headers={**JSON, **about}), None)
    assert (uncoded.headers["etag"], uncoded.headers["accept-ranges"]) == ('"a"', "bytes")


def test_weak_tag_stays_as_it_is() -> None:
    assert get(client_of(headers={**JSON, "ETag": 'W/"a"'})).headers["etag"] == 'W/"a"'


@pytest.mark.parametrize(
    ("asked", "tag"),
    [('W/"a"', 'W/"a"'), ('"b", W/"a"', 'W/"a"'), ('"a"', '"a"'), (None, '"a"'), ('W/"ab"', '"a"')],
)
def test_304_names_the_tag_as_the_client_knows_it(asked: str | None, tag: str) -> None:
    client = client_of(Response(304, headers={"ETag": '"a"'}))
    answer = client.get("/", headers={} if asked is None else {"If-None-Match": asked})
    assert answer.headers["etag"] == tag


def test_upstream_is_not_told_what_the_client_accepts_when_this_takes_over() -> None:
    client = client_of(take_over=True)
    assert get(client).headers["content-encoding"] == "gzip"
    assert "accept-encoding" not in client.upstream_requests[-1].headers
    client = client_of()
    get(client)
    assert client.upstream_requests[-1].headers["accept-encoding"] == "gzip"


# --- streams


def test_every_chunk_of_an_endless_stream_can_be_decoded_when_it_comes() -> None:
    sent: list[bytes] = []

    def events() -> Iterator[bytes]:
        for number in range(3):
            sent.append(b"data: %d\n\n" % number)
            yield sent[-1]

    response = Response(200, events(), {"Content-Type": "text/event-stream"})
    for coding in ("gzip", "br", "zstd"):
        response.body = events()
        response.headers.discard("Content-Encoding")
        sent.clear()
        request = Request("GET", "/", {"Accept-Encoding": coding})
        decoder = Decoder((coding,), UpstreamError)
        stream = Compress(lambda request: response, types=["text/event-stream"])(request).stream()
        for number in range(3):
            assert b"".join(decoder.decode(next(stream))) == b"data: %d\n\n" % number
            assert len(sent) == number + 1
        assert b"".join(b"".join(decoder.decode(chunk)) for chunk in stream) == b""
        decoder.finish()


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("body", [[], [b""], [b"a"], [TEXT] * 30, [bytes([n % 251]) for n in range(3000)]])
def test_streamed_body_is_one_whole_coded_body(coding: str, body: list[bytes]) -> None:
    def inside(app: Any) -> Any:
        return lambda request: Response(200, iter(body), JSON)

    assert plain(get(TestClient([Compress, inside]), coding)) == b"".join(body)


def test_long_work_is_done_in_a_thread() -> None:
    ran = []

    def run(function: Any, *args: Any, **kwargs: Any) -> Any:
        ran.append(len(args[0]))
        return function(*args, **kwargs)

    threads.use_runner(run)
    try:
        get(TestClient([Compress, answers(b"x" * 200_000)]))
        get(TestClient([Compress, answers(TEXT)]))
    finally:
        threads.use_runner(None)
    assert ran == [200_000]


def test_level_is_used() -> None:
    body = bytes(zlib.crc32(b"%d" % n) % 7 for n in range(20000))
    fast, best = (get(client_of(body=body, levels={"gzip": level})).body for level in (1, 9))
    assert len(best) < len(fast)


# --- options


def test_options_in_a_file() -> None:
    client = TestClient.from_config(
        """
        [middleware]
        stack = compress
        [[compress]]
        codings = br, gzip
        types = *+json, image/*
        min_size = 2k
        [[[levels]]]
        br = 5
        """,
        upstream=Response(200, TEXT, {"Content-Type": "image/x"}),
    )
    assert get(client, "br, zstd").headers["content-encoding"] == "br"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"codings": ["deflate"]}, "codings: 'deflate' is none of zstd, br, gzip"),
        ({"types": ["json"]}, "types: 'json' is no media type, nor one like text"),
        ({"types": ["*/*"]}, "types: .* is no media type"),
        ({"types": ["*"]}, "types: .* is no media type"),
        ({"types": ["text/html;level=1"]}, "types: .* is no media type"),
        ({"min_size": "many"}, "min_size: 'many' is not a size"),
        ({"levels": {"br": 11}}, "levels: br may have 0 to 9; 11 would cost more than it saves"),
        ({"levels": {"zstd": 19}}, "levels: zstd may have 1 to 12"),
        ({"levels": {"gzip": 0}}, "levels: gzip may have 1 to 9"),
        ({"levels": {"lzma": 1}}, "levels: 'lzma' is none of the codings"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        client_of(**options)


def test_missing_library_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyrox.middleware.compress.available_codings", lambda: ("gzip", "deflate"))
    monkeypatch.setitem(__import__("sys").modules, "brotli", None)
    with pytest.raises(ValueError, match=r"pip install 'pyrox\[compression\]'"):
        client_of(codings=["br"])
    assert get(client_of(), "br, gzip").headers["content-encoding"] == "gzip"
