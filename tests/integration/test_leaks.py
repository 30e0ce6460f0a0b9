"""What a request leaves behind when it is over: nothing, and nothing for the collector either."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import CHUNKED_HEAD, get, nothing_left_behind, post, response, via
from tests.support.config import Config
from tests.support.origin import (
    OK,
    Origin,
    Script,
    expect_close,
    expect_head,
    expect_request,
    reset,
    send,
    serve,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

TIMES = 300
CONFIG: Config = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"verbosity": "ERROR"},
    "middleware": {
        "stack": "garbage, census, filtered, early, others, by_field",
        "garbage": {"class": "routing.Garbage"},
        "census": {"class": "routing.Census"},
        "filtered": {"class": "scenarios.Filters"},
        "early": {"class": "scenarios.AnswersEarly"},
        "others": {"class": "scenarios.AsksOthers"},
        "by_field": {"class": "routing.RouteByField"},
    },
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy, nothing_left_behind(proxy):
        yield proxy


CHUNKED = CHUNKED_HEAD + b"2\r\nok\r\n0\r\n\r\n"
BIG = response(bytes(300_000))
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"

HEAD_ONLY = [expect_head(), expect_close()]
LEAVES = None

# What is asked, what the origin does, and whether the client's connection can be used again.
KINDS: dict[str, tuple[Callable[[str], bytes], Script, bool | None]] = {
    "small GET": (lambda to: get("/", to), serve(OK), True),
    "small POST": (lambda to: post("/", b"x" * 1000, to), serve(OK), True),
    "chunked answer": (lambda to: get("/", to), serve(CHUNKED), True),
    "big answer": (lambda to: get("/", to), serve(BIG), True),
    "big upload": (lambda to: post("/", bytes(200_000), to), serve(OK), True),
    "filtered": (lambda to: post("/filters", b"abc", to), serve(OK), True),
    "local answer": (lambda to: get("/early", to), serve(OK), True),
    "requests of its own": (lambda to: get("/others/drop/2", to), serve(CHUNKED), True),
    "connection per request": (lambda to: get("/", to, "Connection: close"), serve(OK), False),
    "refused upstream": (lambda to: get("/"), serve(OK), True),
    "upstream that resets": (lambda to: get("/", to), [expect_request(), reset()], True),
    "cut off answer": (lambda to: get("/", to), [expect_request(), send(CHUNKED_HEAD + b"2\r\nok")], False),
    "bad request": (lambda to: b"nonsense\r\n\r\n", serve(OK), False),
    "bad request line": (lambda to: b" GET / HTTP/1.1\r\n", serve(OK), False),
    "bad upload": (
        lambda to: get("/", to, "Transfer-Encoding: chunked", method="POST") + b"zz\r\n",
        HEAD_ONLY,
        False,
    ),
    "client that leaves": (lambda to: get("/", to), [expect_request(), expect_close()], LEAVES),
    "client that leaves its upload": (lambda to: post("/", bytes(100_000), to)[:-1], HEAD_ONLY, LEAVES),
    "client that leaves its answer": (
        lambda to: get("/", to),
        [expect_request(), send(CHUNKED_HEAD), expect_close()],
        LEAVES,
    ),
    "tunnel": (
        lambda to: get("/", to, "Connection: Upgrade", "Upgrade: talk"),
        [expect_request(), send(SWITCH)],
        False,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_requests_leave_no_garbage_and_no_memory_behind(proxy: Proxy, kind: str) -> None:
    request_of, script, is_kept = KINDS[kind]
    times = TIMES if is_kept else TIMES // 3
    with Origin(script, keep=False) as origin:
        request = request_of(via(origin))
        _ask(proxy, request, 50, is_kept)  # caches fill, buffers are made
        garbage(proxy)
        before = proxy.rss()
        _ask(proxy, request, times, is_kept)
        found, grown = garbage(proxy), proxy.rss() - before
    # A constant number of objects may come from elsewhere; an exchange that leaves a cycle leaves many.
    assert found < times
    assert grown < 1 << 20


def garbage(proxy: Proxy) -> int:
    with Client(proxy.address) as client:
        return int(json.loads(client.ask(get("/garbage")).body))


def _ask(proxy: Proxy, request: bytes, times: int, is_kept: bool | None) -> None:
    if is_kept:
        with Client(proxy.address, keep=False) as client:
            for _ in range(times):
                client.ask(request)
        return
    for _ in range(times):
        with Client(proxy.address, keep=False) as client:
            client.send(request)
            if is_kept is LEAVES:
                assert client.is_silent(0.01) or client.read_response_head().status == 200
                client.reset()
                continue
            try:
                client.read_final_response()
                client.half_close()
                client.read_until_closed()
            except (PeerClosed, OSError):
                continue
