"""What goes wrong around the proxy: nothing of it leaves a traceback, a descriptor or a dead proxy behind."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable

import pytest

from tests.integration.kit import CHUNKED_HEAD, InThread, get, pattern, post, response, response_head, via
from tests.support.origin import (
    OK,
    Origin,
    Script,
    expect_head,
    expect_request,
    half_close,
    reset,
    send,
    send_chunk,
    serve,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

BAD_ORIGINS: dict[str, Script] = {
    "closes at once": [],
    "resets at once": [reset()],
    "resets after the head of a request": [expect_head(), reset()],
    "closes in the middle of a head": [expect_request(), send(b"HTTP/1.1 200 O")],
    "sends garbage": [expect_request(), send(b"\x00\xff\r\n\r\n" * 100)],
    "sends an endless head": [expect_request(), send(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000)],
    "closes in the middle of a body": [expect_request(), send(response_head("Content-Length: 9") + b"x")],
    "resets in the middle of a body": [expect_request(), send(CHUNKED_HEAD), send_chunk(b"x"), reset()],
    "sends a bad chunk": [expect_request(), send(CHUNKED_HEAD + b"zz\r\n")],
    "sends too much": [expect_request(), send(OK + OK)],
    "ends its side and waits": [expect_request(), send(OK), half_close(), expect_request()],
    "answers": serve(OK),
}


@pytest.mark.parametrize("origin_does", BAD_ORIGINS)
def test_upstream_that_fails_leaves_a_proxy_that_serves(
    shared_proxy: Proxy, target: str, origin_does: str
) -> None:
    """GET and POST, with a small body and a large one, from clients that wait and clients that do not."""
    requests: list[Callable[[str], bytes]] = [
        lambda to: get(target, to),
        lambda to: post(target, b"small", to),
        lambda to: post(target, bytes(300_000), to),
        lambda to: get(target, to, method="HEAD"),
    ]
    with Origin(BAD_ORIGINS[origin_does]) as origin:
        for request in requests:
            for _ in range(3):
                with Client(shared_proxy.address) as client:
                    _ask_for_whatever(client, request(via(origin)))
    _check_it_serves(shared_proxy, target)


def _ask_for_whatever(client: Client, request: bytes) -> None:
    # Cut off is as good as answered; the proxy must outlive it.
    with contextlib.suppress(PeerClosed, OSError):
        client.ask(request, "HEAD" if request.startswith(b"HEAD") else "GET")


def _check_it_serves(proxy: Proxy, target: str) -> None:
    with Origin(serve(OK)) as origin, Client(proxy.address) as client:
        assert client.ask(get(target, via(origin))).body == b"ok"
        assert client.ask(post(target, bytes(200_000), via(origin))).body == b"ok"


@pytest.mark.parametrize("fault", ["closes at once", "sends garbage", "closes in the middle of a body"])
def test_error_log_says_which_server_failed(shared_proxy: Proxy, target: str, fault: str) -> None:
    with Origin(BAD_ORIGINS[fault]) as origin, Client(shared_proxy.address) as client:
        client.send(get(target, via(origin)))
        with contextlib.suppress(PeerClosed):
            client.read_response()
        shared_proxy.wait_for_log(f" WARNING <Request GET {target}>: {origin.url}: ")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_clients_that_reset_anywhere_in_their_request_leave_a_proxy_that_serves(
    shared_proxy: Proxy, target: str, share: float
) -> None:
    with Origin(serve(response(bytes(100_000)))) as origin:
        for request in (get(target, via(origin)), post(target, bytes(100_000), via(origin))):
            for _ in range(10):
                client = Client(shared_proxy.address)
                client.send(request[: int(len(request) * share)])
                client.reset()
        _check_it_serves(shared_proxy, target)


def test_clients_that_reset_anywhere_in_their_response_leave_a_proxy_that_serves(
    shared_proxy: Proxy, target: str
) -> None:
    with Origin(serve(response(b"".join(pattern(1 << 20))))) as origin:
        for size in (0, 1, 100, 10_000, 300_000, 1_000_000):
            client = Client(shared_proxy.address)
            client.send(get(target, via(origin)))
            client.read_exactly(size)
            client.reset()
        _check_it_serves(shared_proxy, target)


def test_mixed_misbehaviour_at_once_leaves_nothing_behind(shared_proxy: Proxy, target: str) -> None:
    """Many clients with random tempers against origins with random tempers; the seed is fixed."""
    scripts = [script for script in BAD_ORIGINS.values() for _ in range(4)]
    chance = random.Random(20)
    chance.shuffle(scripts)

    def misbehave(seed: int) -> None:
        temper = random.Random(seed)
        for _ in range(15):
            with Client(shared_proxy.address, timeout=0.3) as client:
                request = temper.choice([get(target, via(origin)), post(target, bytes(70_000), via(origin))])
                try:
                    client.send(request[: temper.choice([10, 200, 5_000, None, None, None])])
                    if temper.random() < 0.5:
                        client.read_exactly(temper.choice([1, 100]))
                    if temper.random() < 0.5:
                        client.reset()
                except (PeerClosed, OSError):
                    continue

    with Origin(*scripts) as origin:
        for thread in [InThread(misbehave, seed) for seed in range(8)]:
            thread.result(60)
    _check_it_serves(shared_proxy, target)


@pytest.mark.parametrize("which", ["access_log", "logfile", "both"])
def test_full_disk_under_a_log_costs_lines_and_no_answer(which: str) -> None:
    logging = {"verbosity": "INFO"}
    if which != "logfile":
        logging["access_log"] = "/dev/full"
    if which != "access_log":
        logging |= {"logfile": "/dev/full"}
    with Origin(serve(OK)) as origin:
        config = {"routing": {"upstream_hosts": origin.url}, "logging": logging}
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            for _ in range(600):  # more than the access log keeps in memory
                assert client.ask(get()).status == 200
            before = proxy.fd_count()
            assert client.ask(b"nonsense\r\n\r\n").status == 400
            client.close()
            proxy.wait_until(lambda: proxy.fd_count() < before, "the client's end")
            if which == "access_log":
                proxy.wait_for_log("No space left on device")
                assert proxy.error_log().count("No space left on device") == 1


def test_slow_start_of_an_upstream_is_survived(shared_proxy: Proxy, target: str) -> None:
    """The connection is made before anybody accepts it, as behind a server that is being restarted."""
    go = threading.Event()

    def late(connection) -> None:
        connection.origin.wait_for_event(go)

    with Origin([late, *serve(OK)]) as origin, Client(shared_proxy.address) as client:
        client.send(get(target, via(origin)))
        assert client.is_silent(0.2)
        go.set()
        assert client.read_response().status == 200
