"""What goes to another server when one fails, how often, and what never does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, nothing_left_behind, post, record_of, records_of, response
from tests.integration.plan import Early, Plan
from tests.integration.test_retries import refusing_port
from tests.support.config import Config, Value
from tests.support.origin import OriginConnection
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

ALWAYS = {"retry_budget_min": 1000000, "retry_backoff": 0.001, "retry_backoff_max": 0.01}
ANYTHING = "connect, reset, timeout, invalid, 503, 429"
METHODS = ["GET", "HEAD", "OPTIONS", "DELETE", "QUERY"]


def config_of(urls: list[str], closed: str) -> Config:
    both = ", ".join(urls)
    clusters: dict[str, Value] = {
        "all": {"servers": both, "retry_on": ANYTHING, **ALWAYS},
        "none": {"servers": both, "max_exchanges": 1000},  # has a guard, and no retries
        "short": {"servers": both, "retry_on": ANYTHING, "retry_body": 100, **ALWAYS},
        "late": {"servers": both, "retry_on": "timeout", "try_timeout": 2, **ALWAYS},
        "late_once": {"servers": both, "try_timeout": 2},
        "alone": {"servers": urls[0], "retry_on": ANYTHING, **ALWAYS},
        "half": {"servers": f"{closed}, {urls[0]}", "retry_on": ANYTHING, "retries": 1, **ALWAYS},
        "down": {"servers": closed, "retry_on": ANYTHING, **ALWAYS},
        # A pause of years, so that chance cannot make it short.
        "slowly": {
            "servers": both,
            "retry_on": "503",
            "retry_backoff": "8000h",
            "retry_backoff_max": "8000h",
        },
    }
    return {
        "middleware": {
            "stack": "census, by_path",
            "census": {"class": "routing.Census"},
            "by_path": {"class": "clusters.ByPath"},
        },
        "routes": {"brief": {"match": "Header(`X-Brief`, `1`)", "cluster": "slowly", "exchange": 0.5}},
        "logging": {"access_log_format": "json"},
        "clusters": clusters,
    }


@pytest.fixture(scope="module")
def proxy(plan: Plan) -> Iterator[Proxy]:
    with refusing_port() as closed, plan.origins("one", "two") as urls:
        with running_proxy(config_of(urls, closed), python_path=[PLUGINS]) as proxy:
            with nothing_left_behind(proxy):
                yield proxy
                plan.close()  # so that no connection is left


# --- idempotent methods


@pytest.mark.parametrize(
    "failure",
    ["reset", "close", "part of a head", "garbage", "503", "429"],
    ids=lambda text: text.replace(" ", "-"),
)
def test_get_that_fails_at_one_server_is_answered_by_the_other(
    proxy: Proxy, client: Client, plan: Plan, target: str, failure: str
) -> None:
    target = f"/all{target}"
    plan.expect(target, failure, "ok")
    answer = client.ask(get(target))
    assert (answer.status, answer.body) == (200, b"ok")
    first, second = plan.servers(target)
    assert first != second
    assert (answer.get("x-server") or b"").decode() == second
    record = record_of(proxy, target)
    assert (record["status"], record["retries"], record["error"]) == (200, 1, None)


@pytest.mark.parametrize("method", METHODS)
def test_every_idempotent_method_is_sent_again(client: Client, plan: Plan, target: str, method: str) -> None:
    target = f"/all{target}"
    plan.expect(target, "reset", "204")
    assert client.ask(get(target, method=method), method).status == 204
    assert plan.count(target) == 2


def test_server_that_answered_is_the_one_in_the_access_log(
    proxy: Proxy, client: Client, plan: Plan, target: str
) -> None:
    target = f"/half{target}"
    answers = [client.ask(get(target)) for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert plan.servers(target) == ["one"] * 4
    records = records_of(proxy, target, 4)
    assert {record["upstream"] for record in records} == {plan.urls["one"]}
    assert {record["retries"] for record in records} >= {1}  # some met the closed port first


def test_slow_server_is_given_up_after_try_timeout(client: Client, plan: Plan, target: str) -> None:
    target = f"/late{target}"
    plan.expect(target, "hang", "ok")
    assert client.ask(get(target)).status == 200
    first, second, *_ = plan.servers(target)
    assert first != second


def test_try_timeout_alone_is_a_504(proxy: Proxy, client: Client, plan: Plan, target: str) -> None:
    target = f"/late_once{target}"
    plan.expect(target, "hang")
    answer = client.ask(get(target))
    assert answer.status == 504
    assert answer.get("proxy-status") == b"pyrox; error=http_response_timeout"
    assert plan.count(target) == 1
    assert client.ask(get(target + "-next")).status == 200  # on the same connection


def test_last_failure_is_the_answer_when_all_tries_fail(
    proxy: Proxy, client: Client, plan: Plan, target: str
) -> None:
    target = f"/all{target}"
    plan.expect(target, "reset", "503", "reset")
    assert client.ask(get(target)).status == 502
    assert plan.count(target) == 3
    assert record_of(proxy, target)["retries"] == 2


def test_last_answer_is_the_clients_when_all_are_failures(client: Client, plan: Plan, target: str) -> None:
    target = f"/all{target}"
    plan.expect(target, "503", "503", "429")
    answer = client.ask(get(target))
    assert (answer.status, answer.body) == (429, b"no")
    assert plan.count(target) == 3


def test_only_server_is_asked_again_after_a_pause(client: Client, plan: Plan, target: str) -> None:
    target = f"/alone{target}"
    plan.expect(target, "503", "reset", "ok")
    assert client.ask(get(target)).status == 200
    assert plan.count(target) == 3


def test_retry_after_that_is_longer_than_the_longest_pause_is_left_to_the_client(
    client: Client, plan: Plan, target: str
) -> None:
    target = f"/alone{target}"
    for value in ("60", "Sun, 06 Nov 1994 08:49:37 GMT"):
        busy = response(b"", f"Retry-After: {value}", "Connection: close", status="503 Busy")
        plan.expect(target, lambda connection, busy=busy: connection.send(busy))
        before = plan.count(target)
        answer = client.ask(get(target))
        assert (answer.status, answer.get("retry-after")) == (503, value.encode())
        assert plan.count(target) == before + 1


def test_answer_of_another_status_is_not_touched(client: Client, plan: Plan, target: str) -> None:
    target = f"/all{target}"
    plan.expect(target, "500", "ok")
    assert client.ask(get(target)).status == 500
    assert plan.count(target) == 1


def test_without_retry_on_nothing_is_sent_again(client: Client, plan: Plan, target: str) -> None:
    for failure, status in (("reset", 502), ("503", 503), ("garbage", 502)):
        name = f"/none{target}-{failure}"
        plan.expect(name, failure, "ok")
        assert client.ask(get(name)).status == status
        assert plan.count(name) == 1


def test_server_that_takes_no_connection_is_asked_again_when_it_is_the_only_one(
    proxy: Proxy, client: Client, target: str
) -> None:
    target = f"/down{target}"
    answer = client.ask(post(target, b"pay"))
    assert answer.status == 502
    assert answer.get("proxy-status") == b"pyrox; error=connection_refused"
    assert record_of(proxy, target)["retries"] == 2


# --- what must never be


@pytest.mark.parametrize("cluster", ["all", "late", "alone"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "failure", ["reset", "close", "part of a head", "garbage", "503"], ids=lambda text: text.replace(" ", "-")
)
def test_post_that_a_server_has_seen_is_never_sent_again(
    client: Client, plan: Plan, target: str, cluster: str, method: str, failure: str
) -> None:
    target = f"/{cluster}{target}"
    plan.expect(target, failure, "ok")
    answer = client.ask(post(target, b"pay", method=method))
    assert answer.status == (503 if failure == "503" else 502)
    assert plan.count(target) == 1


def test_post_that_takes_too_long_is_never_sent_again(client: Client, plan: Plan, target: str) -> None:
    target = f"/late{target}"
    plan.expect(target, "hang", "ok")
    assert client.ask(post(target, b"pay")).status == 504
    assert plan.count(target) == 1


def test_post_to_a_refusing_server_goes_to_the_other_once(client: Client, plan: Plan, target: str) -> None:
    target = f"/half{target}"
    body = bytes(range(256)) * 1000
    for _ in range(4):
        assert client.ask(post(target, body)).status == 200
    assert [arrival.request.body == body for arrival in plan.arrivals[target]] == [True] * 4


def test_post_on_a_connection_that_its_server_just_closed_is_executed_once(
    client: Client, plan: Plan, target: str
) -> None:
    """The server reads it and resets: whether it did what it was asked, nobody knows."""
    target = f"/alone{target}"
    plan.expect(target + "-first", "ok, and more")
    assert client.ask(get(target + "-first")).status == 200
    plan.expect(target, "reset", "ok")
    assert client.ask(post(target, b"pay")).status == 502
    assert plan.count(target) == 1


def test_response_that_has_begun_is_never_retried(
    proxy: Proxy, client: Client, plan: Plan, target: str
) -> None:
    target = f"/all{target}"
    plan.expect(target, "part of a body", "ok")
    client.send(get(target))
    answer = client.read_response()
    assert (answer.status, answer.is_complete, answer.body) == (200, False, b"half")
    assert plan.count(target) == 1
    record = record_of(proxy, target)
    assert (record["retries"], record["error"]) == (0, "connection_terminated")


def test_upgrade_is_never_retried(client: Client, plan: Plan, target: str) -> None:
    target = f"/all{target}"
    plan.expect(target, "reset", "ok")
    assert client.ask(get(target, "Connection: upgrade", "Upgrade: websocket")).status == 502
    assert plan.count(target) == 1


# --- bodies


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("failure", ["reset", "503"])
def test_body_is_sent_again_as_it_was(
    client: Client, plan: Plan, target: str, chunked: bool, failure: str
) -> None:
    target = f"/all{target}"
    plan.expect(target, failure, failure, "ok")
    body = bytes(range(256)) * 200
    client.send(request_with(target, body, chunked))
    client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
    assert client.read_response().status == 200
    assert [arrival.request.body == body for arrival in plan.arrivals[target]] == [True] * 3


def request_with(target: str, body: bytes, chunked: bool) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    return get(target, framing, method="PUT")


def test_body_that_is_on_its_way_goes_on_to_the_other_server(client: Client, plan: Plan, target: str) -> None:
    """The first server answers 503 when it has half of it; the second gets that half, and then the rest."""
    target = f"/all{target}"

    def answer_early(connection: OriginConnection) -> None:
        connection.read_exactly(5)
        connection.send(response(b"no", status="503 Busy"))

    plan.expect(target, Early(answer_early), "ok")
    client.send(get(target, "Content-Length: 10", method="PUT") + b"first")
    plan.wait_for(target, 2)
    client.send(b"later")
    assert client.read_response().status == 200
    assert plan.arrivals[target][-1].request.body == b"firstlater"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_body_that_is_longer_than_what_is_kept_is_not_sent_again(
    client: Client, plan: Plan, target: str, chunked: bool
) -> None:
    target = f"/short{target}"
    body = b"x" * 101
    plan.expect(target, "503", "ok")
    client.send(request_with(target, body, chunked))
    plan.wait_for(target, 1)
    client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
    assert client.read_response().status == 503
    assert [arrival.request.body for arrival in plan.arrivals[target]] == [body]


# --- clients


def test_client_that_leaves_during_the_pause_ends_it(proxy: Proxy, plan: Plan, target: str) -> None:
    target = f"/slowly{target}"
    plan.expect(target, "503", "ok")
    with Client(proxy.address) as client:
        client.send(get(target))
        plan.wait_for(target, 1)
    record = record_of(proxy, target)
    assert record["status"] == 499
    assert plan.count(target) == 1


def test_exchange_timeout_ends_the_pause(proxy: Proxy, client: Client, plan: Plan, target: str) -> None:
    target = f"/slowly{target}"
    plan.expect(target, "503", "ok")
    assert client.ask(get(target, "X-Brief: 1")).status == 504
    assert plan.count(target) == 1
    assert record_of(proxy, target)["error"] == "http_response_timeout"
