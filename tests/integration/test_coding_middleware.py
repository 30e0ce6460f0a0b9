"""Bodies coded and decoded on their way through a running proxy."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Iterator

import pytest

from pyrox.errors import UpstreamError
from pyrox.http.decoding import Decoder
from tests.integration.conftest import PLUGINS
from tests.integration.kit import (
    CHUNKED_HEAD,
    get,
    nothing_left_behind,
    pattern,
    post,
    record_of,
    response,
    response_head,
    via,
)
from tests.support.config import Config
from tests.support.messages import WireResponse
from tests.support.origin import (
    OK,
    Origin,
    expect_close,
    expect_head,
    expect_request,
    reset,
    send,
    send_chunk,
    serve,
    wait,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

MIB = 1 << 20
TEXT = b"".join(b"line %d of a text that shrinks\n" % number for number in range(300))
HTML = "Content-Type: text/html"

CONFIG: Config = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"access_log_format": "json"},
    "middleware": {
        "stack": ["census", "compress", "decompress", "by_field"],
        "census": {"class": "routing.Census"},
        "by_field": {"class": "routing.RouteByField"},
        "compress": {"when": "PathPrefix(`/compress`)", "types": ["text/*", "text/event-stream"]},
        "decompress": {"when": "PathPrefix(`/decompress`)", "max_response_size": "2m"},
    },
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy:
        with nothing_left_behind(proxy):
            yield proxy


def plain(answer: WireResponse) -> bytes:
    decoder = Decoder(((answer.get("content-encoding") or b"").decode(),), UpstreamError, ratio=1 << 30)
    decoded = b"".join(decoder.decode(answer.body))
    decoder.finish()
    return decoded


# --- compress


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_short_body_keeps_a_length(client: Client, coding: str) -> None:
    with Origin(serve(response(TEXT, HTML, 'ETag: "a"'))) as upstream:
        for _ in range(2):  # on one connection, each side
            answer = client.ask(get("/compress", f"Accept-Encoding: {coding}", via(upstream)))
            assert answer.get("content-encoding") == coding.encode()
            assert answer.get("content-length") == str(len(answer.body)).encode()
            assert (answer.get("etag"), answer.get("vary")) == (b'W/"a"', b"Accept-Encoding")
            assert plain(answer) == TEXT
        assert len(upstream.connections) == 1


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_long_body_streams(client: Client, coding: str) -> None:
    head = response_head(f"Content-Length: {4 * MIB}", HTML)
    with Origin([expect_request(), send(head), lambda c: c.send_pieces(pattern(4 * MIB))]) as upstream:
        answer = client.ask(get("/compress", f"Accept-Encoding: {coding}", via(upstream)))
        assert (answer.framing, answer.is_complete) == ("chunked", True)
        assert len(answer.body) < 2 * MIB
        assert plain(answer) == b"".join(pattern(4 * MIB))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_event_arrives_when_it_is_sent(client: Client, coding: str) -> None:
    was_read = threading.Event()
    head = response_head("Transfer-Encoding: chunked", "Content-Type: text/event-stream")
    first, second = b"data: 1\n\n", b"data: 2\n\n"
    script = [
        expect_request(),
        send(head),
        send_chunk(first),
        wait(was_read),
        send_chunk(second),
        send_chunk(b""),
    ]
    with Origin(script) as upstream:
        client.send(get("/compress", f"Accept-Encoding: {coding}", via(upstream)))
        answer = client.read_response_head()
        decoder = Decoder((coding,), UpstreamError)
        seen = b""
        for piece in client.stream_body_of(answer):
            seen += b"".join(decoder.decode(piece))
            if seen == first:
                was_read.set()
        assert (seen, answer.is_complete) == (first + second, True)


def test_body_that_upstream_breaks_off_is_no_whole_one(client: Client) -> None:
    head = response_head("Transfer-Encoding: chunked", HTML)
    with Origin([expect_request(), send(head), send_chunk(TEXT), reset()]) as upstream:
        client.send(get("/compress", "Accept-Encoding: gzip", via(upstream)))
        answer = client.read_response()
        assert (answer.status, answer.is_complete) == (200, False)


def test_short_body_that_upstream_breaks_off_is_a_502(client: Client) -> None:
    with Origin(
        [expect_request(), send(response_head("Content-Length: 5000", HTML), TEXT[:100])]
    ) as upstream:
        assert client.ask(get("/compress", "Accept-Encoding: gzip", via(upstream))).status == 502


def test_head_is_answered_as_get_would_be(client: Client) -> None:
    with Origin(
        serve(response_head("Content-Length: 9300", HTML), response_head("Content-Length: 9", HTML))
    ) as up:
        answer = client.ask(get("/compress", "Accept-Encoding: gzip", via(up), method="HEAD"), "HEAD")
        assert (answer.get("content-encoding"), answer.get("content-length")) == (b"gzip", None)
        answer = client.ask(get("/compress", "Accept-Encoding: gzip", via(up), method="HEAD"), "HEAD")
        assert (answer.get("content-encoding"), answer.get("content-length")) == (None, b"9")


def test_old_client_gets_the_end_of_a_stream_by_the_close(proxy: Proxy) -> None:
    chunks = [send_chunk(TEXT), send_chunk(b"")]
    with Origin(
        [expect_request(), send(response_head("Transfer-Encoding: chunked", HTML)), *chunks]
    ) as upstream:
        with Client(proxy.address) as old:
            answer = old.ask(get("/compress", "Accept-Encoding: gzip", via(upstream), version="1.0"))
            assert (answer.framing, plain(answer)) == ("close", TEXT)


@pytest.mark.parametrize("status", ["304 Not Modified", "206 Partial Content", "204 No Content"])
def test_what_is_no_whole_body_stays(client: Client, status: str) -> None:
    body = TEXT if status[:3] == "206" else b""
    fields = [HTML, *([f"Content-Length: {len(TEXT)}"] if body else [])]
    with Origin(serve(response_head(*fields, status=status) + body)) as upstream:
        answer = client.ask(get("/compress", "Accept-Encoding: gzip", via(upstream)))
        assert (answer.body, answer.get("content-encoding")) == (body, None)


# --- decompress


def test_request_is_decoded_on_its_way(client: Client) -> None:
    with Origin(serve(OK)) as upstream:
        answer = client.ask(post("/decompress", gzip.compress(TEXT), "Content-Encoding: gzip", via(upstream)))
        assert answer.status == 200
        [seen] = upstream.wait_for_requests(1)
        assert (seen.body, seen.get("content-encoding"), seen.framing) == (TEXT, None, "chunked")


def test_coding_that_is_not_known_is_415(client: Client) -> None:
    answer = client.ask(post("/decompress", b"x", "Content-Encoding: lzma"))
    assert (answer.status, answer.get("accept-encoding")) == (415, b"zstd, br, gzip, deflate")


@pytest.mark.parametrize(("body", "status"), [(gzip.compress(bytes(64 * MIB)), 413), (b"no gzip", 400)])
def test_bomb_is_413_and_nonsense_400(proxy: Proxy, client: Client, body: bytes, status: int) -> None:
    before = proxy.rss()
    with Origin([expect_head(), expect_close()], keep=False) as upstream:
        answer = client.ask(post(f"/decompress/{status}", body, "Content-Encoding: gzip", via(upstream)))
        assert answer.status == status
        upstream.wait_for_end()  # and no clean end of a body before it
    assert record_of(proxy, f"/decompress/{status}")["status"] == status
    assert proxy.rss() - before < 32 * MIB


@pytest.mark.parametrize("accept", ["Accept-Encoding: br", "X: y"])
def test_response_is_decoded_for_who_did_not_ask(client: Client, accept: str) -> None:
    fields = ("Content-Encoding: gzip", HTML, 'ETag: "a"')
    with Origin(serve(response(gzip.compress(TEXT), *fields))) as upstream:
        answer = client.ask(get("/decompress", accept, via(upstream)))
        assert (answer.body, answer.get("content-encoding"), answer.get("etag")) == (TEXT, None, b'W/"a"')
        answer = client.ask(get("/decompress", "Accept-Encoding: gzip", via(upstream)))
        assert (gzip.decompress(answer.body), answer.get("etag")) == (TEXT, b'"a"')
        assert answer.get("content-length") == str(len(answer.body)).encode()
        assert len(upstream.connections) == 1


def test_bomb_from_upstream_is_broken_off(client: Client) -> None:
    bomb = zlib.compress(bytes(64 * MIB))
    head = response_head("Content-Encoding: deflate", f"Content-Length: {len(bomb)}", HTML)
    with Origin([expect_request(), send(head, bomb), expect_close()]) as upstream:
        client.send(get("/decompress", via(upstream)))
        answer = client.read_response()
        assert (answer.status, answer.is_complete) == (200, False)
        assert len(answer.body) <= 2 * MIB


def test_coded_body_that_stops_too_early_is_no_whole_one(client: Client) -> None:
    coded = gzip.compress(TEXT)[:-4]
    chunks = [send_chunk(coded), send_chunk(b"")]
    with Origin(
        [expect_request(), send(CHUNKED_HEAD[:-2] + b"Content-Encoding: gzip\r\n\r\n"), *chunks]
    ) as upstream:
        client.send(get("/decompress", via(upstream)))
        assert not client.read_response().is_complete
