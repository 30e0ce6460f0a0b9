"""Thousands of clients that do nothing, hundreds that do it slowly, and one that wants an answer.

PYROX_BIG_TESTS=1 makes the thousand idle clients five.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.kit import InThread, get
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

IDLE = 5000 if os.environ.get("PYROX_BIG_TESTS") == "1" else 1000
SLOW = 200
BUDGET = 10 * 1024  # bytes of resident memory for an idle connection
PROMPT = 0.1

HEADER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"
REQUEST = get("/", HEADER, "Accept: */*", "Accept-Language: en", "Cookie: session=0123456789abcdef")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """As many as the system lets us have; the proxy inherits them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + SLOW + 200:
        pytest.skip(f"{hard} descriptors are not enough for {IDLE} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_and_slow_clients_cost_little_and_delay_nobody() -> None:
    with Origin(serve(OK)) as origin:
        config = {
            "routing": {"upstream_hosts": origin.url},
            "core": {"worker_connections": IDLE + SLOW + 100},
            "timeouts": {"client_head": 120, "client_idle": 600},
        }
        with running_proxy(config) as proxy:
            _warm_up(proxy)
            before = proxy.rss()
            idle = [_used_once(proxy) for _ in range(IDLE)]
            each = (proxy.rss() - before) / IDLE
            print(f"{IDLE} idle keep-alive connections: {each / 1024:.1f} KiB resident each")
            slow = [Client(proxy.address) for _ in range(SLOW)]
            slowest = _slowest_answer_beside(proxy, slow)
            print(f"beside them and {SLOW} slow ones the slowest of 50 answers took {slowest * 1000:.1f} ms")
            assert idle[0].ask(REQUEST).status == 200
            assert idle[-1].ask(REQUEST).status == 200
            for client in idle + slow:
                client.close()
            proxy.wait_until(lambda: proxy.fd_count() < 100, "the end of all connections")
    assert each < BUDGET
    assert slowest < PROMPT


def _warm_up(proxy: Proxy) -> None:
    """Let what is allocated once be allocated, for this many clients at once."""
    for client in [_used_once(proxy) for _ in range(50)]:
        client.close()
    proxy.wait_until(lambda: proxy.fd_count() < 40, "the end of the first connections")


def _used_once(proxy: Proxy) -> Client:
    client = Client(proxy.address)
    assert client.ask(REQUEST).status == 200
    return client


def _slowest_answer_beside(proxy: Proxy, slow: list[Client]) -> float:
    """Ask 50 times while each of ``slow`` sends a byte of its head four times a second."""
    done = threading.Event()

    def drip() -> None:
        for letter in b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 4000:
            for client in slow:
                client.send(bytes([letter]))
            if done.wait(0.25):
                return

    dripping = InThread(drip)
    took = []
    with Client(proxy.address) as client:
        for _ in range(50):
            started = time.monotonic()
            assert client.ask(REQUEST).status == 200
            took.append(time.monotonic() - started)
            time.sleep(0.02)
    with Client(proxy.address) as newcomer:
        started = time.monotonic()
        assert newcomer.ask(REQUEST).status == 200
        took.append(time.monotonic() - started)
    done.set()
    dripping.result()
    return max(took)
