"""A client that leaves: its upstream exchange ends at once, and the log says 499."""

from __future__ import annotations

import socket
import threading

from tests.integration.kit import CHUNKED_HEAD, get, pattern, record_of, records_of, response_head, tell, via
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

WAITS_FOR_HEAD = [expect_request(), expect_close()]


def test_client_that_resets_while_waiting_for_the_head_cancels_the_exchange(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin(WAITS_FOR_HEAD) as origin:
        client.send(get(target, via(origin)))
        origin.wait_for_requests(1)
        client.reset()
        origin.wait_for_end()
        record = record_of(shared_proxy, target)
        assert (record["status"], record["bytes_out"], record["upstream"]) == (499, 0, origin.url)
        assert record["duration"] < 2.0


def test_client_that_closes_while_waiting_for_the_head_cancels_the_exchange(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin(WAITS_FOR_HEAD) as origin:
        client.send(get(target, via(origin)))
        origin.wait_for_requests(1)
        client.close()
        origin.wait_for_end()
    record = record_of(shared_proxy, target)
    assert record["status"] == 499
    assert record["duration"] < 3.0  # client_half_closed, half a second, has passed


def test_client_that_resets_during_the_body_cancels_the_exchange(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    script = [expect_request(), send(CHUNKED_HEAD), send_chunk(b"first"), expect_close()]
    with Origin(script) as origin:
        client.send(get(target, via(origin)))
        head = client.read_response_head()
        assert next(client.stream_body_of(head)) == b"first"
        client.reset()
        origin.wait_for_end()
    record = record_of(shared_proxy, target)
    assert record["status"] == 499
    assert record["bytes_out"] > 0


def test_client_that_resets_while_it_takes_nothing_of_a_body_cancels_the_exchange(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    """The proxy stands in a send then, not in a read."""
    stalled = threading.Event()

    def send_much(connection) -> None:
        connection.socket.settimeout(0.3)  # blocked for that long: every buffer on the way is full
        try:
            for piece in pattern(64 << 20):
                connection.socket.sendall(piece)
        except TimeoutError:
            stalled.set()

    script = [expect_request(), send(response_head(f"Content-Length: {64 << 20}")), send_much, expect_close()]
    with Origin(script) as origin:
        client.send(get(target, via(origin)))
        assert stalled.wait(20)
        client.reset()
        origin.wait_for_end()
    assert record_of(shared_proxy, target)["status"] == 499


def test_client_that_resets_during_its_upload_cancels_the_exchange(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    arrived = threading.Event()
    with Origin([expect_head(), expect_bytes(1000), tell(arrived), expect_close()]) as origin:
        client.send(get(target, via(origin), "Content-Length: 1000000", method="POST") + bytes(1000))
        assert arrived.wait(10)
        client.reset()
        origin.wait_for_end()
    record = record_of(shared_proxy, target)
    assert record["status"] == 499
    assert record["bytes_in"] > 1000


def test_client_that_closes_during_its_upload_cancels_the_exchange(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_head(), expect_bytes(1000), expect_close()]) as origin:
        head = get(target, via(origin), "Transfer-Encoding: chunked", method="POST")
        client.send(head + b"3e8\r\n" + bytes(1000) + b"\r\n")
        origin.wait_for_requests(1)
        client.close()
        connection = origin.wait_for_end()
    assert b"\r\n0\r\n" not in connection.received  # the upstream must not take it for the whole
    assert record_of(shared_proxy, target)["status"] == 499


def test_client_that_leaves_while_the_upstream_is_being_connected_cancels_the_exchange(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        filling = [socket.socket() for _ in range(2)]
        for sock in filling:  # the kernel answers no more SYNs when the backlog is full
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        client.send(get(target, f"X-Origin: http://127.0.0.1:{full.getsockname()[1]}"))
        assert client.is_silent()
        client.reset()
        record = record_of(shared_proxy, target)
        for sock in filling:
            sock.close()
    assert record["status"] == 499
    assert record["duration"] < 3.0  # connecting would go on for upstream_connect, 5 s


def test_half_closed_client_gets_the_answer_of_a_fast_upstream(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin(serve(OK)) as origin:
        client.send(get(target, via(origin)))
        client.half_close()
        answer = client.read_response()
        assert (answer.status, answer.body) == (200, b"ok")
        assert client.read_until_closed() == (b"", "eof")
    assert record_of(shared_proxy, target)["status"] == 200


def test_half_closed_client_gets_the_answers_to_all_it_has_pipelined(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin(serve(OK)) as origin:
        client.send(get(target, via(origin)) * 5)
        client.half_close()
        assert [client.read_response().status for _ in range(5)] == [200] * 5
        assert client.read_until_closed() == (b"", "eof")
    assert [record["status"] for record in records_of(shared_proxy, target, 5)] == [200] * 5


def test_client_that_leaves_a_pipeline_costs_no_other_client_its_answer(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin(WAITS_FOR_HEAD, serve(OK)) as origin:
        client.send(get(target, via(origin)) * 2)
        origin.wait_for_requests(1)
        with Client(shared_proxy.address) as other:
            assert other.ask(get(target + "-other", via(origin))).status == 200
        client.reset()
    assert record_of(shared_proxy, target + "-other")["status"] == 200


def test_connection_whose_client_left_after_the_upstream_had_finished_is_safe_for_the_next(
    shared_proxy: Proxy, target: str
) -> None:
    """The upstream's connection is on its boundary and may be kept; the first client's fate may not."""
    answer = CHUNKED_HEAD + b"ea60\r\n" + bytes(60000) + b"\r\n0\r\n\r\n"
    with Origin(serve(answer)) as origin:
        with Client(shared_proxy.address) as leaver:
            leaver.send(get(target, via(origin)) * 250)  # 15 MB of answers, which nobody takes
            _wait_until_quiet(origin)
            leaver.reset()
        with Client(shared_proxy.address) as other:
            for _ in range(3):
                assert other.ask(get(target + "-next", via(origin))).status == 200


def _wait_until_quiet(origin: Origin) -> None:
    """Wait until the proxy asks for nothing more: it is blocked in a send."""
    seen = -1
    while seen != len(origin.requests) or not seen:
        seen = len(origin.requests)
        threading.Event().wait(0.3)


def test_client_that_leaves_before_its_request_is_complete_leaves_no_line(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    client.send(get(target + "-partial")[:-2])
    client.half_close()
    assert client.read_until_closed() == (b"", "eof")
    with Client(shared_proxy.address) as other:
        other.ask(get(target))
    record_of(shared_proxy, target)
    assert not any(target + "-partial" in line for line in shared_proxy.access_log())


def test_upload_to_an_origin_that_hangs_is_cancelled_when_the_client_leaves(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin([expect_head(), hang()]) as origin:
        client.send(get(target, via(origin), "Content-Length: 10000", method="POST") + bytes(5000))
        origin.wait_for_requests(1)
        client.reset()
        assert record_of(shared_proxy, target)["status"] == 499
        origin.release()


def test_client_that_speaks_on_and_then_leaves_is_noticed_when_its_turn_comes(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    """Unread bytes hide the end that follows them; the answer must find it out, quietly."""
    go = threading.Event()
    with Origin([expect_request(), wait(go), send(OK), expect_close()]) as origin:
        client.send(get(target, via(origin)))
        origin.wait_for_requests(1)
        client.send(get(target + "-second", via(origin)))
        client.reset()
        go.set()
        assert record_of(shared_proxy, target)["status"] in (200, 499)
