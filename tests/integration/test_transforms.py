"""Transforms between real sockets: every coding under every framing, however the bytes come."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator

import pytest

from pyrox.errors import ProxyError
from pyrox.http.decoding import Decoder
from pyrox.http.encoding import Encoder
from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, nothing_left_behind, post, record_of, response, response_head, via
from tests.support.origin import Origin, expect_request, half_close, send, send_chunk, serve, wait
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

CODINGS = ("", "gzip", "deflate", "br", "zstd", "gzip, zstd")
FRAMINGS = ("length", "chunked", "close")

BODIES = {
    "application/json": b'{"colour": "brown", "price": 1.50}',
    "text/event-stream": b": hi\n\nevent: fox\ndata: brown\n\ndata: brown\r\n\r\n",
    "text/plain; charset=utf-8": "brown naïve\r\nfox\nbrown".encode(),
    "image/png": bytes(range(256)),
}
GREEN = {
    "application/json": b'{"colour":"green","price":1.5}',
    "text/event-stream": b": hi\n\nevent: fox\ndata: green\n\ndata: green\n\n",
    "text/plain; charset=utf-8": "green naïve\r\nfox\ngreen".encode(),
    "image/png": bytes(range(256)),
}


def proxy_with(name: str) -> Iterator[Proxy]:
    config = {
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "logging": {"access_log_format": "json"},
        "middleware": {
            "stack": f"census, by_field, {name}",
            "census": {"class": "routing.Census"},
            "by_field": {"class": "routing.RouteByField"},
            name: {"class": f"transforming.{name}"},
        },
    }
    with running_proxy(config, python_path=[PLUGINS]) as proxy, nothing_left_behind(proxy):
        yield proxy


@pytest.fixture(scope="module")
def untouched() -> Iterator[Proxy]:
    """A proxy whose transform sees everything and changes nothing."""
    yield from proxy_with("Untouched")


@pytest.fixture(scope="module")
def greener() -> Iterator[Proxy]:
    """A proxy whose transform makes brown green."""
    yield from proxy_with("Greener")


def names(coding: str) -> list[str]:
    return coding.split(", ") if coding else []


def encoded(body: bytes, coding: str) -> bytes:
    return Encoder(names(coding)).finish(body)


def decoded(body: bytes, coding: str) -> bytes:
    decoder = Decoder(names(coding), ProxyError)
    plain = b"".join(decoder.decode(body))
    decoder.finish()
    return plain


def framed(framing: str, body: bytes, *fields: str) -> bytes:
    if framing == "length":
        return response(body, *fields)
    if framing == "close":
        return response_head(*fields) + body
    # Of chunks that are cut somewhere else than the network cuts.
    chunks = [body[start : start + 7] for start in range(0, len(body), 7)]
    encoded_chunks = b"".join([b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks])
    trailer = b"X-Sum: 8\r\n"
    return (
        response_head("Transfer-Encoding: chunked", *fields) + encoded_chunks + b"0\r\n" + trailer + b"\r\n"
    )


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("content_type", BODIES)
def test_body_that_comes_byte_by_byte_is_changed_as_one_that_comes_at_once(
    untouched: Proxy, greener: Proxy, content_type: str, coding: str, framing: str
) -> None:
    fields = [f"Content-Type: {content_type}", *([f"Content-Encoding: {coding}"] if coding else [])]
    body = encoded(BODIES[content_type], coding)
    wire = framed(framing, body, *fields)
    for proxy, expected in ((untouched, BODIES), (greener, GREEN)):
        for pieces in ([wire], [wire[at : at + 1] for at in range(len(wire))]):
            ending = [half_close()] if framing == "close" else []
            with Origin([expect_request(), send(*pieces), *ending]) as origin:
                with Client(proxy.address) as client:
                    answer = client.ask(get("/", via(origin), "TE: trailers"))
            assert answer.status == 200
            assert decoded(answer.body, coding) == expected[content_type]
            assert (answer.get("content-encoding") or b"").decode() == coding
            assert answer.trailers == ([b"X-Sum: 8"] if framing == "chunked" else [])


@pytest.mark.parametrize("coding", CODINGS)
def test_request_body_that_comes_byte_by_byte_is_changed(greener: Proxy, coding: str) -> None:
    body = encoded(b'{"colour": "brown"}', coding)
    fields = ["Content-Type: application/json", *([f"Content-Encoding: {coding}"] if coding else [])]
    with Origin(serve(response())) as origin, Client(greener.address) as client:
        for request in (
            post("/", body, *fields, via(origin)),
            get("/", *fields, via(origin), "Transfer-Encoding: chunked", method="POST")
            + b"%x\r\n%b\r\n0\r\nX-Sum: 8\r\n\r\n" % (len(body), body),
        ):
            client.send_pieces([request[at : at + 1] for at in range(len(request))])
            assert client.read_response().status == 200
        first, second = origin.requests
    assert [json.loads(decoded(r.body, coding)) for r in (first, second)] == [{"colour": "green"}] * 2
    assert (first.framing, second.framing, second.trailers) == ("length", "chunked", [b"X-Sum: 8"])


@pytest.mark.parametrize("coding", CODINGS)
def test_each_event_arrives_while_the_origin_withholds_the_next(greener: Proxy, coding: str) -> None:
    got = [threading.Event() for _ in range(4)]
    encoder, decoder = Encoder(names(coding)), Decoder(names(coding), ProxyError)
    fields = ["Content-Type: text/event-stream", "Transfer-Encoding: chunked"]
    script = [
        expect_request(),
        send(response_head(*fields, *([f"Content-Encoding: {coding}"] if coding else []))),
    ]
    for number, arrived in enumerate(got):
        event = encoder.encode(b"data: brown %d\n\n" % number) + (encoder.flush() if coding else b"")
        script += [send_chunk(event), wait(arrived)]
    script += [send_chunk(encoder.finish())] if coding else []
    with Origin([*script, send_chunk(b"")]) as origin, Client(greener.address) as client:
        client.send(get("/", via(origin)))
        answer = client.read_response_head()
        pieces = client.stream_body_of(answer)
        for number, arrived in enumerate(got):
            received = b""
            while not received.endswith(b"\n\n"):
                received += b"".join(decoder.decode(next(pieces)))
            assert received == b"data: green %d\n\n" % number
            arrived.set()
        assert b"".join([b"".join(decoder.decode(piece)) for piece in pieces]) == b""
    decoder.finish()
    assert answer.is_complete


def test_head_tells_the_truth_about_get_head_and_304(greener: Proxy) -> None:
    fields = ["Content-Type: text/plain", 'ETag: "a"', "Accept-Ranges: bytes", "Content-MD5: x"]
    not_modified = response_head('ETag: "a"', status="304 Not Modified")
    with Origin(
        serve(response(b"brown", *fields), response_head("Content-Length: 5", *fields), not_modified)
    ) as origin:
        with Client(greener.address) as client:
            answers = [
                client.ask(get("/", via(origin), "Range: bytes=0-1", "Accept-Encoding: gzip, compress")),
                client.ask(get("/", via(origin), method="HEAD"), "HEAD"),
                client.ask(get("/", via(origin), 'If-None-Match: W/"a"')),
            ]
        assert (origin.requests[0].get("range"), origin.requests[0].get("accept-encoding")) == (None, b"gzip")
    assert [answer.get("etag") for answer in answers] == [b'W/"a"'] * 3
    for answer in answers:
        assert answer.get("accept-ranges") is answer.get("content-md5") is None
    assert [answer.get("content-length") for answer in answers] == [None] * 3
    assert answers[0].body == b"green"


def test_document_that_cannot_be_read_is_refused_before_anything_is_sent(greener: Proxy, target: str) -> None:
    with Origin(serve(response(b"{broken", "Content-Type: application/json"))) as origin:
        with Client(greener.address) as client:
            assert (
                client.ask(post(target, b"{broken", "Content-Type: application/json", via(origin))).status
                == 400
            )
        with Client(greener.address) as client:
            assert client.ask(get("/502", via(origin))).status == 502
    assert [request.target for request in origin.requests] == ["/502"]
    assert record_of(greener, target)["answered_by"] == "Greener"


def test_truncated_coding_breaks_the_connection_off(greener: Proxy) -> None:
    body = encoded(b"brown fox\n" * 50, "gzip")[:-9]
    wire = framed("chunked", body, "Content-Type: text/plain", "Content-Encoding: gzip")
    got = threading.Event()
    script = [expect_request(), send(wire[:-9]), wait(got), send(wire[-9:])]
    with Origin(script) as origin, Client(greener.address) as client:
        client.send(get("/", via(origin)))
        answer = client.read_response_head()
        got.set()
        client.read_body_of(answer)
    assert not answer.is_complete


@pytest.mark.parametrize("coding", ["", "zstd"])
def test_stream_far_larger_than_memory_is_changed_in_little_of_it(greener: Proxy, coding: str) -> None:
    lines = [
        f"{number:x} the quick brown fox jumps over {number * 7919}\n".encode() for number in range(24_000)
    ]
    piece = b"".join(lines)
    wire, count = encoded(piece, coding), 32
    head = response_head(
        "Transfer-Encoding: chunked",
        "Content-Type: text/plain",
        *([f"Content-Encoding: {coding}"] if coding else []),
    )
    # Frames of zstd may follow one another.
    script = [expect_request(), send(head), *[send_chunk(wire)] * count, send_chunk(b"")]
    decoder = Decoder(names(coding), ProxyError)
    digest, length, most, before = hashlib.sha256(), 0, 0, greener.rss()
    with Origin(script) as origin, Client(greener.address, keep=False) as client:
        client.send(get("/", via(origin)))
        answer = client.read_response_head()
        for number, received in enumerate(client.stream_body_of(answer)):
            for plain in decoder.decode(received):
                digest.update(plain)
                length += len(plain)
            if number % 20 == 0:
                most = max(most, greener.rss() - before)
    assert answer.is_complete
    assert digest.digest() == hashlib.sha256(piece.replace(b"brown", b"green") * count).digest()
    assert length > 30 << 20
    assert most < 16 << 20


def test_client_that_waits_for_a_100_is_heard(greener: Proxy) -> None:
    body = b'{"colour": "brown"}'
    with Origin(
        [lambda c: c.expect_head(), send(b"HTTP/1.1 100 Continue\r\n\r\n"), send(response())]
    ) as origin:
        with Client(greener.address) as client:
            client.send(
                get(
                    "/",
                    via(origin),
                    "Content-Type: application/json",
                    f"Content-Length: {len(body)}",
                    "Expect: 100-continue",
                    method="POST",
                )
            )
            assert client.read_response_head().status == 100
            client.send(body)
            assert client.read_response().status == 200
