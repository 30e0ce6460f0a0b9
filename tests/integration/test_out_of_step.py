"""Client, proxy and upstream agree where each message ends, whatever a middleware or a peer does to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import (
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
from tests.support.origin import OK, Origin, expect_close, expect_head, expect_request, send, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

STACK = {
    "census": "routing.Census",
    "method": "out_of_step.ChangesMethod",
    "peeks": "out_of_step.Peeks",
    "times_out": "out_of_step.TimesOut",
    "large": "out_of_step.Large",
    "unsendable": "out_of_step.Unsendable",
    "by_field": "routing.RouteByField",
}
CONFIG: Config = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"access_log_format": "json", "verbosity": "INFO"},
    "middleware": {"stack": list(STACK), **{name: {"class": path} for name, path in STACK.items()}},
    "timeouts": {"client_write": 0.5, "linger": 0.5, "upstream_first_byte": 0.5},
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy:
        with nothing_left_behind(proxy):
            yield proxy


# --- what a middleware changes


def test_head_that_a_middleware_makes_a_get_is_answered_without_a_body(client: Client) -> None:
    """A body after the answer to HEAD would be the client's next response."""
    with Origin(serve(response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))) as origin:
        answer = client.ask(get("/method/GET", via(origin), method="HEAD"), "HEAD")
        assert (origin.requests[0].method, answer.get("content-length")) == ("GET", b"38")
        assert client.ask(get("/other", via(origin))).body.startswith(b"HTTP/1.1")
        assert client.unread == b""


@pytest.mark.parametrize("size", [20, 500_000])
def test_get_that_a_middleware_makes_a_head_is_answered_whole(client: Client, size: int) -> None:
    with Origin(serve(response_head(f"Content-Length: {size}"), OK)) as origin:
        answer = client.ask(get("/method/HEAD", via(origin)))
        assert (origin.requests[0].method, answer.is_complete, answer.body) == ("HEAD", True, b"")
        assert client.ask(get("/other", via(origin))).body == b"ok"


def test_response_whose_body_a_middleware_read_in_part_is_framed_by_what_is_left(client: Client) -> None:
    body = b"".join(pattern(700_000))
    with Origin(serve(response(body), OK)) as origin:
        answer = client.ask(get("/peeks/response", via(origin)))
        assert answer.is_complete
        assert 0 < len(answer.body) < len(body)
        assert body.endswith(answer.body)
        assert client.ask(get("/other", via(origin))).body == b"ok"


def test_request_whose_body_a_middleware_read_in_part_is_framed_by_what_is_left(client: Client) -> None:
    body = b"".join(pattern(700_000))
    with Origin(serve(OK)) as origin:
        assert client.ask(post("/peeks/request", body, via(origin))).status == 200
        [request] = origin.requests
        assert 0 < len(request.body) < len(body)
        assert body.endswith(request.body)


# --- what cannot be sent, or not in time


def test_timeout_that_a_middleware_does_not_catch_is_a_500(
    proxy: Proxy, client: Client, expected_tracebacks: None
) -> None:
    with Origin([expect_request(), expect_close()], serve(OK)) as origin:
        assert client.ask(get("/times-out", via(origin))).status == 500
        assert client.ask(get("/other", via(origin))).body == b"ok"
    assert record_of(proxy, "/times-out")["status"] == 500


def test_timeout_in_a_body_on_its_way_upstream_is_a_500(client: Client, expected_tracebacks: None) -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        assert client.ask(get("/times-out/body", via(origin))).status == 500


def test_timeout_in_the_body_of_a_response_shows(
    proxy: Proxy, client: Client, expected_tracebacks: None
) -> None:
    assert not client.ask(get("/times-out/response")).is_complete
    assert record_of(proxy, "/times-out/response")["error"] == "proxy_internal_error"


def test_client_that_does_not_take_an_answer_in_time_gets_no_second_one(proxy: Proxy, client: Client) -> None:
    client.send(get("/large"))
    record = record_of(proxy, "/large")
    assert (record["status"], record["error"]) == (200, "connection_write_timeout")
    sent, _ = client.read_until_closed()
    assert sent.count(b"HTTP/1.1") == 1


def test_exchange_timeout_while_an_answer_goes_out_is_logged_once(target: str) -> None:
    config = {**CONFIG, "timeouts": {"exchange": 0.5}}
    with running_proxy(config, python_path=[PLUGINS]) as proxy, Client(proxy.address) as client:
        client.send(get("/large"))
        assert record_of(proxy, "/large")["error"] == "http_response_timeout"
        assert proxy.error_log().count("took too long") == 1


def test_response_that_cannot_be_encoded_is_a_500(
    proxy: Proxy, client: Client, expected_tracebacks: None
) -> None:
    assert client.ask(get("/unsendable/headers")).status == 500
    assert client.ask(get("/unsendable/headers")).status == 500  # the client is kept


def test_upgrade_that_would_split_the_request_is_a_500(client: Client, expected_tracebacks: None) -> None:
    with Origin(serve(OK)) as origin:
        assert client.ask(get("/unsendable/upgrade", via(origin))).status == 500
        assert origin.requests == []


# --- what a peer does


def test_switch_before_the_end_of_the_request_is_a_502(client: Client, target: str) -> None:
    """RFC 9110 7.8: a protocol cannot be changed in the middle of a message."""
    switch = response_head("Connection: Upgrade", "Upgrade: talk", status="101 Switching Protocols")
    with Origin([expect_head(), send(switch), expect_close()]) as origin:
        fields = ("Connection: Upgrade", "Upgrade: talk", "Transfer-Encoding: chunked", via(origin))
        client.send(get(target, *fields, method="POST"))
        assert client.read_final_response().status == 502
        origin.wait_for_end()


def test_connection_whose_close_ended_a_response_is_not_offered_to_the_next_request(
    proxy: Proxy, client: Client, target: str
) -> None:
    """The second request is there already, so the pool is asked before the loop can tell it of the close."""
    with Origin([expect_request(), send(response_head() + b"to the end")], serve(OK)) as origin:
        client.send(get("/first", via(origin)) + get(target, via(origin)))
        assert [client.read_response().body for _ in range(2)] == [b"to the end", b"ok"]
    assert record_of(proxy, target)["retries"] == 0
