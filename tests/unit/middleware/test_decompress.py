"""Bodies decoded for who cannot, and bombs."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import Any

import brotli
import pytest

from pyrox.errors import UpstreamError
from pyrox.http.coding import zstd_library
from pyrox.http.encoding import Encoder
from pyrox.http.message import Request, Response
from pyrox.middleware.decompress import Decompress
from pyrox.testing import ClientResponse, TestClient

TEXT = b"a text that is coded\n" * 100
MIB = 1 << 20


def coded(data: bytes, *codings: str) -> bytes:
    return Encoder(codings).finish(data)


def client_of(answer: Any = None, /, **options: Any) -> TestClient:
    return TestClient((Decompress, options), upstream=answer)


def post(client: TestClient, body: Any, content_encoding: str, *more: tuple[str, str]) -> ClientResponse:
    return client.post("/", body=body, headers=[("Content-Encoding", content_encoding), *more])


# --- requests


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZip", "deflate", "br", "zstd"])
def test_request_reaches_upstream_decoded(coding: str) -> None:
    client = client_of()
    name = coding.lower().removeprefix("x-")
    assert post(client, coded(TEXT, name), coding, ("Content-MD5", "x"), ("Digest", "y")).status == 200
    seen = client.upstream_requests[-1]
    assert seen.body == TEXT
    assert not [field for field in ("content-encoding", "content-md5", "digest") if field in seen.headers]


def test_codings_on_codings_are_all_undone() -> None:
    client = client_of()
    assert post(client, coded(TEXT, "gzip", "br"), "gzip, br").status == 200
    assert client.upstream_requests[-1].body == TEXT
    lines = [("Content-Encoding", "gzip"), ("content-encoding", "br")]
    client.post("/", body=coded(TEXT, "gzip", "br"), headers=lines)
    assert client.upstream_requests[-1].body == TEXT


@pytest.mark.parametrize("coding", ["compress", "gzip, lzma", "gzip, gzip, gzip, gzip", "g zip"])
def test_coding_that_is_not_known_is_415_with_those_that_are(coding: str) -> None:
    client = client_of()
    answer = post(client, b"x", coding)
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "zstd, br, gzip, deflate")
    assert client.upstream_requests == []


def test_request_without_a_coding_or_a_body_stays_as_it_is() -> None:
    client = client_of()
    client.post("/", body=TEXT)
    assert client.upstream_requests[-1].body == TEXT
    assert client.get("/", headers={"Content-Encoding": "unknown"}).status == 200
    assert post(client, TEXT, "identity").status == 200
    assert client.upstream_requests[-1].body == TEXT


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"\x00" + b, lambda b: b[:20] + b"\xff" * 9])
def test_data_that_is_no_such_coding_is_400(coding: str, damage: Any) -> None:
    assert post(client_of(), damage(coded(TEXT, coding)), coding).status == 400


def test_request_side_can_be_left_alone() -> None:
    client = client_of(request=False)
    post(client, b"whatever", "unknown")
    assert client.upstream_requests[-1].headers["content-encoding"] == "unknown"


# --- bombs


def bombs() -> dict[str, bytes]:
    zeros = bytes(64 * MIB)
    zstd = zstd_library()
    assert zstd is not None
    inner = gzip.compress(zeros, 9)
    return {
        "gzip": inner,
        "deflate": zlib.compress(zeros, 9),
        "br": brotli.compress(zeros, quality=5),
        "zstd": zstd.compress(zeros),
        "gzip, gzip": gzip.compress(inner, 9),
        "gzip, br": brotli.compress(inner),
    }


BOMBS = bombs()


@pytest.mark.parametrize("coding", BOMBS)
@pytest.mark.parametrize("options", [{}, {"max_request_size": None}, {"max_ratio": 10**6}])
def test_bomb_is_413_in_little_memory(coding: str, options: dict[str, Any]) -> None:
    # Each limit stops each bomb: the ratio, and without it the absolute one.
    counted = [0]

    def upstream(request: Request) -> Response:
        counted[0] += len(request.read_body(1 << 40))
        return Response(200)

    def counts(app: Any) -> Any:
        def middleware(request: Request) -> Response:
            for chunk in request.stream():
                counted[0] += len(chunk)
            return Response(200)

        return middleware

    client = TestClient([(Decompress, options), counts], upstream=upstream)
    tracemalloc.start()
    try:
        answer = post(client, BOMBS[coding], coding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 413
    assert counted[0] <= 11 * MIB
    assert peak < 8 * MIB


def test_absolute_limit_is_exact() -> None:
    client = client_of(max_request_size=100)
    assert post(client, coded(b"x" * 100, "gzip"), "gzip").status == 200
    answer = post(client, coded(b"x" * 101, "gzip"), "gzip")
    assert (answer.status, answer.text) == (413, "the body, decoded, may have 100 bytes at most\n")


def test_bomb_from_upstream_is_broken_off() -> None:
    for options in ({}, {"max_response_size": "2m", "max_ratio": 10**6}):
        upstream = Response(200, BOMBS["gzip"], {"Content-Encoding": "gzip"})
        with pytest.raises(UpstreamError):
            client_of(upstream, **options).get("/")


# --- responses


def response_of(coding: str = "gzip", status: int = 200, **headers: str) -> Response:
    body = coded(TEXT, *coding.replace(" ", "").split(","))
    return Response(
        status, body, {"Content-Encoding": coding, "ETag": '"a"', "Accept-Ranges": "bytes", **headers}
    )


@pytest.mark.parametrize("accept", [None, "", "br", "gzip;q=0", "*;q=0", "identity"])
def test_response_is_decoded_for_a_client_that_did_not_ask_for_its_coding(accept: str | None) -> None:
    client = client_of(response_of())
    answer = client.get("/", headers={} if accept is None else {"Accept-Encoding": accept})
    assert answer.body == TEXT
    assert "content-encoding" not in answer.headers
    assert (answer.headers["etag"], answer.headers["vary"]) == ('W/"a"', "Accept-Encoding")
    assert "accept-ranges" not in answer.headers


@pytest.mark.parametrize("accept", ["gzip", "x-gzip", "br, gzip;q=0.001", "*"])
def test_response_stays_coded_for_a_client_that_did(accept: str) -> None:
    answer = client_of(response_of()).get("/", headers={"Accept-Encoding": accept})
    assert gzip.decompress(answer.body) == TEXT
    assert (answer.headers["content-encoding"], answer.headers["etag"]) == ("gzip", '"a"')
    assert answer.headers["vary"] == "Accept-Encoding"


def test_every_one_of_several_codings_has_to_be_accepted() -> None:
    client = client_of(response_of("gzip, br"))
    assert client.get("/", headers={"Accept-Encoding": "br"}).body == TEXT
    assert client.get("/", headers={"Accept-Encoding": "br, gzip"}).headers["content-encoding"] == "gzip, br"


def test_what_cannot_or_must_not_be_decoded_stays_as_it_is() -> None:
    unknown = Response(200, b"x", {"Content-Encoding": "lzma"})
    for upstream in (unknown, response_of(status=206), response_of(**{"Cache-Control": "no-transform"})):
        answer = client_of(upstream).get("/")
        assert answer.headers["content-encoding"] == upstream.headers["content-encoding"]
        assert "vary" not in answer.headers
    assert client_of(response_of(), response=False).get("/").headers["content-encoding"] == "gzip"


def test_head_has_the_fields_of_the_decoded_response() -> None:
    answer = client_of(response_of()).head("/")
    assert answer.body == b""
    assert "content-encoding" not in answer.headers
    assert answer.headers["etag"] == 'W/"a"'


def test_compress_outside_codes_anew_what_was_decoded_inside() -> None:
    from pyrox.middleware.compress import Compress

    upstream = response_of("gzip", **{"Content-Type": "text/plain"})
    client = TestClient([Compress, (Decompress, {"request": False})], upstream=upstream)
    answer = client.get("/", headers={"Accept-Encoding": "br"})
    assert answer.headers["content-encoding"] == "br"
    assert brotli.decompress(answer.body) == TEXT
    assert answer.headers.get_all("vary") == ["Accept-Encoding"]


# --- options


def test_options_in_a_file() -> None:
    client = TestClient.from_config(
        """
        [middleware]
        stack = decompress
        [[decompress]]
        response = no
        max_request_size = none
        max_ratio = 5
        """
    )
    assert post(client, coded(bytes(8 * MIB), "gzip"), "gzip").status == 413


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"request": False, "response": False}, "request: neither requests nor responses are decoded"),
        ({"max_ratio": 0}, "max_ratio: 0 is less than 1"),
        ({"max_request_size": "1 MB"}, "max_request_size: '1 MB' is not a size"),
        ({"max_response_size": -1}, "max_response_size: '-1' is not a size"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        client_of(**options)
