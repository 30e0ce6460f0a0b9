"""The script in Redis and the arithmetic in Python come to the same, step by step."""

from __future__ import annotations

import random

import pytest

from pyrox.middleware.limiting import redis_store
from pyrox.middleware.limiting.demands import STRATEGIES, Demand
from pyrox.middleware.limiting.memory_store import SharedMemoryStorage
from pyrox.shared_memory import forget_own_memory
from tests.support.redis_server import RedisServer

# In microseconds, and without a remainder in binary seconds: both sides round alike.
PAUSES = (0, 0, 0, 15_625, 250_000, 1_000_000, 3_750_000, 9_984_375, 10_000_000, 25_000_000)


class Clock:
    microseconds = 5_000_000_000

    def __call__(self) -> float:
        return self.microseconds / 1e6


def script_with_a_clock() -> str:
    """The script with the time from its last two arguments, and with keys that stay for an hour."""
    text = redis_store._SCRIPT.decode()
    for old, new in (
        ("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}"),
        ("math.max(math.ceil((expires - now) / 1000), 1)", "3600000"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_redis_and_memory_judge_alike(strategy: str) -> None:
    with RedisServer() as server:
        take = server.client().register_script(script_with_a_clock())
        for seed in range(40):
            _compare(strategy, random.Random(seed), take, seed)


def _compare(strategy: str, choose: random.Random, take: object, seed: int) -> None:
    forget_own_memory()
    clock = Clock()
    memory = SharedMemoryStorage(name="model", most_keys=64, clock=clock)
    for step in range(50):
        clock.microseconds += choose.choice(PAUSES)
        keys = choose.sample("abc", choose.randint(1, 3))
        demands = [Demand(strategy, memory.key(key), 7, 10, 5, choose.randint(1, 4)) for key in keys]
        arguments = [value for d in demands for value in (d.strategy, d.quota, d.window, d.burst, d.cost)]
        seconds, rest = divmod(clock.microseconds, 1_000_000)
        answer = take([f"{seed}-{key}" for key in keys], [*arguments, seconds, rest])  # type: ignore[operator]
        expected = memory.take(demands)
        for (granted, remaining, reset, retry), verdict, demand in zip(
            answer, expected, demands, strict=True
        ):
            where = (seed, step, demand)
            all_granted = all(each.granted for each in expected)
            left = verdict.remaining if all_granted or not granted else verdict.remaining - demand.cost
            assert (bool(granted), remaining) == (verdict.granted, left), where
            assert reset / 1e6 == pytest.approx(verdict.reset, abs=3e-6), where
            assert retry / 1e6 == pytest.approx(verdict.retry, abs=3e-6), where
