"""Bodies that pass filters and end early, or wait for who does not read."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.compat.proxies import MIB, Log, Parts, mirror
from tests.integration.kit import CHUNKED_HEAD, InThread, get, post, record_of, response, response_head, via
from tests.support.origin import (
    Origin,
    OriginConnection,
    expect_close,
    expect_head,
    expect_request,
    reset,
    send,
    send_chunk,
    serve,
    wait,
)
from tests.support.proxy import Proxy
from tests.support.wire import Client


@pytest.fixture
def proxy(treating_proxy: Proxy) -> Proxy:
    return treating_proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address) as client:
        yield client


# --- ends that come early


@pytest.fixture(autouse=True)
def no_traceback(new_log: Log) -> Iterator[None]:
    """None of these ends is anybody's mistake."""
    yield
    assert "Traceback" not in new_log()


def test_early_answer_of_the_upstream_ends_a_filtered_upload(
    proxy: Proxy, client: Client, target: str
) -> None:
    refusal = response(b"too much", "Connection: close", status="413 Content Too Large")
    seen = threading.Event()
    with Origin([expect_head(), send(refusal), wait(seen), expect_close()]) as origin:
        fields = via(origin), "Transfer-Encoding: chunked", "X-One: request upper"
        client.send(get(target, *fields, method="POST") + b"5\r\nbegin\r\n")
        answer = client.read_final_response()
        seen.set()
        assert (answer.status, answer.body, answer.get("connection")) == (413, b"too much", b"close")
        client.half_close()
        assert client.read_until_closed() == (b"", "eof")
        origin.wait_for_end()
    assert record_of(proxy, target)["status"] == 413


def test_client_that_leaves_in_the_middle_of_its_body_takes_the_upstream_with_it(
    proxy: Proxy, target: str
) -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        with Client(proxy.address) as client:
            fields = via(origin), "Transfer-Encoding: chunked", "X-One: request upper"
            client.send(get(target, *fields, method="POST") + b"5\r\nbegin\r\n")
            origin.wait_for_requests(1)
            client.reset()
        assert not origin.wait_for_end().received.endswith(b"0\r\n\r\n")
    assert record_of(proxy, target)["status"] == 499


def test_client_that_leaves_before_the_first_part_reaches_no_upstream(proxy: Proxy, target: str) -> None:
    with Origin(serve(mirror)) as origin:
        with Client(proxy.address) as client:
            client.send(get(target, via(origin), "Transfer-Encoding: chunked", method="POST"))
            assert client.is_silent()
            client.reset()
        assert record_of(proxy, target)["status"] == 499
        assert origin.connections == []


def test_client_that_leaves_in_the_middle_of_its_answer_takes_the_upstream_with_it(
    proxy: Proxy, target: str
) -> None:
    with Origin([expect_request(), send(CHUNKED_HEAD), send_chunk(b"begin"), expect_close()]) as origin:
        with Client(proxy.address) as client:
            client.send(get(target, via(origin), "X-One: response upper"))
            head = client.read_response_head()
            assert next(client.stream_body_of(head)) == b"BEGIN"
            client.reset()
        origin.wait_for_end()
    assert record_of(proxy, target)["status"] == 499


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_truncated_body_of_the_upstream_is_no_clean_end(client: Client, parts: Parts, framing: str) -> None:
    begin = b"5\r\nbegin\r\n" if "chunked" in framing else b"begin"
    go_on = threading.Event()
    with Origin([expect_request(), send(response_head(framing), begin), wait(go_on), reset()]) as origin:
        client.send(get("/", via(origin), "X-One: response upper", "X-Two: response tail"))
        answer = client.read_response_head()
        body = client.stream_body_of(answer)
        assert next(body) == b"BEGIN"
        go_on.set()
        assert b"".join(body) == b"" and answer.ended != "boundary"
    assert parts("one response") == [5]  # no end: there was none


def test_body_of_the_client_that_is_no_chunked_one_never_ends_cleanly(client: Client, parts: Parts) -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        fields = via(origin), "Transfer-Encoding: chunked", "X-One: request tail"
        client.send(get("/", *fields, method="POST") + b"5\r\nbegin\r\n")
        origin.wait_for_requests(1)
        client.send(b"nonsense\r\n")
        assert client.read_final_response().status == 400
        assert b"<end>" not in origin.wait_for_end().received
    assert parts("one request") == [5]


# --- memory


@pytest.mark.parametrize("treatment", ["", "upper"])
def test_response_to_a_client_that_does_not_read_waits_upstream(
    proxy: Proxy, client: Client, treatment: str
) -> None:
    size = 64 * MIB
    stalled = threading.Event()

    def flood(connection: OriginConnection) -> None:
        connection.send(response_head(f"Content-Length: {size}"))
        sent = _send_until_it_stalls(connection, size, stalled)
        connection.send(bytes(size - sent))

    with Client(proxy.address) as warm_up, Origin(serve(response(bytes(MIB)))) as origin:
        warm_up.ask(get("/", via(origin), "X-One: response upper"))
    before = proxy.rss()
    with Origin([expect_request(), flood], keep=False, timeout=30) as origin:
        client.keep = False
        client.send(get("/", via(origin), f"X-One: response {treatment}" if treatment else "X-None: 1"))
        head = client.read_response_head()
        assert stalled.wait(30)
        assert proxy.rss() - before < 4 * MIB
        assert sum(len(piece) for piece in client.stream_body_of(head)) == size
    assert proxy.rss() - before < 4 * MIB


def test_upload_to_an_upstream_that_does_not_read_waits_at_the_client(proxy: Proxy, client: Client) -> None:
    size = 64 * MIB
    read_on, stalled = threading.Event(), threading.Event()

    def read_all(connection: OriginConnection) -> None:
        received = sum(len(piece) for piece in connection.stream_body_of(connection.requests[0]))
        assert received == size
        connection.send(response(b"ok"))

    with Client(proxy.address) as warm_up, Origin(serve(mirror)) as origin:
        warm_up.ask(post("/", bytes(MIB), via(origin), "X-One: request upper"))
    before = proxy.rss()
    with Origin([expect_head(), wait(read_on), read_all], keep=False, timeout=30) as origin:
        fields = via(origin), f"Content-Length: {size}", "X-One: request upper"
        client.send(get("/", *fields, method="POST"))
        rest = size - _send_until_it_stalls(client, size, stalled)
        assert stalled.is_set()
        assert proxy.rss() - before < 4 * MIB
        upload = InThread(client.send, bytes(rest))
        read_on.set()
        upload.result()
        assert client.read_final_response().body == b"ok"
    assert proxy.rss() - before < 4 * MIB


def _send_until_it_stalls(wire: Client | OriginConnection, size: int, stalled: threading.Event) -> int:
    """Send zeros until nobody has taken any for a while; returns how many were sent."""
    wire.socket.settimeout(0.5)
    sent = 0
    try:
        while sent < size:
            sent += wire.socket.send(bytes(min(MIB, size - sent)))
    except TimeoutError:
        stalled.set()
    return sent
