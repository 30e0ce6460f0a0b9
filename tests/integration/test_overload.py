"""Limits, the queue before them, and every way out of it; circuit breakers; hedges; budgets."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, nothing_left_behind, post, record_of, records_of
from tests.integration.plan import Plan
from tests.integration.test_retries import refusing_port
from tests.support.config import Config, Value
from tests.support.messages import WireResponse
from tests.support.origin import OriginConnection
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
LONG = {"queue": 4, "queue_timeout": 60}


def config_of(urls: list[str], closed: str) -> Config:
    one, both = urls[0], ", ".join(urls)
    clusters: dict[str, Value] = {
        "narrow": {"servers": one, "max_connections": 1, **LONG},
        "few": {"servers": both, "max_exchanges": 1, **LONG},
        "pair": {"servers": both, "max_connections": 1, **LONG},
        "hasty": {"servers": one, "max_connections": 1, "queue": 4, "queue_timeout": 0.3},
        "strict": {"servers": one, "max_connections": 1},
        "half": {"servers": f"{closed}, {one}", "max_connections": 1, **LONG},
    }
    return {
        "middleware": {
            "stack": "census, guards, by_path",
            "census": {"class": "routing.Census"},
            "guards": {"class": "clusters.Places"},
            "by_path": {"class": "clusters.ByPath"},
        },
        "routes": {"brief": {"match": "Header(`X-Brief`, `1`)", "cluster": "narrow", "exchange": 0.5}},
        "logging": {"access_log_format": "json"},
        "clusters": clusters,
    }


@pytest.fixture(scope="module")
def proxy(plan: Plan) -> Iterator[Proxy]:
    with refusing_port() as closed, plan.origins("one", "two") as urls:
        with running_proxy(config_of(urls, closed), python_path=[PLUGINS]) as proxy:
            with nothing_left_behind(proxy):
                yield proxy
                plan.close()


@pytest.fixture(autouse=True)
def no_place_is_lost(proxy: Proxy) -> Iterator[None]:
    yield
    proxy.wait_until(lambda: places(proxy) == {}, "all places given back")


def places(proxy: Proxy) -> dict[str, list[int]]:
    """What each cluster that has something to do has: exchanges, places taken, and waiting."""
    with Client(proxy.address) as client:
        found: dict[str, list[int]] = json.loads(client.ask(get("/places")).body)
    return found


def wait_for_places(proxy: Proxy, cluster: str, exchanges: int, taken: int, waiting: int) -> None:
    expected = [exchanges, taken, waiting]
    proxy.wait_until(lambda: places(proxy).get(cluster) == expected, f"{expected} at {cluster}")


@contextmanager
def clients(proxy: Proxy, count: int) -> Iterator[list[Client]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Client(proxy.address)) for _ in range(count)]


@contextmanager
def occupied(proxy: Proxy, plan: Plan, target: str, cluster: str) -> Iterator[threading.Event]:
    """The one place of ``cluster`` is taken until the event is set, or the end."""
    event = threading.Event()

    def answer_later(connection: OriginConnection) -> None:
        connection.origin.wait_for_event(event)
        connection.send(b"HTTP/1.1 204 Late\r\n\r\n")

    plan.expect(f"/{cluster}{target}-occupied", answer_later)
    with Client(proxy.address) as client:
        client.send(get(f"/{cluster}{target}-occupied"))
        plan.wait_for(f"/{cluster}{target}-occupied", 1)
        yield event
        event.set()
        assert client.read_response().status == 204


def is_refused(answer: WireResponse) -> bool:
    assert answer.status == 503
    assert answer.get("proxy-status") == b"pyrox; error=connection_limit_reached"
    assert int(answer.get("retry-after") or b"0") >= 1
    return True


# --- the queue


@pytest.mark.parametrize("cluster", ["narrow", "few"])
def test_those_that_wait_are_served_in_their_order(
    proxy: Proxy, plan: Plan, target: str, cluster: str
) -> None:
    with occupied(proxy, plan, target, cluster) as event, clients(proxy, 3) as waiting:
        for number, client in enumerate(waiting):
            client.send(get(f"/{cluster}{target}-{number}"))
            wait_for_places(proxy, cluster, 1, 1, number + 1)
        assert plan.count(f"/{cluster}{target}-0") == 0
        event.set()
        assert [client.read_response().status for client in waiting] == [200] * 3
    numbers = [name for name in plan.arrivals if name.startswith(f"/{cluster}{target}-")]
    assert numbers == [f"/{cluster}{target}-{which}" for which in ("occupied", 0, 1, 2)]


def test_full_queue_is_a_503(proxy: Proxy, plan: Plan, target: str) -> None:
    with occupied(proxy, plan, target, "narrow") as event, clients(proxy, 5) as waiting:
        for number, client in enumerate(waiting[:4]):
            client.send(get(f"/narrow{target}"))
            wait_for_places(proxy, "narrow", 1, 1, number + 1)
        assert is_refused(waiting[4].ask(post(f"/narrow{target}-5", b"pay")))
        event.set()
        assert [client.read_response().status for client in waiting[:4]] == [200] * 4
    assert plan.count(f"/narrow{target}-5") == 0


def test_no_queue_is_a_503_at_once(proxy: Proxy, plan: Plan, target: str) -> None:
    with occupied(proxy, plan, target, "strict"), Client(proxy.address) as client:
        assert is_refused(client.ask(get(f"/strict{target}")))
    record = record_of(proxy, f"/strict{target}")
    assert (record["status"], record["error"], record["upstream"]) == (503, "connection_limit_reached", None)


def test_waiting_for_too_long_is_a_503(proxy: Proxy, plan: Plan, target: str) -> None:
    with occupied(proxy, plan, target, "hasty") as event, Client(proxy.address) as client:
        assert is_refused(client.ask(get(f"/hasty{target}")))
        event.set()
        proxy.wait_until(lambda: places(proxy) == {}, "an end")
        assert client.ask(get(f"/hasty{target}")).status == 200


def test_client_that_leaves_leaves_the_queue(proxy: Proxy, plan: Plan, target: str) -> None:
    with occupied(proxy, plan, target, "narrow"):
        with Client(proxy.address) as client:
            client.send(get(f"/narrow{target}"))
            wait_for_places(proxy, "narrow", 1, 1, 1)
        wait_for_places(proxy, "narrow", 1, 1, 0)
    assert record_of(proxy, f"/narrow{target}")["status"] == 499
    assert plan.count(f"/narrow{target}") == 0


def test_exchange_timeout_ends_the_wait_for_a_place(proxy: Proxy, plan: Plan, target: str) -> None:
    with occupied(proxy, plan, target, "narrow"), Client(proxy.address) as client:
        assert client.ask(get(f"/narrow{target}", "X-Brief: 1")).status == 504
        wait_for_places(proxy, "narrow", 1, 1, 0)


def test_full_server_is_passed_over(proxy: Proxy, plan: Plan, target: str) -> None:
    with occupied(proxy, plan, target, "pair"), Client(proxy.address) as client:
        for _ in range(4):
            assert client.ask(get(f"/pair{target}")).status == 200
    [busy] = set(plan.servers(f"/pair{target}-occupied"))
    assert busy not in plan.servers(f"/pair{target}")


def test_refused_connection_waits_for_the_other_server(proxy: Proxy, plan: Plan, target: str) -> None:
    with occupied(proxy, plan, target, "half") as event, Client(proxy.address) as client:
        client.send(post(f"/half{target}", b"pay"))
        wait_for_places(proxy, "half", 2, 1, 1)
        event.set()
        assert client.read_response().status == 200
    assert plan.count(f"/half{target}") == 1


# --- places are given back, however an exchange ends


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("reset", 502),
        ("garbage", 502),
        ("part of a head", 502),
        ("503", 503),
        ("ok", 200),
        ("ok, and more", 200),
    ],
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_place_is_free_again_after(proxy: Proxy, plan: Plan, target: str, act: str, status: int) -> None:
    plan.expect(f"/strict{target}", act)
    with Client(proxy.address) as client:
        for _ in range(3):
            assert client.ask(post(f"/strict{target}", b"x")).status == status


def test_place_is_free_again_after_a_body_that_breaks_off(proxy: Proxy, plan: Plan, target: str) -> None:
    plan.expect(f"/strict{target}", "part of a body")
    for _ in range(2):
        with Client(proxy.address) as client:
            client.send(get(f"/strict{target}"))
            assert not client.read_response().is_complete
        proxy.wait_until(lambda: places(proxy) == {}, "an end")


@pytest.mark.parametrize("act", ["hang", "long"])
def test_place_is_free_again_after_a_client_that_leaves(
    proxy: Proxy, plan: Plan, target: str, act: str
) -> None:
    def long_body(connection: OriginConnection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.read_until_closed()

    plan.expect(f"/strict{target}", long_body if act == "long" else act)
    with Client(proxy.address) as client:
        client.send(get(f"/strict{target}"))
        plan.wait_for(f"/strict{target}", 1)
        if act == "long":
            client.read_exactly(10)


def test_tunnel_keeps_its_place_until_it_ends(proxy: Proxy, plan: Plan, target: str) -> None:
    def tunnel(connection: OriginConnection) -> None:
        connection.send(SWITCH)
        connection.read_until_closed()

    plan.expect(f"/strict{target}", tunnel, "ok")
    with Client(proxy.address) as talker, Client(proxy.address) as client:
        talker.send(get(f"/strict{target}", "Connection: Upgrade", "Upgrade: talk"))
        assert talker.read_response_head().status == 101
        assert is_refused(client.ask(get(f"/strict{target}")))
        talker.close()
        proxy.wait_until(lambda: places(proxy) == {}, "the end of the tunnel")
        assert client.ask(get(f"/strict{target}")).status == 200


def test_connections_never_exceed_their_limit(proxy: Proxy, plan: Plan, target: str) -> None:
    """Also counting those that are kept: one connection is enough for them all."""
    plan.expect(f"/narrow{target}", "ok, and more")
    plan.count_connections_anew("one")
    statuses: Counter[int] = Counter()

    def ask() -> None:
        with Client(proxy.address) as client:
            for _ in range(5):
                statuses[client.ask(get(f"/narrow{target}")).status] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == {200: 20}
    assert plan.most_at_once["one"] == 1
    assert len({record["upstream"] for record in records_of(proxy, f"/narrow{target}", 20)}) == 1
