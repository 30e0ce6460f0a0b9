"""Circuit breakers, retry budgets and hedges, against servers that fail."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, nothing_left_behind, post, record_of, response
from tests.integration.plan import Plan, ok
from tests.support.config import Config, Value
from tests.support.origin import OriginConnection
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

QUICK = {"retry_backoff": 0.001, "retry_backoff_max": 0.01}
AT_ONCE = {"breaker": 50, "breaker_volume": 4, "breaker_open": 0.2, "breaker_open_max": 0.2}
FOR_LONG = {"breaker": 50, "breaker_volume": 4, "breaker_open": 1000, "breaker_open_max": 1000}


def config_of(urls: list[str]) -> Config:
    one, both = urls[0], ", ".join(urls)
    clusters: dict[str, Value] = {
        "open": {"servers": one, **FOR_LONG},
        "statuses": {"servers": one, **FOR_LONG},
        "bodies": {"servers": one, **FOR_LONG},
        "read": {"servers": one, **FOR_LONG},
        "leavers": {"servers": one, **FOR_LONG},
        "other_statuses": {"servers": one, **FOR_LONG, "breaker_on": "error"},
        "trials": {"servers": one, **AT_ONCE, "breaker_trials": 2},
        "two": {"servers": both, **FOR_LONG},
        "budget": {"servers": both, "retry_on": "reset, 503", "retries": 5, "retry_budget_min": 3, **QUICK},
        "share": {"servers": both, "retry_on": "reset", "retry_budget": 20, "retry_budget_min": 0, **QUICK},
        "hedge": {"servers": both, "hedge_after": 0.3, "retry_budget_min": 1000000},
        "hedge_and_retry": {
            "servers": both,
            "hedge_after": 0.3,
            "retry_on": "reset, timeout",
            "retry_budget_min": 1000000,
            **QUICK,
        },
        "poor": {"servers": both, "hedge_after": 0.1, "retry_budget_min": 0, "retry_budget": 0},
        "one_each": {"servers": both, "hedge_after": 0.1, "max_connections": 1, "retry_budget_min": 1000000},
    }
    return {
        "middleware": {
            "stack": "census, guards, reads, by_path",
            "reads": {"class": "clusters.Reads"},
            "census": {"class": "routing.Census"},
            "guards": {"class": "clusters.Places"},
            "by_path": {"class": "clusters.ByPath"},
        },
        "logging": {"access_log_format": "json"},
        "clusters": clusters,
    }


@pytest.fixture(scope="module")
def proxy(plan: Plan) -> Iterator[Proxy]:
    with plan.origins("one", "two") as urls:
        with running_proxy(config_of(urls), python_path=[PLUGINS]) as proxy:
            with nothing_left_behind(proxy):
                yield proxy
                plan.close()


# --- breakers


@pytest.mark.parametrize(("cluster", "act", "status"), [("open", "reset", 502), ("statuses", "503", 503)])
def test_breaker_opens_when_too_much_fails(
    client: Client, plan: Plan, target: str, cluster: str, act: str, status: int
) -> None:
    target = f"/{cluster}{target}"
    plan.expect(target, act)
    assert [client.ask(post(target, b"x")).status for _ in range(4)] == [status] * 4
    assert plan.count(target) == 4
    for _ in range(3):
        answer = client.ask(get(target))
        assert answer.status == 503
        assert answer.get("proxy-status") == b"pyrox; error=destination_unavailable"
        assert answer.get("retry-after") is not None
    assert plan.count(target) == 4


def test_bodies_that_break_off_open_it(proxy: Proxy, plan: Plan, target: str) -> None:
    target = f"/bodies{target}"
    plan.expect(target, "part of a body")
    for _ in range(4):
        with Client(proxy.address) as client:
            client.send(get(target))
            assert not client.read_response().is_complete
    with Client(proxy.address) as client:
        assert client.ask(get(target)).status == 503
    assert plan.count(target) == 4


def test_bodies_that_break_off_while_a_middleware_reads_them_open_it(
    client: Client, plan: Plan, target: str
) -> None:
    target = f"/read{target}"
    plan.expect(target, "part of a body")
    assert [client.ask(get(target, "X-Read: 1")).status for _ in range(5)] == [502] * 4 + [503]
    assert plan.count(target) == 4


def test_clients_that_leave_open_nothing(proxy: Proxy, plan: Plan, target: str) -> None:
    def long_body(connection: OriginConnection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.read_until_closed()

    target = f"/leavers{target}"
    plan.expect(target, *[long_body] * 4, *["hang"] * 4, "ok")
    for number in range(8):
        with Client(proxy.address) as client:
            client.send(get(target))
            plan.wait_for(target, number + 1)
    with Client(proxy.address) as client:
        proxy.wait_until(lambda: client.ask(get("/places")).body.strip() == b"{}", "all gone")
        assert client.ask(get(target)).status == 200


def test_statuses_that_are_not_named_open_nothing(client: Client, plan: Plan, target: str) -> None:
    target = f"/other_statuses{target}"
    plan.expect(target, "503")
    assert [client.ask(get(target)).status for _ in range(8)] == [503] * 8
    assert plan.count(target) == 8


def test_other_server_takes_it_all_while_a_breaker_is_open(client: Client, plan: Plan, target: str) -> None:
    def fail_at_one(connection: OriginConnection) -> None:
        plan.reset_at("one", connection)

    target = f"/two{target}"
    plan.expect(target, fail_at_one)
    statuses = [client.ask(get(target)).status for _ in range(30)]
    assert Counter(statuses) == {502: 4, 200: 26}
    assert statuses[-20:] == [200] * 20


def test_half_open_breaker_lets_just_its_trials_through(proxy: Proxy, plan: Plan, target: str) -> None:
    """Twenty clients ask at the moment that it is half-open: two get through, and both must be well."""
    target, trial = f"/trials{target}", threading.Event()

    def answer_later(connection: OriginConnection) -> None:
        connection.origin.wait_for_event(trial)
        ok(connection)

    plan.expect(target, "reset", "reset", "reset", "reset", answer_later)
    with Client(proxy.address) as client:
        assert [client.ask(post(target, b"x")).status for _ in range(4)] == [502] * 4
    statuses: Counter[int] = Counter()

    def ask() -> None:
        with Client(proxy.address) as client:
            while plan.count(target) < 6:
                statuses[client.ask(get(target)).status] += 1

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    plan.wait_for(target, 6)
    proxy.wait_until(lambda: sum(thread.is_alive() for thread in threads) == 2, "an end but of the trials")
    with Client(proxy.address) as client:
        assert [client.ask(get(target)).status for _ in range(10)] == [503] * 10
    assert plan.count(target) == 6
    trial.set()
    for thread in threads:
        thread.join(30)
    assert set(statuses) == {200, 503}
    assert statuses[200] == 2
    with Client(proxy.address) as client:
        assert [client.ask(get(target)).status for _ in range(10)] == [200] * 10


# --- the budget


def test_full_outage_costs_no_more_than_the_budget(proxy: Proxy, plan: Plan, target: str) -> None:
    """Each request could be sent six times; all of them together cost three tries more."""
    target = f"/budget{target}"
    plan.expect(target, "reset", "503")
    with Client(proxy.address) as client:
        assert {client.ask(get(target)).status for _ in range(10)} <= {502, 503}
    assert plan.count(target) == 10 + 3


def test_retries_are_a_fifth_of_the_requests(proxy: Proxy, plan: Plan, target: str) -> None:
    target = f"/share{target}"
    plan.expect(target, "reset")

    def ask() -> None:
        with Client(proxy.address) as client:
            for _ in range(25):
                assert client.ask(get(target)).status == 502

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 200 < plan.count(target) <= 200 * 1.2


# --- hedges


@contextmanager
def slow(plan: Plan, target: str, *then: str) -> Iterator[threading.Event]:
    """The first server answers ``target`` when the event is set."""
    event = threading.Event()

    def answer_later(connection: OriginConnection) -> None:
        connection.origin.wait_for_event(event)
        connection.send(response(b"late", "Connection: close", status="203 Late"))
        connection.close()

    plan.expect(target, answer_later, *then)
    yield event
    event.set()


def test_second_server_is_asked_when_the_first_takes_long(
    proxy: Proxy, client: Client, plan: Plan, target: str
) -> None:
    target = f"/hedge{target}"
    plan.expect(target, "hang", "ok")
    assert client.ask(get(target)).status == 200
    first, second = plan.servers(target)
    assert first != second
    record = record_of(proxy, target)
    assert (record["upstream"], record["retries"]) == (plan.urls[second], 1)
    assert client.ask(get(target + "-next")).status == 200


def test_first_server_may_still_win(proxy: Proxy, client: Client, plan: Plan, target: str) -> None:
    target = f"/hedge{target}"
    with slow(plan, target, "hang") as event:
        client.send(get(target))
        plan.wait_for(target, 2)
        event.set()
        assert client.read_response().status == 203
    record = record_of(proxy, target)
    assert (record["upstream"], record["retries"]) == (plan.urls[plan.servers(target)[0]], 1)


@pytest.mark.parametrize("acts", [("reset", "ok"), ("ok", "reset")])
def test_one_that_fails_loses(client: Client, plan: Plan, target: str, acts: tuple[str, str]) -> None:
    """Both are asked; whichever fails, the other's answer counts."""
    target = f"/hedge{target}"
    both = threading.Barrier(2, timeout=20)

    def at_once(act: str):  # type: ignore[no-untyped-def]
        def run(connection: OriginConnection) -> None:
            both.wait()
            if act == "reset":
                connection.reset()
            else:
                ok(connection)

        return run

    plan.expect(target, *map(at_once, acts))
    assert client.ask(get(target)).status == 200


def test_when_both_fail_the_first_failure_is_the_answer(client: Client, plan: Plan, target: str) -> None:
    target = f"/hedge{target}"
    both = threading.Barrier(2, timeout=20)

    def fail(connection: OriginConnection) -> None:
        both.wait()
        connection.reset()

    plan.expect(target, fail)
    assert client.ask(get(target)).status == 502
    assert plan.count(target) == 2


def test_hedge_and_retries_go_together(client: Client, plan: Plan, target: str) -> None:
    target = f"/hedge_and_retry{target}"
    both = threading.Barrier(2, timeout=20)

    def fail(connection: OriginConnection) -> None:
        both.wait()
        connection.reset()

    plan.expect(target, fail, fail, "ok")
    assert client.ask(get(target)).status == 200
    assert plan.count(target) >= 3  # more when the machine is so slow that the third is hedged, too


def test_post_is_never_hedged(client: Client, plan: Plan, target: str) -> None:
    target = f"/poor{target}"
    with slow(plan, target, "ok") as event:
        client.send(post(target, b"pay"))
        assert client.is_silent(0.5)
        event.set()
        assert client.read_response().status == 203
    assert plan.count(target) == 1


def test_hedge_needs_a_budget(client: Client, plan: Plan, target: str) -> None:
    target = f"/poor{target}"
    with slow(plan, target, "ok") as event:
        client.send(get(target))
        assert client.is_silent(0.5)
        event.set()
        assert client.read_response().status == 203
    assert plan.count(target) == 1


def test_body_that_is_still_coming_is_not_hedged(client: Client, plan: Plan, target: str) -> None:
    target = f"/hedge{target}"
    client.send(get(target, "Content-Length: 2", method="PUT") + b"o")
    plan.wait_for(target, 1)
    assert client.is_silent(1.2)
    client.send(b"k")
    assert client.read_response().status == 200
    assert [arrival.request.body for arrival in plan.arrivals[target]] == [b"ok"]


def test_body_that_is_whole_is_hedged(client: Client, plan: Plan, target: str) -> None:
    target = f"/hedge{target}"
    plan.expect(target, "hang", "ok")
    client.send(get(target, "Transfer-Encoding: chunked", method="PUT") + b"2\r\nok\r\n0\r\n\r\n")
    assert client.read_response().status == 200
    assert plan.arrivals[target][1].request.body == b"ok"


def test_client_that_leaves_ends_both(proxy: Proxy, plan: Plan, target: str) -> None:
    target = f"/one_each{target}"
    plan.expect(target, "hang")
    with Client(proxy.address) as client:
        client.send(get(target))
        plan.wait_for(target, 2)
    assert record_of(proxy, target)["status"] == 499
    with Client(proxy.address) as client:
        proxy.wait_until(lambda: client.ask(get("/places")).body.strip() == b"{}", "places given back")
        assert client.ask(get(target + "-next")).status == 200
