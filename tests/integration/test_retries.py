"""What is sent again, where to, and what is not."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.integration.kit import CHUNKED_HEAD, get, post, record_of, records_of, response_head, via
from tests.support.origin import (
    OK,
    Origin,
    Script,
    expect_head,
    expect_request,
    reset,
    send,
    send_chunk,
    serve,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

# Answers one request; the next on the same connection finds it closed only after it was sent.
STALE: Script = [expect_request(), send(OK), expect_request(), reset()]


@contextmanager
def refusing_port() -> Iterator[str]:
    """The URL of a port that nobody listens on, and that nobody else gets meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "QUERY"])
def test_reused_connection_reset_before_response_retries_what_is_idempotent(
    shared_proxy: Proxy, client: Client, target: str, method: str
) -> None:
    with Origin(STALE, serve(OK)) as origin:
        assert client.ask(get(target + "-first", via(origin))).status == 200
        assert client.ask(get(target, via(origin), method=method), method).status == 200
        assert len(origin.connections) == 2
        assert [request.target for request in origin.requests] == [target + "-first", target, target]
    assert record_of(shared_proxy, target)["retries"] == 1


def test_reused_connection_reset_before_response_retries_put_with_a_small_body(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin(STALE, serve(OK)) as origin:
        client.ask(get(target + "-first", via(origin)))
        assert client.ask(post(target, b"all of it", via(origin), method="PUT")).status == 200
        assert [request.body for request in origin.requests] == [b"", b"all of it", b"all of it"]
    assert record_of(shared_proxy, target)["retries"] == 1


def test_reused_connection_reset_before_response_does_not_retry_post(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with Origin(STALE, serve(OK)) as origin:
        client.ask(get(target + "-first", via(origin)))
        answer = client.ask(post(target, b"pay", via(origin)))
        assert answer.status == 502
        assert answer.get("proxy-status") == b"pyrox; error=connection_terminated"
        assert [request.target for request in origin.requests] == [target + "-first", target]
    assert record_of(shared_proxy, target)["retries"] == 0


def test_reused_connection_reset_does_not_retry_put_whose_body_is_on_its_way(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    script = [expect_request(), send(OK), expect_head(), reset()]
    with Origin(script, serve(OK)) as origin:
        client.ask(get(target + "-first", via(origin)))
        client.send(get(target, via(origin), "Content-Length: 10", method="PUT") + b"half")
        assert client.read_response().status == 502
        assert len(origin.requests) == 2


def test_fresh_connection_reset_before_response_is_not_retried(client: Client, target: str) -> None:
    with Origin([expect_request(), reset()], serve(OK)) as origin:
        assert client.ask(get(target, via(origin))).status == 502
        assert len(origin.requests) == 1


def test_connection_reset_in_the_middle_of_a_head_is_not_retried(client: Client, target: str) -> None:
    script = [expect_request(), send(OK), expect_request(), send(OK[:10]), reset()]
    with Origin(script, serve(OK)) as origin:
        client.ask(get(target, via(origin)))
        assert client.ask(get(target, via(origin))).status == 502
        assert len(origin.requests) == 2


def test_connection_reset_after_an_informational_response_is_not_retried(client: Client, target: str) -> None:
    script = [
        expect_request(),
        send(OK),
        expect_request(),
        send(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        reset(),
    ]
    with Origin(script, serve(OK)) as origin:
        client.ask(get(target, via(origin)))
        client.send(get(target, via(origin)))
        assert client.read_response().status == 103
        assert client.read_response().status == 502
        assert len(origin.requests) == 2


@pytest.mark.parametrize(
    "head", [response_head("Content-Length: 10"), CHUNKED_HEAD], ids=["length", "chunked"]
)
def test_connection_reset_in_the_middle_of_a_body_is_not_retried_and_shows(
    shared_proxy: Proxy, client: Client, target: str, head: bytes
) -> None:
    with Origin([expect_request(), send(head), send_chunk(b"half"), reset()], serve(OK)) as origin:
        client.send(get(target, via(origin)))
        answer = client.read_response()
        assert (answer.status, answer.is_complete) == (200, False)
        assert len(origin.requests) == 1
    record = record_of(shared_proxy, target)
    assert (record["status"], record["retries"]) == (200, 0)
    assert record["error"] == "connection_terminated"


@pytest.mark.parametrize(
    "request_of",
    [
        lambda origin, target: get(target, via(origin)),
        lambda origin, target: post(target, b"x", via(origin)),
    ],
)
def test_upstream_that_closes_idle_connections_costs_nobody_an_answer(
    shared_proxy: Proxy, client: Client, target: str, request_of: Callable[[Origin, str], bytes]
) -> None:
    """No pause for the proxy to notice in: it asks before it sends what it could not send again."""
    with Origin([expect_request(), send(OK)]) as origin:
        for number in range(20):
            assert client.ask(request_of(origin, target)).status == 200
            origin.wait_for_end(number)
    assert {record["status"] for record in records_of(shared_proxy, target, 20)} == {200}


def test_refused_connect_is_tried_on_the_second_server_whatever_the_method() -> None:
    """Round robin begins with the one that refuses every other time, so each request meets it."""
    with refusing_port() as closed, Origin(serve(OK)) as origin:
        config = {"routing": {"upstream_hosts": [closed, origin.url]}}
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            for request in (get("/"), post("/", b"pay"), get("/", method="DELETE")):
                assert [client.ask(request).status for _ in range(2)] == [200, 200]
            body = bytes(range(256)) * 4096
            assert [client.ask(post("/", body)).status for _ in range(2)] == [200, 200]
            assert len(origin.requests) == 8
            assert [request.body == body for request in origin.requests[6:]] == [True, True]


def test_refused_connect_of_the_only_server_is_a_502(
    shared_proxy: Proxy, client: Client, target: str
) -> None:
    with refusing_port() as closed:
        answer = client.ask(post(target, b"pay", f"X-Origin: {closed}"))
        assert answer.status == 502
        assert answer.get("proxy-status") == b"pyrox; error=connection_refused"
        assert client.ask(get(target, f"X-Origin: {closed}")).status == 502  # on the same connection
    assert [record["error"] for record in records_of(shared_proxy, target, 2)] == ["connection_refused"] * 2


def test_every_server_refusing_is_a_502_that_says_so(target: str) -> None:
    with refusing_port() as one, refusing_port() as two:
        config = {"routing": {"upstream_hosts": [one, two]}, "logging": {"access_log_format": "json"}}
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            answer = client.ask(get(target))
            assert answer.status == 502
            assert answer.get("proxy-status") == b"pyrox; error=connection_refused"
            assert record_of(proxy, target)["retries"] == 1


def test_retry_that_fails_too_gives_the_client_one_answer(client: Client, target: str) -> None:
    with Origin(STALE, [expect_request(), reset()]) as origin:
        client.ask(get(target, via(origin)))
        assert client.ask(get(target, via(origin))).status == 502
        assert len(origin.connections) == 2


def test_garbage_sent_on_an_idle_connection_never_becomes_an_answer(client: Client, target: str) -> None:
    script = [expect_request(), send(OK), send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")]
    with Origin(script, serve(OK)) as origin:
        assert client.ask(get(target, via(origin))).body == b"ok"
        origin.wait_for_end()
        assert client.ask(get(target, via(origin))).body == b"ok"
        assert len(origin.connections) == 2


def test_bytes_beyond_the_response_poison_its_connection(client: Client, target: str) -> None:
    script = [
        expect_request(),
        send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"),
        expect_request(),
    ]
    with Origin(script, serve(OK)) as origin:
        assert client.ask(get(target, via(origin))).body == b"ok"
        assert client.ask(get(target, via(origin))).body == b"ok"
        assert len(origin.connections) == 2


def test_truncated_head_is_a_502(client: Client, target: str) -> None:
    with Origin([expect_request(), send(b"HTTP/1.1 200 OK\r\nContent-Le")]) as origin:
        assert client.ask(get(target, via(origin))).status == 502


def test_clean_end_before_the_length_is_reached_shows_to_the_client(client: Client, target: str) -> None:
    with Origin([expect_request(), send(response_head("Content-Length: 10"), b"half")]) as origin:
        client.send(get(target, via(origin)))
        assert not client.read_response().is_complete
        with pytest.raises(PeerClosed):
            client.read_response()


def test_server_that_refuses_is_named_in_the_access_log(target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    config = {"routing": {"upstream_hosts": url}, "logging": {"access_log_format": "json"}}
    with running_proxy(config) as proxy, Client(proxy.address) as client:
        assert client.ask(get(target)).status == 502
        assert record_of(proxy, target)["upstream"] == url
