"""Middleware as users write it, good and bad, in a running proxy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import (
    CHUNKED_HEAD,
    census,
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
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

MIB = 1 << 20
STACK = {
    "census": "routing.Census",
    "raises": "scenarios.Raises",
    "refuses": "scenarios.RaisesHTTPError",
    "none": "scenarios.ReturnsNone",
    "sleeps": "scenarios.Sleeps",
    "early": "scenarios.AnswersEarly",
    "replaces": "scenarios.Replaces",
    "filtered": "scenarios.Filters",
    "fails": "scenarios.FailsInBody",
    "notes": "scenarios.Notes",
    "local": "scenarios.AnswersLocally",
    "again": "scenarios.AsksTwice",
    "others": "scenarios.AsksOthers",
    "by_field": "routing.RouteByField",
}


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which the ``notes`` middleware counts callbacks."""
    return tmp_path_factory.mktemp("notes") / "notes.txt"


@pytest.fixture(scope="module")
def proxy(notes: Path) -> Iterator[Proxy]:
    sections: dict[str, dict[str, str]] = {name: {"class": path} for name, path in STACK.items()}
    sections["notes"]["file"] = str(notes)
    config: Config = {
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "logging": {"access_log_format": "json"},
        "middleware": {"stack": list(STACK), **sections},
    }
    with running_proxy(config, python_path=[PLUGINS]) as proxy:
        with nothing_left_behind(proxy):
            yield proxy


@pytest.fixture
def new_log(proxy: Proxy) -> Callable[[], str]:
    """What was added to the error log since the test began."""
    start = len(proxy.error_log())

    def added() -> str:
        with Client(proxy.address) as client:
            client.ask(get("/census"))  # what failed before this was answered has been logged
        return proxy.error_log()[start:]

    return added


# --- mistakes


@pytest.mark.parametrize("target", ["/raises", "/raises/late"])
def test_middleware_that_raises_is_a_500_with_one_traceback_that_names_it(
    proxy: Proxy, client: Client, new_log: Callable[[], str], expected_tracebacks: None, target: str
) -> None:
    with Origin(serve(OK)) as origin:
        answer = client.ask(get(target, via(origin)))
        assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
        assert client.ask(get("/fine", via(origin))).body == b"ok"  # the client is kept
    log = new_log()
    assert log.count("Traceback") == 1
    assert "in middleware 'raises'" in log
    assert "LookupError: this is a mistake in a middleware" in log
    record = record_of(proxy, target)
    assert (record["answered_by"], record["error"]) == ("raises", "proxy_internal_error")


def test_middleware_that_calls_exit_ends_its_request_and_not_the_worker(
    proxy: Proxy, client: Client, new_log: Callable[[], str], expected_tracebacks: None
) -> None:
    workers = proxy.worker_pids(1)
    assert client.ask(get("/raises/exit")).status == 500
    with Client(proxy.address) as other:
        assert not other.ask(get("/raises/body")).is_complete  # its head was out already
    log = new_log()
    assert log.count("Traceback") == 2
    assert "in middleware 'raises'" in log
    assert proxy.worker_pids(1) == workers


def test_middleware_that_returns_none_is_a_500_with_one_traceback_that_names_it(
    client: Client, new_log: Callable[[], str], expected_tracebacks: None
) -> None:
    with Origin(serve(OK)) as origin:
        assert client.ask(get("/none", via(origin))).status == 500
    assert new_log().count("Traceback") == 1
    assert "middleware 'none' returned None, not a Response" in new_log()


def test_http_error_is_the_answer_it_says_without_a_traceback(proxy: Proxy, client: Client) -> None:
    answer = client.ask(get("/refuses"))
    assert (answer.status, answer.body, answer.get("x-reason")) == (403, b"not for you\n", b"test")
    assert record_of(proxy, "/refuses")["answered_by"] == "refuses"


def test_body_that_fails_half_way_is_never_a_clean_end(
    client: Client, new_log: Callable[[], str], expected_tracebacks: None
) -> None:
    with Origin(serve(OK)) as origin:
        client.send(get("/fails/response", via(origin)))
        answer = client.read_response()
    assert (answer.status, answer.body, answer.is_complete) == (200, b"so far so good", False)
    assert new_log().count("Traceback") == 1


def test_request_body_that_fails_half_way_is_a_500_and_no_clean_end_upstream(
    client: Client, new_log: Callable[[], str], expected_tracebacks: None
) -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        assert client.ask(post("/fails/request", b"x", via(origin))).status == 500
        assert not origin.wait_for_end().received.endswith(b"0\r\n\r\n")
    assert new_log().count("Traceback") == 1


# --- blocking, answering


def test_middleware_that_blocks_delays_nobody_else(proxy: Proxy, client: Client) -> None:
    with Origin(serve(OK)) as origin:
        started = time.monotonic()
        client.send(get("/sleeps", via(origin)))
        with Client(proxy.address) as other:
            for _ in range(20):
                assert other.ask(get("/fine", via(origin))).status == 200
            assert time.monotonic() - started < 0.9
        assert client.read_response().status == 200
        assert time.monotonic() - started >= 1.0


def test_client_that_leaves_a_blocking_middleware_asks_no_upstream(proxy: Proxy, client: Client) -> None:
    with Origin(serve(OK)) as origin:
        client.send(get("/sleeps/left", via(origin)))
        assert client.is_silent()
        client.reset()
        assert record_of(proxy, "/sleeps/left")["status"] == 499
        assert origin.requests == []


def test_answer_made_before_a_10_mib_upload_is_read_reaches_the_client(client: Client) -> None:
    client.send(get("/early", f"Content-Length: {10 * MIB}", method="POST"))
    assert not client.is_silent(5)
    client.send_pieces(pattern(10 * MIB))
    answer = client.read_response()
    assert (answer.status, answer.body, answer.get("connection")) == (413, b"far too much\n", b"close")
    client.half_close()
    assert client.read_until_closed() == (b"", "eof")


def test_answer_made_without_reading_a_small_body_keeps_the_connection(client: Client) -> None:
    for _ in range(3):
        assert client.ask(post("/early", b"x" * 1000)).get("connection") is None


# --- bodies


def test_replaced_bodies_are_framed_by_what_they_are_now(client: Client) -> None:
    with Origin(serve(OK)) as origin:
        answer = client.ask(post("/replaces/bytes", b"original", via(origin)))
        assert (answer.framing, answer.body) == ("length", b"instead of the response")
        assert (origin.requests[0].framing, origin.requests[0].body) == ("length", b"instead of the request")
        assert client.ask(get("/fine", via(origin))).body == b"ok"


def test_large_bodies_that_are_replaced_leave_both_connections_in_order(client: Client) -> None:
    """The client's body is dropped unread, the upstream's connection cannot be used again."""
    with Origin(serve(response(bytes(MIB)), OK)) as origin:
        answer = client.ask(post("/replaces/bytes", bytes(50_000), via(origin)))
        assert answer.body == b"instead of the response"
        assert client.ask(get("/fine", via(origin))).status == 200


def test_generator_bodies_are_sent_chunked(client: Client) -> None:
    with Origin(serve(lambda request: response(request.body + b"abc"))) as origin:
        answer = client.ask(post("/replaces/generator", b"original", via(origin)))
        assert (answer.framing, answer.body) == ("chunked", b"0;1;2;3;4;ABC")
        assert origin.requests[0].framing == "chunked"


def test_filtered_bodies_are_sent_chunked(client: Client) -> None:
    with Origin(serve(lambda request: response(request.body + b"abc"))) as origin:
        answer = client.ask(post("/filters", b"hello", via(origin)))
        assert (origin.requests[0].framing, origin.requests[0].body) == ("chunked", b"uryyb.")
        assert (answer.framing, answer.body) == ("chunked", b"hello.nop.")
        assert client.ask(get("/fine", via(origin))).status == 200


def test_filtered_body_streams(client: Client) -> None:
    got = threading.Event()

    def on_demand(connection) -> None:
        connection.send(CHUNKED_HEAD + b"3\r\nabc\r\n")
        connection.origin.wait_for_event(got)
        connection.send(b"3\r\nnop\r\n0\r\n\r\n")

    with Origin([expect_request(), on_demand]) as origin:
        client.send(get("/filters", via(origin)))
        head = client.read_response_head()
        body = client.stream_body_of(head)
        assert next(body) == b"nop"
        got.set()
        assert b"".join(body) == b"abc."


def test_filtered_body_to_an_http_1_0_client_ends_with_the_connection(client: Client) -> None:
    with Origin(serve(response(b"abc"))) as origin:
        answer = client.ask(get("/filters", via(origin), version="1.0"))
        assert (answer.framing, answer.body) == ("close", b"nop.")


def test_large_filtered_bodies_come_through_both_ways(client: Client) -> None:
    body = b"".join(pattern(3 * MIB))
    with Origin(serve(lambda request: response(request.body))) as origin:
        answer = client.ask(post("/filters", body, via(origin)))
        assert answer.body == body + b".."


# --- on_close


def wait_for_notes(proxy: Proxy, notes: Path, target: str) -> list[str]:
    """The callbacks that ran for ``target``, once its exchange is over."""
    record_of(proxy, target)
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [line.removeprefix(target + " ") for line in lines if line.startswith(target + " ")]


@pytest.mark.parametrize("target", ["/closes/success", "/closes/discards", "/closes/raises"])
def test_on_close_runs_once_in_order(proxy: Proxy, client: Client, notes: Path, target: str) -> None:
    with Origin(serve(response(bytes(200_000)))) as origin:
        answer = client.ask(get(target, via(origin)))
        assert answer.status == (409 if target.endswith("raises") else 200)
        assert wait_for_notes(proxy, notes, target) == ["first", "second"]


@pytest.mark.parametrize("target", ["/closes/local", "/closes/local/discards", "/closes/local/raises"])
def test_on_close_runs_once_for_a_response_that_a_middleware_made(
    proxy: Proxy, client: Client, notes: Path, target: str
) -> None:
    assert client.ask(get(target)).status == (409 if target.endswith("raises") else 200)
    assert wait_for_notes(proxy, notes, target) == ["first", "second"]


def test_on_close_runs_once_when_the_upstream_fails(proxy: Proxy, client: Client, notes: Path) -> None:
    script = [expect_request(), send(response_head("Content-Length: 100")), send(b"half"), reset()]
    with Origin(script) as origin:
        client.send(get("/closes/failure", via(origin)))
        assert not client.read_response().is_complete
        assert wait_for_notes(proxy, notes, "/closes/failure") == ["first", "second"]


def test_on_close_runs_once_when_the_client_leaves(proxy: Proxy, client: Client, notes: Path) -> None:
    with Origin([expect_request(), send(CHUNKED_HEAD), send_chunk(b"x"), expect_close()]) as origin:
        client.send(get("/closes/left", via(origin)))
        client.read_response_head()
        client.reset()
        assert wait_for_notes(proxy, notes, "/closes/left") == ["first", "second"]


def test_endless_body_ends_when_its_client_leaves(proxy: Proxy, client: Client, notes: Path) -> None:
    client.send(get("/closes/local/generator"))
    client.read_response_head()
    client.reset()
    assert wait_for_notes(proxy, notes, "/closes/local/generator") == ["first", "second"]


# --- requests of its own, requests again


@pytest.mark.parametrize("how", ["read", "drop"])
def test_requests_that_a_middleware_makes_itself_leave_nothing_behind(
    proxy: Proxy, client: Client, how: str
) -> None:
    """Large answers, so that their bodies are not there with their heads."""
    big = CHUNKED_HEAD + b"30d40\r\n" + bytes(200_000) + b"\r\n0\r\n\r\n"

    def answer(request) -> bytes:
        return big if request.target.startswith("/side") else OK

    with Origin(serve(answer)) as origin:
        for _ in range(3):
            reply = client.ask(get(f"/others/{how}/5", via(origin)))
            assert (reply.body, reply.get("x-found")) == (b"ok", b"200,200,200,200,200")
        assert [request.target for request in origin.requests[:6]] == [
            *(f"/side/{number}" for number in range(5)),
            f"/others/{how}/5",
        ]
        proxy.wait_until(lambda: census(proxy)["UpstreamExchange"] == 0, "release of the attempts")
        open_now = census(proxy)["UpstreamStream"]
        # A body that was read to its end leaves a connection that can be used again.
        assert open_now <= (6 if how == "read" else 1)
        assert len(origin.connections) <= (6 if how == "read" else 16)


def test_informational_responses_to_a_middleware_s_own_request_are_not_the_client_s(client: Client) -> None:
    def answer(request) -> bytes:
        return (b"HTTP/1.1 103 Early Hints\r\n\r\n" if request.target.startswith("/side") else b"") + OK

    with Origin(serve(answer)) as origin:
        client.send(get("/others/read/1", via(origin)))
        assert client.read_response().status == 200


def test_client_that_leaves_cancels_the_requests_a_middleware_makes_for_it(
    proxy: Proxy, client: Client
) -> None:
    with Origin([expect_request(), expect_close()]) as origin:
        client.send(get("/others/read/1?left", via(origin)))
        origin.wait_for_requests(1)
        client.reset()
        origin.wait_for_end()
        assert record_of(proxy, "/others/read/1?left")["status"] == 499


@pytest.mark.parametrize("request_of", [get, post], ids=["no body", "small body"])
def test_request_that_a_middleware_sends_twice_is_sent_twice(
    client: Client, request_of: Callable[..., bytes]
) -> None:
    busy = response(b"x" * 200_000, status="503 Service Unavailable")
    with Origin(serve(busy, OK), serve(OK)) as origin:
        request = get("/again", via(origin)) if request_of is get else post("/again", b"small", via(origin))
        assert client.ask(request).body == b"ok"
        assert len(origin.requests) == 2
        assert origin.requests[0].body == origin.requests[1].body
        assert client.ask(get("/fine", via(origin))).status == 200


def test_large_body_that_a_middleware_has_read_can_be_sent_twice(client: Client) -> None:
    body = b"".join(pattern(300_000))
    with Origin(serve(response(status="503 Service Unavailable"), OK)) as origin:
        assert client.ask(post("/again/kept", body, via(origin))).body == b"ok"
        assert [request.body == body for request in origin.requests] == [True, True]


def test_body_that_is_gone_is_not_sent_again_but_a_500_that_says_why(
    client: Client, new_log: Callable[[], str], expected_tracebacks: None
) -> None:
    with Origin(serve(response(status="503 Service Unavailable"), OK)) as origin:
        assert client.ask(post("/again", b"".join(pattern(300_000)), via(origin))).status == 500
        assert len(origin.requests) == 1
    assert "read_body()" in new_log()
