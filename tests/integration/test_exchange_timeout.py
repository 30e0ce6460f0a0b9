"""The time-out of a whole exchange: whatever it waits for, but never a tunnel."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import CHUNKED_HEAD, get, record_of, via
from tests.support.config import Config
from tests.support.origin import (
    OK,
    Origin,
    expect_bytes,
    expect_close,
    expect_head,
    expect_request,
    send,
    send_chunk,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

SECONDS = 0.5
CONFIG: Config = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"access_log_format": "json"},
    "middleware": {
        "stack": "reads, by_field",
        "reads": {"class": "scenarios.AsksTwice"},
        "by_field": {"class": "routing.RouteByField"},
    },
    "timeouts": {"exchange": SECONDS},
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy:
        yield proxy


@pytest.mark.parametrize("early", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["nothing", "a 103"])
def test_exchange_whose_answer_has_not_begun_is_a_504(
    proxy: Proxy, client: Client, target: str, early: bytes
) -> None:
    with Origin([expect_request(), send(early), expect_close()]) as origin:
        started = time.monotonic()
        answer = client.ask(get(target, via(origin)))
        assert SECONDS <= time.monotonic() - started < SECONDS + 2
        assert answer.status == 504
        origin.wait_for_end()
    record = record_of(proxy, target)
    assert (record["status"], record["error"]) == (504, "http_response_timeout")


def test_exchange_whose_answer_has_begun_is_cut_off(proxy: Proxy, client: Client, target: str) -> None:
    with Origin([expect_request(), send(CHUNKED_HEAD), send_chunk(b"first"), expect_close()]) as origin:
        client.send(get(target, via(origin)))
        answer = client.read_response()
        assert (answer.status, answer.body, answer.is_complete) == (200, b"first", False)
        origin.wait_for_end()
    record = record_of(proxy, target)
    assert (record["status"], record["error"]) == (200, "http_response_timeout")


def test_exchange_that_waits_for_its_upload_is_a_504(client: Client, target: str) -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        client.send(get(target, via(origin), "Content-Length: 10", method="POST") + b"half")
        assert client.read_response().status == 504
        origin.wait_for_end()


def test_exchange_whose_middleware_waits_for_the_body_is_a_504(client: Client) -> None:
    client.send(get("/again/kept", "Content-Length: 10", method="POST") + b"half")
    started = time.monotonic()
    assert client.read_response().status == 504
    assert time.monotonic() - started < SECONDS + 2  # client_body is 30 s


def test_each_exchange_of_a_connection_has_its_own_time(client: Client, target: str) -> None:
    def answer_later(connection) -> None:
        connection.expect_request()
        time.sleep(0.7 * SECONDS)
        connection.send(OK)

    with Origin([answer_later] * 3) as origin:
        assert [client.ask(get(target, via(origin))).status for _ in range(3)] == [200] * 3


def test_tunnel_is_spared(client: Client, target: str) -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
    with Origin([expect_request(), send(head), expect_bytes(1), send(b"y"), expect_close()]) as origin:
        client.send(get(target, via(origin), "Connection: Upgrade", "Upgrade: talk"))
        assert client.read_response_head().status == 101
        assert client.is_silent(2 * SECONDS)
        client.send(b"x")
        assert client.read_exactly(1) == b"y"
