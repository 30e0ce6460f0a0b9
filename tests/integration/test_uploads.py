"""Request bodies on their way: answers that come early, origins that do not read, Expect."""

from __future__ import annotations

import threading

import pytest

from tests.integration.kit import (
    CHUNKED_HEAD,
    InThread,
    get,
    pattern,
    post,
    record_of,
    response,
    tell,
    via,
)
from tests.support.messages import WireResponse
from tests.support.origin import (
    OK,
    Origin,
    expect_bytes,
    expect_close,
    expect_head,
    expect_request,
    hang,
    send,
    send_chunk,
    serve,
    wait,
)
from tests.support.proxy import Proxy
from tests.support.wire import Client

MIB = 1 << 20


def ask_with_upload(client: Client, head: bytes, size: int) -> WireResponse:
    """Behave as a simple client: send everything and only then read; a reset on the way is a failure."""
    client.send(head)
    client.send_pieces(pattern(size))
    answer = client.read_final_response()
    client.half_close()
    assert client.read_until_closed() == (b"", "eof")
    return answer


@pytest.mark.parametrize("status", ["413 Content Too Large", "401 Unauthorized"])
def test_early_final_answer_reaches_a_client_that_still_sends(
    shared_proxy: Proxy, client: Client, target: str, status: str
) -> None:
    with Origin([expect_head(), expect_bytes(10), send(response(b"no", status=status)), hang()]) as origin:
        client.send(get(target, via(origin), f"Content-Length: {10 * MIB}", method="POST") + bytes(10))
        answer = client.read_response()
        assert (answer.start_line[9:].decode(), answer.body) == (status, b"no")
        assert answer.get("connection") == b"close"
        origin.release()
    record = record_of(shared_proxy, target)
    assert (str(record["status"]), record["error"]) == (status[:3], None)


def test_early_final_answer_reaches_a_client_that_sends_all_before_it_reads(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    script = [expect_head(), expect_bytes(10), send(response(b"no", status="413 Content Too Large"))]
    with Origin(script) as origin:
        head = get(target, via(origin), f"Content-Length: {10 * MIB}", method="POST")
        answer = ask_with_upload(client, head, 10 * MIB)
        assert (answer.status, answer.body) == (413, b"no")
    assert record_of(shared_proxy, target)["status"] == 413


def test_early_answer_stops_the_upload_and_closes_both_connections(client: Client, target: str) -> None:
    answered = threading.Event()
    script = [expect_head(), send(response(b"no", status="401 Unauthorized")), tell(answered), expect_close()]
    with Origin(script, serve(OK)) as origin:
        client.send(get(target, via(origin), "Content-Length: 1000", method="POST") + bytes(10))
        assert client.read_response().status == 401
        assert origin.wait_for_end().ended == "script"
        assert client.read_until_closed()[0] == b""


def test_answer_that_begins_before_the_upload_ends_streams_beside_it(client: Client, target: str) -> None:
    """An origin that echoes: each piece comes back while the next has not been sent."""

    def echo(connection) -> None:
        for _ in range(5):
            connection.send(b"4\r\n" + connection.read_exactly(4) + b"\r\n")

    script = [expect_head(), send(CHUNKED_HEAD), echo, send_chunk(b"")]
    with Origin(script) as origin:
        client.send(get(target, via(origin), "Content-Length: 20", method="POST"))
        head = client.read_response_head()
        body = client.stream_body_of(head)
        for number in range(5):
            client.send(b"%04d" % number)
            assert next(body) == b"%04d" % number
        assert list(body) == []
        assert head.is_complete


def test_upload_that_is_slower_than_its_answer_is_cut_with_the_answer_whole(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_head(), send(response(bytes(3 * MIB))), expect_close()]) as origin:
        client.send(get(target, via(origin), f"Content-Length: {MIB}", method="POST") + bytes(100))
        answer = client.read_response()
        assert (answer.is_complete, len(answer.body)) == (True, 3 * MIB)
        assert origin.wait_for_end().ended == "script"


def test_origin_that_never_reads_holds_the_client_back_and_costs_no_memory(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    go = threading.Event()
    before = shared_proxy.rss()
    script = [
        expect_head(),
        wait(go),
        send(response(b"enough", status="413 Content Too Large")),
        expect_close(),
    ]
    with Origin(script, keep=False) as origin:
        client.send(get(target, via(origin), f"Content-Length: {256 * MIB}", method="POST"))
        sent = _send_until_it_blocks(client, 256 * MIB)
        grown = shared_proxy.rss() - before
        go.set()
        assert client.read_response().status == 413
    assert sent < 64 * MIB  # the kernel's buffers on both sides, and little more
    assert grown < 4 * MIB


def _send_until_it_blocks(client: Client, size: int) -> int:
    client.socket.settimeout(0.5)
    sent = 0
    try:
        for piece in pattern(size):
            sent += client.socket.send(piece)
    except TimeoutError:
        return sent
    raise AssertionError(f"{size} bytes were taken although nobody reads them")


def test_small_unread_body_of_an_early_answer_leaves_the_connection_usable(
    client: Client, target: str
) -> None:
    """OPTIONS with Max-Forwards: 0 is answered by the proxy itself."""
    request = get(target, "Max-Forwards: 0", "Content-Length: 30000", method="OPTIONS")
    client.send(request)
    client.send(bytes(30000))
    answer = client.read_response()
    assert (answer.status, answer.get("connection")) == (204, None)
    assert client.ask(get(target, "X-Origin: http://127.0.0.1:1")).status == 502


@pytest.mark.parametrize("framing", [f"Content-Length: {10 * MIB}", "Transfer-Encoding: chunked"])
def test_answer_made_before_a_large_body_reaches_a_client_that_sends_all_first(
    shared_proxy: Proxy, client: Client, target: str, framing: str
) -> None:
    head = get(target, "Max-Forwards: 0", framing, method="OPTIONS")
    if "chunked" in framing:
        head += b"%x\r\n" % (10 * MIB)
    answer = ask_with_upload(client, head, 10 * MIB)
    assert (answer.status, answer.get("connection")) == (204, b"close")


def test_large_upload_comes_through_unchanged(shared_proxy: Proxy, client: Client, target: str) -> None:
    body = b"".join(pattern(5 * MIB + 17))
    with Origin(serve(OK)) as origin:
        assert client.ask(post(target, body, via(origin))).status == 200
        [request] = origin.wait_for_requests(1)
        assert (request.framing, request.body == body) == ("length", True)
        assert client.ask(get(target, via(origin))).status == 200  # both connections live on
        assert len(origin.connections) == 1


def test_chunked_upload_is_framed_anew_with_its_trailers(client: Client, target: str) -> None:
    with Origin(serve(OK)) as origin:
        head = get(target, via(origin), "Transfer-Encoding: chunked", "Trailer: X-Sum", method="PUT")
        client.send_pieces([head, b"3;a=b\r\nab", b"c\r\n0005\r\nd", b"efgh\r\n0\r\nX-Sum: 8\r\n", b"\r\n"])
        assert client.read_response().status == 200
        [request] = origin.requests
        assert (request.framing, request.body, request.trailers) == ("chunked", b"abcdefgh", [b"X-Sum: 8"])


def test_malformed_chunk_in_the_middle_of_an_upload_is_a_400_and_no_clean_end(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_head(), expect_bytes(8), expect_close()]) as origin:
        client.send(get(target, via(origin), "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n")
        origin.wait_for_requests(1)
        client.send(b"zz\r\n")
        assert client.read_response().status == 400
        received = origin.wait_for_end().received
    assert b"abc" in received
    assert not received.endswith(b"0\r\n\r\n")
    assert record_of(shared_proxy, target)["status"] == 400


def test_expect_100_continue_goes_upstream_and_its_100_comes_back(client: Client, target: str) -> None:
    script = [expect_head(), send(b"HTTP/1.1 100 Continue\r\n\r\n"), expect_bytes(5), send(OK), hang()]
    with Origin(script) as origin:
        client.send(get(target, via(origin), "Content-Length: 5", "Expect: 100-continue", method="POST"))
        assert client.read_response().status == 100
        assert origin.requests[0].get("expect") == b"100-continue"
        client.send(b"hello")
        assert client.read_response().body == b"ok"
        assert origin.connections[0].received.endswith(b"\r\n\r\nhello")
        assert client.ask(get(target, "X-Origin: http://127.0.0.1:1")).status == 502  # it lives on
        origin.release()


def test_expect_100_continue_is_answered_by_nobody_but_the_upstream(client: Client, target: str) -> None:
    go = threading.Event()
    script = [expect_head(), wait(go), send(response(b"no", status="417 Expectation Failed")), hang()]
    with Origin(script) as origin:
        client.send(get(target, via(origin), "Content-Length: 5", "Expect: 100-continue", method="POST"))
        origin.wait_for_requests(1)
        assert client.is_silent()
        go.set()
        answer = client.read_response()
        assert (answer.status, answer.get("connection")) == (417, b"close")
        origin.release()


def test_client_that_does_not_wait_for_its_100_is_served(client: Client, target: str) -> None:
    script = [expect_request(), send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), hang()]
    with Origin(script) as origin:
        client.send(post(target, b"hello", via(origin), "Expect: 100-continue"))
        assert client.read_final_response().status == 200
        origin.release()


def test_http_1_0_client_gets_no_informational_response(client: Client, target: str) -> None:
    script = [expect_request(), send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\n" + OK)]
    with Origin(script) as origin:
        assert client.ask(get(target, via(origin), version="1.0")).status == 200
        assert client.received.count(b"HTTP/1.1") == 1


def test_two_uploads_beside_each_other_do_not_wait_for_one_another(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_head(), hang()], serve(OK)) as origin:
        client.send(get(target, via(origin), f"Content-Length: {MIB}", method="POST") + bytes(1000))
        origin.wait_for_requests(1)
        with Client(shared_proxy.address) as other:
            done = InThread(other.ask, post(target, bytes(MIB), via(origin)))
            assert done.result(10).status == 200
        origin.release()
