"""What a filter does to others: nothing, whether it fails, blocks, or keeps state where it may."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.compat.proxies import PLUGINS, STAGES, config_of
from tests.integration.kit import get, post, record_of, response, via
from tests.support.messages import WireRequest, WireResponse
from tests.support.origin import Origin, OriginConnection, expect_close, expect_request, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

LIFETIMES = ("request", "connection", "worker")


def echo(request: WireRequest) -> bytes:
    return response(request.body, f"X-Upstream-Id: {(request.get('x-upstream-id') or b'').decode()}")


# --- filters that fail or block


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    pipeline = {
        "blocking": "isolation.Blocks",
        "upstream": ["blocking"],
        "downstream": ["blocking"],
    }
    with running_proxy(config_of(pipeline), python_path=PLUGINS) as proxy:
        proxy.addresses()  # a client that came before it listens would wait for more than the filters
        yield proxy


@pytest.fixture(scope="module")
def failing_proxy() -> Iterator[Proxy]:
    pipeline = {"failing": "isolation.Fails", "upstream": ["failing"], "downstream": ["failing"]}
    with running_proxy(config_of(pipeline), python_path=PLUGINS) as proxy:
        yield proxy


@pytest.mark.parametrize("stage", STAGES)
def test_failure_is_logged_once_and_harms_nobody_else(failing_proxy: Proxy, stage: str) -> None:
    start = len(failing_proxy.error_log())
    with Origin(serve(echo)) as origin, Client(failing_proxy.address) as other:
        assert other.ask(post("/other", b"x", via(origin))).status == 200
        with Client(failing_proxy.address) as client:
            client.send(post("/", b"hello", via(origin), f"X-Block: {stage}"))
            answer = client.read_final_response()
            assert answer.status == (200 if stage == "response body" else 418)
            assert answer.is_complete == (stage != "response body")
            assert len(origin.requests) == (2 if stage.startswith("response") else 1)
            if answer.is_complete:
                assert client.ask(post("/", b"again", via(origin))).body == b"again"
        assert other.ask(post("/other", b"x", via(origin))).body == b"x"
    log = failing_proxy.error_log()[start:]
    method = f"at_{stage.replace(' ', '_')}"
    assert log.count("Traceback (most recent call last)") == 1
    assert log.count(f"ERROR filter 'failing' failed in {method}, at the {stage}\n") == 1
    assert log.count(f"KeyError: 'no such thing at the {stage}'") == 1


def test_failure_of_a_later_part_of_a_request_body_is_logged_once(failing_proxy: Proxy) -> None:
    start = len(failing_proxy.error_log())
    with Origin() as origin, Client(failing_proxy.address) as client:
        fields = via(origin), "X-Block: request body", "Expect: 100-continue", "Content-Length: 5"
        answer = client.ask(get("/", *fields, method="PUT") + b"hello")
        assert answer.status == 555
    assert failing_proxy.error_log()[start:].count("Traceback") == 1


def test_filter_that_cannot_be_made_for_a_request_is_a_500_that_names_it(tmp_path: Path) -> None:
    pipeline = {"fragile": "isolation.CannotBeMade", "fragile.witness": str(tmp_path / "witness")}
    with running_proxy(config_of({**pipeline, "upstream": ["fragile"]}), python_path=PLUGINS) as proxy:
        with Client(proxy.address) as client:
            for _ in range(2):
                assert client.ask(get("/")).status == 500
        log = proxy.error_log()
    assert log.count("Traceback") == 2 and log.count("RuntimeError: not again") == 2
    assert log.count("while making filter 'fragile'") == 2


def test_filters_that_block_delay_nobody_else(proxy: Proxy) -> None:
    with Origin(serve(echo)) as origin, ExitStack() as stack:
        other = stack.enter_context(Client(proxy.address))
        started = time.monotonic()
        blocked = [stack.enter_context(Client(proxy.address)) for _ in STAGES]
        for client, stage in zip(blocked, STAGES, strict=True):
            client.send(post("/", b"slow", via(origin), f"X-Block: {stage}"))
        for _ in range(50):
            assert other.ask(post("/", b"fast", via(origin))).body == b"fast"
        for client in blocked[:3]:
            assert client.is_silent(0.001)
        assert blocked[3].read_response_head().status == 200 and not blocked[3].unread
        assert time.monotonic() - started < 2
        for client in blocked[:3]:
            assert client.read_final_response().body == b"slow"
        assert blocked[3].read_exactly(9) == b"4\r\nslow\r\n"
        assert time.monotonic() - started >= 2


def test_blocking_filter_that_its_client_leaves_reaches_no_upstream(proxy: Proxy) -> None:
    with Origin(serve(echo)) as origin:
        with Client(proxy.address) as client:
            client.send(get("/left", via(origin), "X-Block: request head"))
            assert client.is_silent()
            client.reset()
        assert record_of(proxy, "/left")["status"] == 499
        assert origin.requests == []


# --- state


class Setting(NamedTuple):
    proxy: Proxy
    lifetime: str
    singletons: bool


@pytest.fixture(scope="module", params=[(life, one) for life in LIFETIMES for one in (False, True)], ids=str)
def setting(request: pytest.FixtureRequest) -> Iterator[Setting]:
    lifetime, singletons = request.param
    pipeline = {
        "memory": "isolation.Remembers",
        "memory.name": "memory",
        "upstream": ["memory"],
        "downstream": ["memory"],
        "filter_lifetime": lifetime,
        "use_singletons": singletons,
    }
    with running_proxy(config_of(pipeline), python_path=PLUGINS) as proxy:
        yield Setting(proxy, lifetime, singletons)


def ask(client: Client, origin: Origin, name: str) -> WireResponse:
    return client.ask(post("/", f"body of {name}".encode(), via(origin), f"X-Id: {name}"))


def counts(client: Client, query: str = "") -> dict[str, Any]:
    return json.loads(client.ask(get(f"/counts{query}")).body)  # type: ignore[no-any-return]


def test_hundred_exchanges_at_once_do_not_see_each_other(setting: Setting) -> None:
    count = 100
    all_here = threading.Barrier(count, timeout=20)

    def answer(connection: OriginConnection) -> None:
        for _ in range(2):
            request = connection.expect_request()
            all_here.wait()
            connection.send(echo(request))

    with Origin([answer]) as origin, ExitStack() as stack:
        clients = [stack.enter_context(Client(setting.proxy.address)) for _ in range(count)]
        for turn in range(2):
            for number, client in enumerate(clients):
                name = f"{turn}-{number}"
                body = b"body of %b" % name.encode()
                head = get("/", via(origin), f"X-Id: {name}", "Transfer-Encoding: chunked", method="POST")
                client.send(head + b"%x\r\n%b\r\n" % (len(body), body))
            for client in clients:
                client.send(b"0\r\n\r\n")
            for number, client in enumerate(clients):
                check_own(client.read_final_response(), f"{turn}-{number}".encode(), setting)
        assert len(origin.connections) >= count


def check_own(answer: WireResponse, name: bytes, setting: Setting) -> None:
    """Every place that belongs to one exchange must hold what belongs to this one."""
    assert answer.status == 200
    assert answer.get_all("x-upstream-id") == [name]
    assert answer.get_all("x-local") == [name]
    assert answer.get_all("x-view") == [name]
    assert answer.get("x-shared") == b"True"
    assert answer.body == b"body of %b for %b" % (name, name)
    if setting.lifetime == "worker":
        return  # self is everybody's
    is_one = setting.singletons
    assert answer.get_all("x-mine") == [name if is_one else b"None"]
    assert answer.get_all("x-same-view") == [b"True" if is_one else b"False"]
    assert answer.get_all("x-body") == [b"body of %b" % name if is_one else b""]


def test_filters_live_as_long_as_they_are_told(setting: Setting) -> None:
    with Origin(serve(echo)) as origin, ExitStack() as stack:
        asker = stack.enter_context(Client(setting.proxy.address))
        before = counts(asker)["made"]["memory"]
        clients = [stack.enter_context(Client(setting.proxy.address)) for _ in range(3)]
        numbers = [[ask(client, origin, "a").get("x-number") for _ in range(4)] for client in clients]
        made = counts(asker)["made"]["memory"] - before
    each = 1 if setting.singletons else 2
    # The one that asks for the counts needs a filter, too, unless it has one already.
    assert made == {"request": 13 * each, "connection": 3 * each, "worker": 0}[setting.lifetime]
    if setting.lifetime == "worker":
        assert before == each
    if not setting.singletons:
        expected = [[b"0"] * 4] * 3  # the one of the response has seen no request
    elif setting.lifetime == "request":
        expected = [[b"1"] * 4] * 3
    elif setting.lifetime == "connection":
        expected = [[b"1", b"2", b"3", b"4"]] * 3
    else:
        first = int(numbers[0][0] or 0)
        expected = [[b"%d" % (first + 4 * row + column) for column in range(4)] for row in range(3)]
    assert numbers == expected


def test_filters_are_freed_when_their_time_is_over(setting: Setting) -> None:
    """At once: none of them is left for the collector."""
    each = 1 if setting.singletons else 2
    with Client(setting.proxy.address) as asker, Origin(serve(echo)) as origin:
        counts(asker, "?collect")
        for number in range(20):
            with Client(setting.proxy.address) as client:
                ask(client, origin, f"first of {number}")
                ask(client, origin, f"second of {number}")
        setting.proxy.wait_until(lambda: counts(asker)["alive"] <= each, "release of the filters")
        told = counts(asker, "?collect")
        assert (told["alive"], told["left"]) == (each, each)


def test_client_that_leaves_in_the_middle_takes_its_filters_along(setting: Setting) -> None:
    each = 1 if setting.singletons else 2
    with Client(setting.proxy.address) as asker, Origin([expect_request(), expect_close()]) as origin:
        for seen in range(5):
            with Client(setting.proxy.address) as client:
                client.send(post("/", b"x", via(origin), "X-Id: gone"))
                origin.wait_for_requests(seen + 1)
                client.reset()
        setting.proxy.wait_until(lambda: counts(asker)["alive"] <= each, "release of the filters")


def test_factory_is_called_for_each_lifetime() -> None:
    pipeline = {
        "memory": "isolation.make",
        "memory.name": "twice",
        "memory.times": 2,
        "other": "isolation.make",
        "other.name": "once",
        "upstream": ["memory", "other"],
        "downstream": ["other"],
        "filter_lifetime": "connection",
        "use_singletons": True,
    }
    with running_proxy(config_of(pipeline), python_path=PLUGINS) as proxy, Origin(serve(echo)) as origin:
        for connection in range(1, 4):
            with Client(proxy.address) as client:
                answer = ask(client, origin, "a")
                assert answer.get_all("x-mine") == [b"a"]  # of the one that stands in both pipelines
                assert counts(client)["made"] == {"twice-twice": connection, "once": connection}
