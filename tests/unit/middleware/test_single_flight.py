"""The cache in front of slow services: one question at a time, and what is done with its outcome."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from pyrox.middleware.service import ServiceError
from pyrox.middleware.single_flight import ExpiringDict, Fetched, SingleFlightCache


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """Answers with what the test put in; counts how often it was asked."""

    def __init__(self, ttl: float = 10.0) -> None:
        self.ttl = ttl
        self.asked = 0
        self.fails = False
        self.refuses = False

    def __call__(self) -> Fetched[int]:
        self.asked += 1
        if self.fails:
            raise ServiceError("http://s: down", "unreachable")
        return Fetched(self.asked, self.ttl, self.refuses)


class Slow:
    """A service that is being asked until the test lets it answer."""

    def __init__(self, outcome: Callable[[], Fetched[str]]) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.outcome = outcome
        self.count = 0

    def __call__(self) -> Fetched[str]:
        self.count += 1
        self.asked.set()
        assert self.may_answer.wait(10)
        return self.outcome()


class Caller(threading.Thread):
    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.result: object = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.call()
        except BaseException as error:
            self.result = error

    def outcome(self) -> object:
        self.join(10)
        assert not self.is_alive()
        return self.result


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_expiring_dict_forgets_at_its_time_and_the_oldest_when_full(clock: Clock) -> None:
    memory: ExpiringDict[str, int] = ExpiringDict(2, clock)
    memory.put("a", 1, 1010.0)
    memory.put("b", 2, 1020.0)
    memory.put("a", 3, 1030.0)  # now b is the oldest
    memory.put("c", 4, 1040.0)
    assert (memory.get("a"), memory.get("b"), memory.get("c"), len(memory)) == (3, None, 4, 2)
    clock.now = 1030.0
    assert (memory.get("a"), memory.get("c")) == (None, 4)
    memory.discard("c")
    memory.discard("never there")
    assert memory.get("c") is None
    memory.clear()
    assert len(memory) == 0


def test_answer_is_asked_for_once_until_its_time_is_over(clock: Clock) -> None:
    cache: SingleFlightCache[str, int] = SingleFlightCache(10, clock=clock)
    service = Service()
    assert [cache.get("a", service), cache.get("a", service), cache.get("b", service)] == [1, 1, 2]
    clock.now += 10.0
    assert cache.get("a", service) == 3
    cache.forget("a")
    assert cache.get("a", service) == 4


def test_without_stale_answers_a_failure_is_raised_and_told_again_for_a_while(clock: Clock) -> None:
    cache: SingleFlightCache[str, int] = SingleFlightCache(10, failure_ttl=2.0, clock=clock)
    service = Service()
    cache.get("a", service)
    clock.now += 10.0
    service.fails = True
    raised = []
    for _ in range(3):
        with pytest.raises(ServiceError, match="http://s: down") as caught:
            cache.get("a", service)
        raised.append(caught.value)
    assert service.asked == 2
    assert len(set(map(id, raised))) == 3  # each exchange gets an exception of its own
    clock.now += 2.0
    service.fails = False
    assert cache.get("a", service) == 3


def test_failure_that_is_remembered_holds_nothing_of_the_request(clock: Clock) -> None:
    class Large:
        """Stands for what a request has at hand."""

    def fails() -> Fetched[int]:
        large = Large()
        at_hand.append(weakref.ref(large))
        raise ServiceError("http://s: down", "unreachable")

    at_hand: list[weakref.ref[Large]] = []
    cache: SingleFlightCache[str, int] = SingleFlightCache(10, clock=clock)
    with pytest.raises(ServiceError):
        cache.get("a", fails)
    gc.collect()
    assert [reference() for reference in at_hand] == [None]
    with pytest.raises(ServiceError, match="down"):
        cache.get("a", fails)


def test_stale_answer_is_used_while_the_service_fails_but_not_forever(clock: Clock) -> None:
    cache: SingleFlightCache[str, int] = SingleFlightCache(10, max_stale=60.0, stale_ttl=5.0, clock=clock)
    service = Service()
    assert cache.get("a", service) == 1
    service.fails = True
    clock.now += 10.0
    assert [cache.get("a", service) for _ in range(3)] == [1, 1, 1]
    assert service.asked == 2  # not with each request
    clock.now += 5.0
    assert cache.get("a", service) == 1
    assert service.asked == 3
    clock.now = 1000.0 + 70.0
    with pytest.raises(ServiceError):
        cache.get("a", service)


def test_newer_than_asks_again_but_only_so_often_even_when_asking_fails(clock: Clock) -> None:
    cache: SingleFlightCache[str, int] = SingleFlightCache(10, max_stale=60.0, clock=clock)
    service = Service(ttl=100.0)
    assert cache.get("a", service) == 1
    assert cache.get("a", service, newer_than=5.0) == 1
    clock.now += 5.0
    assert cache.get("a", service, newer_than=5.0) == 2
    service.fails = True
    clock.now += 5.0
    assert cache.get("a", service, newer_than=5.0) == 2
    assert cache.get("a", service, newer_than=5.0) == 2
    assert service.asked == 3


def test_refusals_drive_out_no_answers(clock: Clock) -> None:
    cache: SingleFlightCache[int, int] = SingleFlightCache(3, clock=clock)
    good, bad = Service(), Service()
    bad.refuses = True
    cache.get(0, good)
    for key in range(1, 50):
        cache.get(key, bad)
    bad.fails = True
    for key in range(50, 100):
        with pytest.raises(ServiceError):
            cache.get(key, bad)
    assert cache.get(0, good) == 1
    assert good.asked == 1


def test_refusal_that_becomes_an_answer_is_one(clock: Clock) -> None:
    cache: SingleFlightCache[str, int] = SingleFlightCache(3, clock=clock)
    service = Service()
    service.refuses = True
    assert cache.get("a", service) == 1
    clock.now += 10.0
    service.refuses = False
    assert [cache.get("a", service), cache.get("a", service)] == [2, 2]


def test_many_who_ask_at_once_are_answered_by_one_question() -> None:
    cache: SingleFlightCache[str, str] = SingleFlightCache(10)
    slow = Slow(lambda: Fetched("answer", 10.0))
    callers = [Caller(lambda: cache.get("a", slow)) for _ in range(20)]
    assert slow.asked.wait(10)
    assert cache.get("b", lambda: Fetched("another", 10.0)) == "another"  # other keys do not wait
    slow.may_answer.set()
    assert [caller.outcome() for caller in callers] == ["answer"] * 20
    assert slow.count == 1


def test_failure_of_the_one_who_asks_is_that_of_all_who_wait() -> None:
    cache: SingleFlightCache[str, str] = SingleFlightCache(10, failure_ttl=30.0)

    def fail() -> Fetched[str]:
        raise ServiceError("down", "timeout")

    slow = Slow(fail)
    callers = [Caller(lambda: cache.get("a", slow)) for _ in range(5)]
    assert slow.asked.wait(10)
    slow.may_answer.set()
    outcomes = [caller.outcome() for caller in callers]
    assert [(type(outcome), outcome.trouble) for outcome in outcomes] == [(ServiceError, "timeout")] * 5  # type: ignore[attr-defined]
    assert slow.count == 1


def test_when_the_one_who_asks_is_stopped_another_asks() -> None:
    class Stopped(BaseException):
        pass

    cache: SingleFlightCache[str, str] = SingleFlightCache(10)
    stopped = threading.Event()

    def stop_once() -> Fetched[str]:
        if not stopped.is_set():
            stopped.set()
            raise Stopped
        return Fetched("answer", 10.0)

    slow = Slow(stop_once)
    callers = [Caller(lambda: cache.get("a", slow)) for _ in range(5)]
    assert slow.asked.wait(10)
    slow.may_answer.set()
    outcomes = [caller.outcome() for caller in callers]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Stopped", *["str"] * 4]
    assert slow.count == 2


def test_others_use_the_stale_answer_while_one_asks(clock: Clock) -> None:
    cache: SingleFlightCache[str, str] = SingleFlightCache(10, max_stale=60.0, clock=clock)
    assert cache.get("a", lambda: Fetched("old", 10.0)) == "old"
    clock.now += 10.0
    slow = Slow(lambda: Fetched("new", 10.0))
    asking = Caller(lambda: cache.get("a", slow))
    assert slow.asked.wait(10)
    assert cache.get("a", slow) == "old"
    waiting = Caller(lambda: cache.get("a", slow, newer_than=1.0))  # the old one is not enough for it
    slow.may_answer.set()
    assert [asking.outcome(), waiting.outcome(), cache.get("a", slow)] == ["new", "new", "new"]
    assert slow.count == 1
