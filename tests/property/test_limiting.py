"""The stores of ``rate_limit`` against naive models, and the strategies of ``limits`` on our memory."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import limits
from hypothesis import given, settings
from hypothesis import strategies as st
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from pyrox.middleware.limiting.demands import Demand
from pyrox.middleware.limiting.memory_store import SharedMemoryStorage
from pyrox.middleware.limiting.table import Table
from pyrox.shared_memory import forget_own_memory

KEYS = "abcdef"
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.01, 0.4, 1.0, 3.7, 9.99, 10.0, 25.0]),  # seconds since the last one
        st.sampled_from(KEYS),
        st.integers(1, 4),  # cost
    ),
    max_size=80,
)


class Clock:
    now = 5000.0

    def __call__(self) -> float:
        return self.now


def store_and_clock(most_keys: int = 64) -> tuple[SharedMemoryStorage, Clock]:
    forget_own_memory()
    clock = Clock()
    return SharedMemoryStorage(name="model", most_keys=most_keys, clock=clock), clock


def demand(store: SharedMemoryStorage, strategy: str, key: str, cost: int, quota: int = 7) -> Demand:
    return Demand(strategy, store.key(key), quota, 10, quota, cost)


@given(STEPS)
def test_fixed_windows_are_those_of_a_list_of_hits(steps: list[tuple[float, str, int]]) -> None:
    store, clock = store_and_clock()
    ends: dict[str, float] = {}
    counts: dict[str, int] = {}
    for pause, key, cost in steps:
        clock.now += pause
        if clock.now >= ends.get(key, 0.0):
            counts[key] = 0
        expected = counts[key] + cost <= 7
        [verdict] = store.take([demand(store, "fixed_window", key, cost)])
        assert verdict.granted == expected
        if expected:
            if clock.now >= ends.get(key, 0.0):
                ends[key] = clock.now + 10
            counts[key] += cost
        assert verdict.remaining == 7 - counts[key]


@given(STEPS)
def test_sliding_window_never_lets_more_than_the_quota_into_one_window_of_its_own(
    steps: list[tuple[float, str, int]],
) -> None:
    store, clock = store_and_clock()
    granted: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for pause, key, cost in steps:
        clock.now += pause
        [verdict] = store.take([demand(store, "sliding_window", key, cost)])
        if verdict.granted:
            granted[key].append((clock.now, cost))
        # Whatever is counted, at most twice the quota can stand in any ten seconds, and at least what a
        # fixed window of ten seconds without a hit before it would let in is let in.
        recent = sum(c for at, c in granted[key] if at > clock.now - 10)
        assert recent <= 13
        if not verdict.granted:
            assert sum(c for at, c in granted[key] if at > clock.now - 20) + cost > 7


@given(STEPS)
def test_bucket_is_a_bucket(steps: list[tuple[float, str, int]]) -> None:
    store, clock = store_and_clock()
    tokens: dict[str, float] = defaultdict(lambda: 7.0)
    seen: dict[str, float] = {}
    for pause, key, cost in steps:
        clock.now += pause
        tokens[key] = min(7.0, tokens[key] + (clock.now - seen.get(key, clock.now)) * 0.7)
        seen[key] = clock.now
        [verdict] = store.take([demand(store, "token_bucket", key, cost)])
        if abs(tokens[key] - cost) > 1e-5:
            assert verdict.granted == (tokens[key] >= cost)
        tokens[key] -= cost if verdict.granted else 0
        assert abs(verdict.remaining - tokens[key]) < 1 + 1e-5


@given(STEPS, st.sampled_from(["fixed_window", "sliding_window", "token_bucket"]))
def test_retry_is_as_early_as_can_be_and_not_earlier(
    steps: list[tuple[float, str, int]], strategy: str
) -> None:
    store, clock = store_and_clock()
    for pause, key, cost in steps:
        clock.now += pause
        [verdict] = store.take([demand(store, strategy, key, cost)])
        if verdict.granted:
            assert verdict.retry == 0
            continue
        assert 0 <= verdict.retry <= 20
        before = clock.now
        if verdict.retry > 0.01:
            clock.now = before + verdict.retry - 0.005
            assert not store.take([demand(store, strategy, key, cost)])[0].granted
        clock.now = before + verdict.retry + 0.001
        assert store.take([demand(store, strategy, key, cost)])[0].granted


@given(STEPS)
def test_demands_are_met_together_or_not_at_all(steps: list[tuple[float, str, int]]) -> None:
    store, clock = store_and_clock()
    alone, other_clock = SharedMemoryStorage(name="alone", most_keys=64, clock=clock), clock
    assert other_clock is clock
    for pause, key, cost in steps:
        clock.now += pause
        pair = [demand(store, "fixed_window", "all", cost, 20), demand(store, "fixed_window", key, cost)]
        verdicts = store.take(pair)
        single = [d._replace(key=alone.key(name)) for d, name in zip(pair, ("all", key), strict=True)]
        possible = all(alone.take([d._replace(cost=0)])[0].remaining >= d.cost for d in single)
        assert all(v.granted for v in verdicts) == possible
        if possible:
            for each in single:
                alone.take([each])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0.1, 50.0)), max_size=400))
def test_table_remembers_what_has_not_expired_unless_it_is_full(entries: list[tuple[int, float]]) -> None:
    forget_own_memory()
    table = Table("model", 16)  # one bucket of 32
    model: dict[bytes, tuple[float, float]] = {}
    now = 1.0
    for number, life in entries:
        now += 0.25
        key = number.to_bytes(2, "big") * 8
        record = table.find(key)
        live = {k: v for k, v in model.items() if v[0] > now}
        if len(live) <= 32 and key in live:
            assert record >= 0
            assert table.read(record)[:2] == live[key]
        if record < 0:
            table.add(key, now, now + life, number, 0, 0)
            if len(live) >= 32 and key not in live:
                del live[min(live, key=lambda k: live[k][0])]
        else:
            table.write(record, now + life, number, 0, 0)
        model = {**live, key: (now + life, float(number))}
        assert len([k for k in model if table.find(k) >= 0]) == min(len(model), 32)


@given(STEPS, st.sampled_from([FixedWindowRateLimiter, SlidingWindowCounterRateLimiter]))
def test_strategies_of_the_library_work_on_our_memory(
    steps: list[tuple[float, str, int]], strategy: Any
) -> None:
    store, clock = store_and_clock()
    limiter = strategy(store)
    item = limits.RateLimitItemPerSecond(7, 10)
    for pause, key, _ in steps:
        clock.now += pause
        could = limiter.test(item, key)
        before = limiter.get_window_stats(item, key).remaining
        assert limiter.hit(item, key) == could == (before > 0)
        if could:
            assert limiter.get_window_stats(item, key).remaining == before - 1
    limiter.clear(item, "a")
    assert limiter.get_window_stats(item, "a").remaining == 7
    assert store.check()
    store.reset()
    assert all(limiter.get_window_stats(item, key).remaining == 7 for key in KEYS)
