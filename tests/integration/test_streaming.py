"""Responses on their way: unbuffered, in order, with all that stands around them."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

from tests.integration.kit import CHUNKED_HEAD, get, post, record_of, response, response_head, tell, via
from tests.support.origin import OK, Origin, expect_request, half_close, send, send_chunk, serve, wait
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

SSE_HEAD = ["Content-Type: text/event-stream", "Cache-Control: no-cache"]


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_events_arrive_one_by_one_while_the_origin_withholds_the_next(
    client: Client, target: str, framing: str
) -> None:
    """The origin sends an event only after the client has got the one before it."""
    got = [threading.Event() for _ in range(5)]
    head = response_head(*SSE_HEAD, *(["Transfer-Encoding: chunked"] if framing == "chunked" else []))
    events = [b"data: event %d\n\n" % number for number in range(5)]
    script = [expect_request(), send(head)]
    for event, arrived in zip(events, got, strict=True):
        script += [send_chunk(event) if framing == "chunked" else send(event), wait(arrived)]
    script += [send_chunk(b"")] if framing == "chunked" else []
    with Origin(script) as origin:
        client.send(get(target, via(origin)))
        answer = client.read_response_head()
        body = client.stream_body_of(answer)
        for event, arrived in zip(events, got, strict=True):
            assert next(body) == event
            arrived.set()
        assert list(body) == []
        assert answer.is_complete


def test_head_arrives_before_the_first_byte_of_the_body(client: Client, target: str) -> None:
    got = threading.Event()
    with Origin(
        [expect_request(), send(CHUNKED_HEAD), wait(got), send_chunk(b"late"), send_chunk(b"")]
    ) as origin:
        client.send(get(target, via(origin)))
        answer = client.read_response_head()
        got.set()
        client.read_body_of(answer)
        assert answer.body == b"late"


def test_part_of_a_body_of_known_length_arrives_before_the_rest(client: Client, target: str) -> None:
    got = threading.Event()
    script = [
        expect_request(),
        send(response_head("Content-Length: 2000000") + b"a"),
        wait(got),
        send(b"b" * 1999999),
    ]
    with Origin(script) as origin:
        client.send(get(target, via(origin)))
        answer = client.read_response_head()
        body = client.stream_body_of(answer)
        assert next(body) == b"a"
        got.set()
        assert sum(map(len, body)) == 1999999
        assert answer.is_complete


def test_demo_events_arrive_at_their_pace() -> None:
    """Three events, 0.2 s apart: none may wait for the next."""
    with running_proxy({"routing": {"upstream_hosts": "demo"}}) as proxy, Client(proxy.address) as client:
        client.send(get("/sse?count=3"))
        arrivals = [time.monotonic() for piece in client.stream_body_of(client.read_response_head()) if piece]
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert len(gaps) == 2
    assert all(0.1 < gap < 0.2 + 0.5 for gap in gaps)


def test_trailers_of_a_chunked_response_pass_less_the_forbidden_ones(client: Client, target: str) -> None:
    trailers = b"0\r\nX-Sum: 8\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\nServer-Timing: t\r\n\r\n"
    with Origin(serve(CHUNKED_HEAD + b"1\r\nx\r\n" + trailers)) as origin:
        answer = client.ask(get(target, via(origin), "TE: trailers"))
        assert (answer.body, answer.trailers) == (b"x", [b"X-Sum: 8", b"Server-Timing: t"])
        assert origin.requests[0].get("te") == b"trailers"
        assert client.ask(get(target, via(origin))).body == b"x"


def test_pipelined_requests_are_answered_in_order(shared_proxy: Proxy, client: Client, target: str) -> None:
    with Origin(serve(lambda request: response(request.target.encode() + request.body))) as origin:
        requests = b"".join(
            post(f"{target}-{number}", b"%d" % number, via(origin))
            if number % 3
            else get(f"{target}-{number}", via(origin))
            for number in range(30)
        )
        client.send(requests)
        bodies = [client.read_response().body.decode() for _ in range(30)]
    assert bodies == [f"{target}-{number}{number if number % 3 else ''}" for number in range(30)]


def test_pipelined_request_is_not_begun_before_the_one_before_it_is_answered(
    client: Client, target: str
) -> None:
    go = threading.Event()
    with Origin([expect_request(), wait(go), send(OK), *serve(OK)]) as origin:
        client.send(get(target, via(origin)) * 2)
        origin.wait_for_requests(1)
        assert client.is_silent()
        assert len(origin.requests) == 1
        go.set()
        assert [client.read_response().status for _ in range(2)] == [200, 200]


def test_request_that_arrives_byte_by_byte_is_served(client: Client, target: str) -> None:
    with Origin(serve(OK)) as origin:
        client.send_pieces(bytes([byte]) for byte in post(target, b"hello", via(origin)))
        assert client.read_response().status == 200
        assert origin.requests[0].body == b"hello"


def test_response_that_arrives_byte_by_byte_is_relayed(client: Client, target: str) -> None:
    answer = CHUNKED_HEAD + b"5\r\nhello\r\n3\r\n!!!\r\n0\r\n\r\n"
    with Origin([expect_request(), send(*(bytes([byte]) for byte in answer))]) as origin:
        assert client.ask(get(target, via(origin))).body == b"hello!!!"


def test_informational_responses_arrive_before_the_final_one_is_known(client: Client, target: str) -> None:
    go = threading.Event()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    with Origin([expect_request(), send(hints), wait(go), send(hints + OK)]) as origin:
        client.send(get(target, via(origin)))
        first = client.read_response()
        assert (first.status, first.get("link")) == (103, b"</a.css>; rel=preload")
        go.set()
        assert [client.read_response().status for _ in range(2)] == [103, 200]


def test_close_delimited_response_becomes_chunked_and_keeps_the_client(client: Client, target: str) -> None:
    with Origin([expect_request(), send(b"HTTP/1.0 200 OK\r\n\r\nall", b" of it")], serve(OK)) as origin:
        answer = client.ask(get(target, via(origin)))
        assert (answer.framing, answer.body, answer.get("connection")) == ("chunked", b"all of it", None)
        assert client.ask(get(target, via(origin))).status == 200


def test_close_delimited_response_that_is_reset_shows(client: Client, target: str) -> None:
    def reset_later(connection) -> None:
        connection.origin.wait_for_event(got)
        connection.reset()

    got = threading.Event()
    with Origin([expect_request(), send(b"HTTP/1.0 200 OK\r\n\r\nhalf"), reset_later]) as origin:
        client.send(get(target, via(origin)))
        answer = client.read_response_head()
        body = client.stream_body_of(answer)
        assert next(body) == b"half"
        got.set()
        assert list(body) == []
        assert not answer.is_complete


def test_http_1_0_client_gets_a_chunked_response_unchunked_until_close(client: Client, target: str) -> None:
    with Origin(serve(CHUNKED_HEAD + b"5\r\nhello\r\n0\r\n\r\n")) as origin:
        answer = client.ask(get(target, via(origin), "Connection: keep-alive", version="1.0"))
        assert (answer.framing, answer.body, answer.is_complete) == ("close", b"hello", True)


def test_http_1_0_client_that_asks_for_it_is_kept(client: Client, target: str) -> None:
    with Origin(serve(OK)) as origin:
        request = get(target, via(origin), "Connection: keep-alive", version="1.0")
        assert client.ask(request).get("connection") == b"keep-alive"
        assert client.ask(request).body == b"ok"


def test_responses_without_a_body_leave_the_connection_where_it_was(client: Client, target: str) -> None:
    answers = [
        response_head("Content-Length: 5"),
        response_head("Content-Length: 5", status="304 Not Modified"),
        response_head(status="204 No Content"),
        OK,
    ]
    with Origin(serve(*answers)) as origin:
        head = client.ask(get(target, via(origin), method="HEAD"), "HEAD")
        assert (head.status, head.get("content-length")) == (200, b"5")
        assert client.ask(get(target, via(origin))).get("content-length") == b"5"
        assert client.ask(get(target, via(origin))).get("content-length") is None
        assert client.ask(get(target, via(origin))).body == b"ok"
        assert len(origin.connections) == 1


def test_slow_reader_of_a_large_response_gets_it_whole(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    body = b"".join(b"%08d" % number for number in range(1 << 20))
    with Origin(serve(response(body))) as origin:
        client.send(get(target, via(origin)))
        answer = client.read_response_head()
        received = b""
        for piece in client.stream_body_of(answer):
            received += piece
            if len(received) < 40 * 65536:
                time.sleep(0.005)
        assert received == body
    record = record_of(shared_proxy, target)
    assert record["bytes_out"] > len(body)


def test_record_counts_what_was_sent_of_a_large_response_that_was_cut_off(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    """Large bodies take a road of their own through the proxy."""
    script = [expect_request(), send(response_head("Content-Length: 90000000"), bytes(3 << 20)), half_close()]
    with Origin(script) as origin:
        client.send(get(target, via(origin)))
        answer = client.read_response()
        assert not answer.is_complete
    assert record_of(shared_proxy, target)["bytes_out"] >= 3 << 20


def test_answer_that_is_complete_is_sent_on_although_the_server_keeps_the_connection(
    client: Client, target: str
) -> None:
    done = threading.Event()
    with Origin([expect_request(), send(OK), wait(done), tell(done)]) as origin:
        assert client.ask(get(target, via(origin))).body == b"ok"
        done.set()
