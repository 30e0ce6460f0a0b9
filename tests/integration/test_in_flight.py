"""Limits on what is in progress, in two workers: given back on every way out."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, response, response_head, via
from tests.support.config import Config
from tests.support.masters import Master
from tests.support.origin import (
    OK,
    Origin,
    Script,
    close,
    expect_close,
    expect_request,
    reset,
    send,
    serve,
    wait,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

PART = response_head("Content-Length: 1000") + b"x" * 10
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
UPGRADE = ("Connection: Upgrade", "Upgrade: talk")
CONFIG: Config = {
    "core": {"graceful_timeout": 5},
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "middleware": {
        "stack": "tell, in_flight, by_field",
        "tell": {"class": "processes.TellWorker"},
        "in_flight": {"limits": "1", "retry_after": 7},
        "by_field": {"class": "routing.RouteByField"},
    },
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(CONFIG, workers=2, python_path=[PLUGINS]) as proxy:
        proxy.worker_pids(2)
        yield proxy


@pytest.fixture(scope="module")
def idle_origin() -> Iterator[Origin]:
    with Origin(serve(OK)) as origin:
        yield origin


@dataclass
class Way:
    """How an exchange comes to be in progress, and how it ends; ``go`` is an event that the origin awaits."""

    script: Callable[[threading.Event], Script]
    end: Callable[[Client, threading.Event], object]
    has_head: bool = False
    fields: tuple[str, ...] = ()


def finish(client: Client, go: threading.Event) -> None:
    go.set()
    client.read_final_response()


WAYS = {
    "answered": Way(lambda go: [expect_request(), wait(go), send(response(b"ok"))], finish),
    "client left before the answer": Way(
        lambda go: [expect_request(), expect_close()], lambda client, go: client.reset()
    ),
    "client left in the body": Way(
        lambda go: [expect_request(), send(PART), expect_close()],
        lambda client, go: client.reset(),
        has_head=True,
    ),
    "upstream left before the answer": Way(lambda go: [expect_request(), wait(go), close()], finish),
    "upstream left in the body": Way(
        lambda go: [expect_request(), send(PART), wait(go), reset()],
        lambda client, go: go.set(),
        has_head=True,
    ),
    "end of the tunnel": Way(
        lambda go: [expect_request(), send(SWITCH), expect_close()],
        lambda client, go: client.close(),
        has_head=True,
        fields=UPGRADE,
    ),
}


def statuses(proxy: Proxy, origin: Origin, count: int) -> list[int]:
    """Ask on as many connections, so that both workers are asked."""
    found = []
    for _ in range(count):
        with Client(proxy.address) as client:
            answer = client.ask(get("/", via(origin), "Connection: close"))
            assert answer.status != 503 or answer.get("retry-after") == b"7"
            found.append(answer.status)
            client.read_until_closed()  # which comes after the place is given back
    return found


def has_room(proxy: Proxy, origin: Origin) -> Callable[[], bool]:
    return lambda: statuses(proxy, origin, 1) == [200]


@pytest.mark.parametrize("name", WAYS)
def test_place_is_given_back_on_every_way_out(proxy: Proxy, idle_origin: Origin, name: str) -> None:
    way, go = WAYS[name], threading.Event()
    proxy.wait_until(has_room(proxy, idle_origin), "room")
    with Origin(way.script(go)) as origin:
        with Client(proxy.address) as client:
            client.send(get("/busy", via(origin), *way.fields))
            origin.wait_for_requests(1)
            if way.has_head:
                client.read_response_head()
            assert statuses(proxy, idle_origin, 8) == [503] * 8
            way.end(client, go)
            proxy.wait_until(has_room(proxy, idle_origin), "room after the end")


def test_refusal_and_failure_to_connect_take_no_place(proxy: Proxy, idle_origin: Origin) -> None:
    proxy.wait_until(has_room(proxy, idle_origin), "room")
    with Client(proxy.address) as client:
        for _ in range(3):
            assert client.ask(get("/", "X-Origin: http://127.0.0.1:1")).status == 502
        assert client.ask(get("/", via(idle_origin))).status == 200


def test_killed_worker_holds_no_place(proxy: Proxy, idle_origin: Origin) -> None:
    master = Master(proxy)
    proxy.wait_until(has_room(proxy, idle_origin), "room")
    with Origin([expect_request(), send(PART), expect_close()]) as origin:
        with Client(proxy.address) as client:
            client.send(get("/busy", via(origin)))
            worker = int(client.read_response_head().get("x-worker") or b"0")
            assert statuses(proxy, idle_origin, 4) == [503] * 4
            os.kill(worker, signal.SIGKILL)
            proxy.wait_until(has_room(proxy, idle_origin), "room after the kill")
            master.wait_for_workers(2, none_of=[worker])
            proxy.wait_until(has_room(proxy, idle_origin), "room")
