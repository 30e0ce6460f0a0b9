"""What an exchange does at a cluster with a guard, before a forwarder that does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
import pytest

from pyrox.errors import (
    ClientGone,
    ConnectError,
    NoHealthyServer,
    Overloaded,
    UpstreamClosed,
    UpstreamError,
    UpstreamTimeout,
)
from pyrox.green.attempt import GuardedExchange, StaleConnection
from pyrox.green.exchange import LiveExchange
from pyrox.green.failover import Failover
from pyrox.http.message import Request, Response
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.guard import Guard, GuardRules
from pyrox.upstreams.member import Member
from pyrox.upstreams.retry import RetryRules
from pyrox.upstreams.watcher import Watcher
from tests.unit.green.rig import Rig
from tests.unit.upstreams.kit import members

Act = BaseException | int | Callable[[GuardedExchange], int]

ANYTHING = RetryRules(
    retries=3,
    failures=frozenset(("reset", "timeout", "invalid")),
    statuses=frozenset((503,)),
    longest_body=100,
)
RULES = GuardRules(retry=ANYTHING, least_retries=100, server_limit=1, exchange_limit=1)


class Bench:
    """A failover whose tries end as ``acts`` say: a status, what is raised, or what a function does."""

    def __init__(self, *acts: Act, count: int = 2, rules: GuardRules = RULES) -> None:
        self.acts = list(acts)
        self.asked: list[Member] = []
        self.fresh: list[bool] = []
        self.open: list[GuardedExchange] = []
        self.cluster = Cluster("c", members(*[1] * count))
        self.guard = Guard(self.cluster, rules, lambda: 0.5)
        self.failover = Failover(self)  # type: ignore[arg-type]

    def current_exchange(self) -> LiveExchange | None:
        return None

    def try_once(self, attempt: GuardedExchange, exchange: LiveExchange | None, fresh: bool) -> Response:
        self.asked.append(attempt.member)
        self.fresh.append(fresh)
        act = self.acts.pop(0)
        if exchange is not None:
            exchange.connected_to(attempt)
        try:
            if isinstance(act, BaseException):
                raise act
            response = Response(act if isinstance(act, int) else act(attempt))
        except BaseException:
            attempt.close()
            raise
        self.open.append(attempt)
        if exchange is not None:
            exchange.answered_by_upstream(response)
        response.on_close(attempt.close)
        return response

    def forward(self, method: str = "GET", exchange: LiveExchange | None = None) -> Response:
        return self.failover.forward(self.guard, Request(method, "/"), exchange)

    def is_empty(self) -> bool:
        gate = self.guard.gate
        return not (
            gate.exchanges or gate.taken or gate.waiting or any(m.in_flight for m in self.cluster.members)
        )


class Blames(Watcher):
    def __init__(self) -> None:
        self.members: list[Member] = []

    def failed(self, member: Member, seconds: float, now: float) -> None:
        self.members.append(member)


def exchange_of(rig: Rig) -> LiveExchange:
    stream, _ = rig.client()
    return LiveExchange(stream, "10.0.0.1", 0.0)


# --- places


def test_place_is_taken_until_the_response_is_closed() -> None:
    bench = Bench(200)
    response = bench.forward()
    assert not bench.is_empty()
    with pytest.raises(Overloaded):
        bench.forward()
    response.close()
    assert bench.is_empty()


def test_place_is_given_back_when_the_response_is_here_as_a_whole() -> None:
    def answer_whole(attempt: GuardedExchange) -> int:
        attempt.close()
        return 200

    bench = Bench(answer_whole)
    bench.forward()
    assert bench.is_empty()


@pytest.mark.parametrize(
    "failure",
    [
        UpstreamClosed("reset"),
        UpstreamTimeout("late"),
        UpstreamError("garbage"),
        ClientGone("left"),
        ValueError("a bug"),
        SystemExit(1),
        gevent.Timeout(1),
        gevent.GreenletExit(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_place_is_given_back_whatever_is_raised(failure: BaseException) -> None:
    bench = Bench(failure)
    with pytest.raises(type(failure)):
        bench.forward("POST")
    assert bench.is_empty()
    assert len(bench.asked) == 1


def test_nobody_to_ask_takes_no_place() -> None:
    bench = Bench(count=1)
    bench.cluster.update_members([], 0.0)
    with pytest.raises(NoHealthyServer):
        bench.forward()
    assert bench.is_empty()


def test_full_servers_are_no_reason_to_drop_an_answer() -> None:
    """The only other one has no place: the 503 stands, and is not closed."""
    bench = Bench(503, rules=GuardRules(retry=ANYTHING, least_retries=100, server_limit=1))
    other = bench.guard.gate.enter(Request("GET", "/"), 0.0)
    assert other is not None
    response = bench.forward()
    assert response.status == 503
    assert not bench.open[0].is_closed


# --- tries


def test_refused_connection_goes_to_each_other_server_once_for_any_method() -> None:
    bench = Bench(*[ConnectError("refused")] * 3, count=3)
    with pytest.raises(ConnectError):
        bench.forward("POST")
    assert len(set(bench.asked)) == len(bench.asked) == 3
    assert bench.is_empty()


def test_stale_connection_is_tried_again_at_the_same_server_and_place() -> None:
    bench = Bench(StaleConnection("stale"), 200)
    bench.forward()
    assert bench.asked[0] is bench.asked[1]
    assert bench.fresh == [False, True]


@pytest.mark.parametrize(
    "failure", [UpstreamClosed("reset"), UpstreamTimeout("late"), UpstreamError("garbage"), 503]
)
def test_failure_goes_to_the_other_server(failure: Act) -> None:
    bench = Bench(failure, 200)
    assert bench.forward().status == 200
    assert bench.asked[0] is not bench.asked[1]


@pytest.mark.parametrize("failure", [UpstreamClosed("reset"), UpstreamTimeout("late"), 503])
def test_post_does_not(failure: Act) -> None:
    bench = Bench(failure, 200)
    if failure == 503:
        assert bench.forward("POST").status == 503
    else:
        with pytest.raises(UpstreamError):
            bench.forward("POST")
    assert len(bench.asked) == 1


def test_tries_are_as_many_as_the_rules_say() -> None:
    bench = Bench(*[503] * 10)
    assert bench.forward().status == 503
    assert len(bench.asked) == 1 + ANYTHING.retries
    assert [attempt.is_closed for attempt in bench.open] == [True, True, True, False]


def test_when_all_were_tried_the_last_is_not_the_next() -> None:
    bench = Bench(*[UpstreamClosed("reset")] * 4, count=2)
    with pytest.raises(UpstreamClosed):
        bench.forward()
    assert all(one is not two for one, two in zip(bench.asked, bench.asked[1:], strict=False))


def test_budget_ends_the_tries() -> None:
    rules = GuardRules(retry=ANYTHING, budget=0.0, least_retries=1)
    bench = Bench(*[503] * 10, rules=rules)
    assert [bench.forward().status for _ in range(3)] == [503] * 3
    assert len(bench.asked) == 4


# --- time


def wait_for_ever(attempt: GuardedExchange) -> int:
    gevent.sleep(60)
    return 200


def connected_and_waiting(attempt: GuardedExchange) -> int:
    attempt.connection = FakeConnection()  # type: ignore[assignment]
    attempt.pool = FakePool()  # type: ignore[assignment]
    return wait_for_ever(attempt)


def application_at_work(attempt: GuardedExchange) -> int:
    attempt.application = FakeApplication()  # type: ignore[assignment]
    return wait_for_ever(attempt)


class FakeConnection:
    stream: Any = None


class FakePool:
    def discard(self, connection: object) -> None: ...


class FakeApplication:
    may_read = False

    def close(self) -> None: ...


IN_TIME = GuardRules(retry=ANYTHING, least_retries=100, try_timeout=0.01, server_limit=1)


def test_post_whose_connection_is_not_there_in_time_goes_to_the_other_server() -> None:
    bench = Bench(wait_for_ever, 200, rules=IN_TIME)
    assert bench.forward("POST").status == 200


@pytest.mark.parametrize("act", [connected_and_waiting, application_at_work])
def test_post_that_may_have_been_seen_does_not(act: Act) -> None:
    """An application has no connection; that does not mean that it was not called."""
    bench = Bench(act, 200, rules=IN_TIME)
    with pytest.raises(UpstreamTimeout, match="try_timeout"):
        bench.forward("POST")
    assert len(bench.asked) == 1
    assert bench.is_empty()


@pytest.mark.parametrize("act", [connected_and_waiting, application_at_work])
def test_get_does(act: Act) -> None:
    bench = Bench(act, 200, rules=IN_TIME)
    assert bench.forward("GET").status == 200


def test_timeout_of_a_middleware_is_its_own() -> None:
    bench = Bench(
        connected_and_waiting, 200, rules=GuardRules(retry=ANYTHING, try_timeout=60.0, server_limit=1)
    )
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        bench.forward()
    assert bench.is_empty()


# --- exchanges that are given up


SLOWLY = RetryRules(
    retries=3, failures=frozenset(("reset",)), statuses=frozenset((503,)), pause=60.0, longest_pause=60.0
)


@pytest.mark.parametrize("act", [UpstreamClosed("reset"), 503])
def test_pause_ends_when_the_exchange_is_cancelled(rig: Rig, act: Act) -> None:
    bench = Bench(act, 200, rules=GuardRules(retry=SLOWLY, least_retries=100, server_limit=1))
    exchange = exchange_of(rig)
    gevent.spawn(exchange.cancel, ClientGone("left"))
    with pytest.raises(ClientGone):
        bench.forward("GET", exchange)
    assert bench.is_empty()
    assert exchange.waits == ()
    assert len(bench.asked) == 1


def test_wait_for_a_place_ends_when_the_exchange_is_cancelled(rig: Rig) -> None:
    bench = Bench(200, rules=GuardRules(server_limit=1, queue_limit=1), count=1)
    first = bench.forward()
    exchange = exchange_of(rig)
    gevent.spawn(exchange.cancel, ClientGone("left"))
    with pytest.raises(ClientGone):
        bench.forward("GET", exchange)
    first.close()
    assert bench.is_empty()


def test_place_that_comes_with_the_cancellation_is_given_back(rig: Rig) -> None:
    bench = Bench(200, rules=GuardRules(server_limit=1, queue_limit=1), count=1)
    first, exchange = bench.forward(), exchange_of(rig)

    def both() -> None:
        first.close()
        exchange.cancel(ClientGone("left"))

    gevent.spawn(both)
    with pytest.raises(ClientGone):
        bench.forward("GET", exchange)
    assert bench.is_empty()


def test_failure_of_an_exchange_that_was_cancelled_is_not_retried_and_nobodys_fault(rig: Rig) -> None:
    """As when the time of a whole exchange is over: what is raised looks like a server's failure."""
    exchange = exchange_of(rig)

    def expire(attempt: GuardedExchange) -> int:
        exchange.cancelled = UpstreamTimeout("the exchange took too long")
        raise exchange.cancelled

    bench = Bench(expire, 200)
    with pytest.raises(UpstreamTimeout, match="too long"):
        bench.forward("GET", exchange)
    assert len(bench.asked) == 1
    assert bench.is_empty()


@pytest.mark.parametrize(("waited", "blames"), [(-100.0, 1), (100.0, 0)], ids=["at once", "at last"])
def test_server_is_blamed_for_an_exchange_that_takes_too_long_when_it_had_most_of_the_time(
    rig: Rig, waited: float, blames: int
) -> None:
    exchange = exchange_of(rig)

    def be_late(attempt: GuardedExchange) -> int:
        exchange.started = monotonic() - waited
        exchange.cancelled = UpstreamTimeout("the exchange took too long")
        raise exchange.cancelled

    bench = Bench(be_late)
    bench.cluster.watch(watcher := Blames())
    with pytest.raises(UpstreamTimeout):
        bench.forward("GET", exchange)
    assert len(watcher.members) == blames
    assert bench.is_empty()


# --- hedges


HEDGED = GuardRules(hedge_after=0.01, least_retries=100, server_limit=1)


def test_loser_is_closed_and_its_place_free(rig: Rig) -> None:
    bench = Bench(connected_and_waiting, 200, rules=HEDGED)
    exchange = exchange_of(rig)
    response = bench.forward("GET", exchange)
    assert sum(bench.guard.gate.taken.values()) == 1
    assert exchange.retries == 1
    response.close()
    assert bench.is_empty()


def test_after_a_bad_answer_to_a_hedge_the_next_is_not_the_server_that_gave_it(rig: Rig) -> None:
    rules = GuardRules(retry=ANYTHING, hedge_after=0.01, least_retries=100)
    bench = Bench(connected_and_waiting, 503, 200, rules=rules)
    assert bench.forward("GET", exchange_of(rig)).status == 200
    assert bench.asked[2] is bench.asked[0]


def test_cancelled_exchange_ends_both(rig: Rig) -> None:
    bench = Bench(connected_and_waiting, connected_and_waiting, rules=HEDGED)
    exchange = exchange_of(rig)

    def leave() -> None:
        while len(bench.asked) < 2:
            gevent.sleep(0.001)
        exchange.cancel(ClientGone("left"))

    gevent.spawn(leave)
    with pytest.raises(ClientGone):
        bench.forward("GET", exchange)
    assert bench.is_empty()


def test_exchange_that_is_cancelled_already_makes_no_try(rig: Rig) -> None:
    bench = Bench(200, rules=HEDGED)
    exchange = exchange_of(rig)
    exchange.cancelled = ClientGone("left")
    with pytest.raises(ClientGone):
        bench.forward("GET", exchange)
    assert bench.asked == []
    assert bench.is_empty()


def test_both_answers_at_once_leave_one(rig: Rig) -> None:
    ready = gevent.event.Event()

    def answer(attempt: GuardedExchange) -> int:
        if len(bench.asked) == 2:
            ready.set()
        ready.wait()
        return 200

    bench = Bench(answer, answer, rules=HEDGED)
    response = bench.forward("GET", exchange_of(rig))
    assert sum(attempt.is_closed for attempt in bench.open) == len(bench.open) - 1
    response.close()
    assert bench.is_empty()


def test_fault_in_a_try_is_raised_as_it_is(rig: Rig) -> None:
    bench = Bench(ValueError("a bug"), rules=HEDGED)
    with pytest.raises(ValueError, match="a bug"):
        bench.forward("GET", exchange_of(rig))
    assert bench.is_empty()
