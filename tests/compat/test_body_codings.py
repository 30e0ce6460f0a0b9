"""Bodies with a content coding: left alone, or undone for a filter that sets ``decode_body``."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compat.proxies import MIB, Parts, letters, mirror
from tests.integration.kit import get, post, record_of, response, response_head, via
from tests.support.origin import Origin, expect_close, expect_head, expect_request, send, serve, wait
from tests.support.proxy import Proxy
from tests.support.wire import Client


@pytest.fixture
def proxy(treating_proxy: Proxy) -> Proxy:
    return treating_proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address) as client:
        yield client


@pytest.fixture
def decoding_client(decoding_proxy: Proxy) -> Iterator[Client]:
    with Client(decoding_proxy.address) as client:
        yield client


def deflate(data: bytes) -> bytes:
    return zlib.compress(data)


CODERS = {"gzip": (gzip.compress, gzip.decompress), "deflate": (deflate, zlib.decompress)}
CODINGS = pytest.mark.parametrize("coding", CODERS)


@CODINGS
@pytest.mark.parametrize("size", [5, 200_000])
def test_coded_bodies_are_left_alone_by_a_filter_that_does_not_decode(
    client: Client, parts: Parts, coding: str, size: int
) -> None:
    coded = CODERS[coding][0](letters(size))
    with Origin(serve(lambda request: response(request.body, f"Content-Encoding: {coding}"))) as origin:
        fields = via(origin), f"Content-Encoding: {coding}", "Accept-Encoding: br", "Range: bytes=0-9"
        answer = client.ask(post("/", coded, *fields))
        assert (answer.body, answer.get("content-encoding")) == (coded, coding.encode())
        [request] = origin.requests
        assert (request.body, request.get("content-encoding")) == (coded, coding.encode())
        assert (request.get("accept-encoding"), request.get("range")) == (b"br", b"bytes=0-9")
    assert sum(parts("one request")) == sum(parts("one response")) == len(coded)


@CODINGS
@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_filter_that_decodes_sees_and_changes_what_was_coded(
    decoding_client: Client, coding: str, size: int
) -> None:
    encode, decode = CODERS[coding]
    body = letters(size)
    coded = encode(body)
    with Origin(serve(lambda request: response(coded, f"Content-Encoding: {coding}"))) as origin:
        fields = via(origin), f"Content-Encoding: {coding}", "X-Plain: request upper, response tail"
        for _ in range(2):
            answer = decoding_client.ask(post("/", coded, *fields))
            assert (answer.get_all("content-encoding"), answer.framing) == ([coding.encode()], "chunked")
            assert decode(answer.body) == body + b"<end>"
            request = origin.requests[-1]
            assert (request.get_all("content-encoding"), request.framing) == ([coding.encode()], "chunked")
            assert decode(request.body) == body.upper()


def test_plain_bodies_pass_a_filter_that_decodes(decoding_client: Client) -> None:
    with Origin(serve(mirror)) as origin:
        answer = decoding_client.ask(
            post("/", b"hello", via(origin), "X-Plain: request upper, response tail")
        )
        assert (answer.body, answer.get("content-encoding")) == (b"HELLO<end>", None)


@pytest.mark.parametrize("field", ["x-gzip", "GZIP", "identity, gzip", "gzip, identity"])
def test_names_of_codings_are_understood(decoding_client: Client, field: str) -> None:
    with Origin(serve(response(gzip.compress(b"hello"), f"Content-Encoding: {field}"))) as origin:
        answer = decoding_client.ask(get("/", via(origin), "X-Plain: response upper"))
        assert answer.get("content-encoding") == field.encode()
        assert gzip.decompress(answer.body) == b"HELLO"


@pytest.mark.parametrize("lines", [["deflate, gzip"], ["deflate", "gzip"]])
def test_coding_upon_a_coding_is_undone_and_done_again(decoding_client: Client, lines: list[str]) -> None:
    fields = [f"Content-Encoding: {line}" for line in lines]
    with Origin(serve(response(gzip.compress(deflate(b"hello")), *fields))) as origin:
        answer = decoding_client.ask(get("/", via(origin), "X-Plain: response upper"))
        assert answer.get_all("content-encoding") == [line.encode() for line in lines]
        assert zlib.decompress(gzip.decompress(answer.body)) == b"HELLO"


def test_filters_around_one_that_decodes_see_the_coded_body(decoding_client: Client) -> None:
    with Origin(serve(response(gzip.compress(b"hello"), "Content-Encoding: gzip"))) as origin:
        fields = "X-Plain: response upper", "X-Two: response tell"
        answer = decoding_client.ask(get("/", via(origin), *fields))
        [*seen, end] = eval(answer.body)
        assert (gzip.decompress(b"".join(seen)), end) == (b"HELLO", b"")
        fields = "X-One: response drop", "X-Plain: response tell"
        assert decoding_client.ask(get("/", via(origin), *fields)).body != b""


def test_filters_of_both_kinds_are_passed_by_what_one_consumes(decoding_client: Client) -> None:
    with Origin(serve(response(b"hello"))) as origin:
        fields = "X-One: response first", "X-Plain: response upper", "X-Two: response tell"
        assert decoding_client.ask(get("/", via(origin), *fields)).body == b"hello[b'']"


def test_unknown_coding_of_a_request_is_415_before_anything_goes_upstream(decoding_client: Client) -> None:
    with Origin(serve(mirror)) as origin:
        answer = decoding_client.ask(post("/", b"hello", via(origin), "Content-Encoding: br"))
        assert answer.status == 415
        assert origin.connections == []


def test_unknown_coding_of_a_response_is_a_bad_gateway(decoding_proxy: Proxy, target: str) -> None:
    with Origin(serve(response(b"hello", "Content-Encoding: br"))) as origin:
        with Client(decoding_proxy.address) as client:
            answer = client.ask(get(target, via(origin)))
            assert (answer.status, answer.get("content-encoding")) == (555, None)
            assert b"hello" not in answer.body
        assert record_of(decoding_proxy, target)["answered_by"] == "filters"


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No Content")]
)
def test_unknown_coding_of_no_body_is_no_fault(decoding_client: Client, method: str, status: str) -> None:
    with Origin(serve(response_head("Content-Encoding: br", status=status))) as origin:
        answer = decoding_client.ask(get("/", via(origin), method=method), method)
        assert (answer.status, answer.get("content-encoding")) == (int(status[:3]), b"br")


@pytest.mark.parametrize("kept", [3, 15, -4])
def test_truncated_coding_of_a_request_is_a_400_and_no_clean_end(decoding_client: Client, kept: int) -> None:
    coded = gzip.compress(letters(3000) + bytes(range(256)) * 40)
    with Origin([expect_head(), expect_close()]) as origin:
        answer = decoding_client.ask(post("/", coded[:kept], via(origin), "Content-Encoding: gzip"))
        assert answer.status == 400
        for connection in origin.connections:
            assert not connection.received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("fault", ["cut", "garbage", "more"])
@CODINGS
def test_broken_coding_of_a_response_is_no_clean_end(
    decoding_client: Client, coding: str, fault: str
) -> None:
    coded = CODERS[coding][0](letters(3000))
    broken = {"cut": coded[:-3], "garbage": b"\x00" * 50, "more": coded + b"garbage"}[fault]
    with Origin(serve(response(broken, f"Content-Encoding: {coding}"))) as origin:
        decoding_client.send(get("/", via(origin), "X-Plain: response tail"))
        answer = decoding_client.read_response()
        assert not answer.is_complete or answer.status == 555
        assert b"<end>" not in answer.body


def test_bomb_in_bomb_is_refused(decoding_proxy: Proxy, decoding_client: Client) -> None:
    bomb = gzip.compress(gzip.compress(bytes(64 * MIB), 9), 9)
    before = decoding_proxy.rss()
    with Origin([expect_head(), expect_close()]) as origin:
        fields = via(origin), "Content-Encoding: gzip, gzip", "X-Plain: request drop"
        assert decoding_client.ask(post("/", bomb, *fields)).status == 413
    assert decoding_proxy.rss() - before < 8 * MIB


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ([], b"identity"),
        (["br, gzip;q=0.8"], b"gzip;q=0.8"),
        (["br", "deflate"], b"deflate"),
        (["zstd"], b"identity"),
    ],
)
def test_upstream_is_asked_for_what_can_be_decoded_and_all_of_it(
    decoding_client: Client, sent: list[str], asked: bytes
) -> None:
    with Origin(serve(mirror)) as origin:
        fields = [f"Accept-Encoding: {line}" for line in sent]
        decoding_client.ask(get("/", via(origin), *fields, "Range: bytes=2-3", 'If-Range: "x"'))
        [request] = origin.requests
        assert request.get_all("accept-encoding") == [asked]
        assert (request.get("range"), request.get("if-range")) == (None, None)


def test_events_in_gzip_flow_one_by_one_through_a_filter_that_decodes(decoding_client: Client) -> None:
    asked = [threading.Event() for _ in range(3)]
    coder = zlib.compressobj(wbits=31)
    head = response_head("Content-Type: text/event-stream", "Content-Encoding: gzip")
    script: list[Any] = [expect_request(), send(head)]
    for number, event in enumerate(asked):
        coded = coder.compress(b"data: %d\n\n" % number) + coder.flush(zlib.Z_SYNC_FLUSH)
        script += [wait(event), send(coded)]
    script.append(send(coder.flush()))
    with Origin(script) as origin:
        decoding_client.send(get("/", via(origin), "X-Plain: response upper"))
        answer = decoding_client.read_response_head()
        pieces, decoder = decoding_client.stream_body_of(answer), zlib.decompressobj(31)
        for number, event in enumerate(asked):
            event.set()
            received = b""
            while not received.endswith(b"\n\n"):
                received += decoder.decompress(next(pieces))
            assert received == b"DATA: %d\n\n" % number
        assert decoder.decompress(b"".join(pieces)) == b"" and decoder.eof


def test_long_body_in_gzip_passes_in_little_memory(decoding_proxy: Proxy, decoding_client: Client) -> None:
    body = letters(10 * MIB)
    coded = gzip.compress(body, 1)
    with Origin(serve(response(coded, "Content-Encoding: gzip"))) as origin:
        decoding_client.ask(get("/", via(origin), "X-Plain: response upper"))
        before = decoding_proxy.rss()
        answer = decoding_client.ask(get("/", via(origin), "X-Plain: response upper"))
        assert decoding_proxy.rss() - before < 4 * MIB
    assert gzip.decompress(answer.body) == body.upper()
