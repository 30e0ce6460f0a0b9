"""Rate limits of several workers, proxies and a real Redis: exactly as many pass as may.

The quotas are for a day, so that none comes back while a test runs.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get
from tests.support.burst import burst
from tests.support.config import Config
from tests.support.masters import Master
from tests.support.proxy import Proxy, running_proxy
from tests.support.redis_server import RedisServer
from tests.support.wire import Client, PeerClosed

# As an environment variable for longer runs by hand.
REQUESTS = int(os.environ.get("PYROX_TEST_RATE_REQUESTS", "1000"))
QUOTA = REQUESTS // 3 + 1
STRATEGIES = ("fixed_window", "sliding_window", "token_bucket")


def config(**options: Any) -> Config:
    """One section for each strategy, chosen by the query; ``health`` answers what passes."""
    sections = {
        strategy: {
            "class": "pyrox.middleware.rate_limit.RateLimit",
            "when": f"Query(`by`, `{strategy}`)",
            "policies": f"{QUOTA}/day per client",
            "strategy": strategy,
            **options,
        }
        for strategy in STRATEGIES
    }
    return {
        "core": {"pid_file": "pyrox.pid", "graceful_timeout": 5},
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "middleware": {
            "stack": ["tell", *STRATEGIES, "health"],
            "tell": {"class": "processes.TellWorker"},
            **sections,
        },
    }


def ask(by: str, *fields: str) -> bytes:
    return get(f"/-/healthy?by={by}", *fields)


def statuses(proxy: Proxy, by: str, count: int = 1) -> list[int]:
    with Client(proxy.address) as client:
        return [client.ask(ask(by)).status for _ in range(count)]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_four_workers_let_exactly_the_quota_pass(store: str, request: pytest.FixtureRequest) -> None:
    options: dict[str, Any] = {"on_store_error": "deny", "store_timeout": 5}
    if store == "redis":
        options |= {"store": request.getfixturevalue("redis_server").url, "prefix": "four"}
    with running_proxy(config(**options), workers=4, python_path=[PLUGINS]) as proxy:
        proxy.worker_pids(4)
        for strategy in STRATEGIES:
            result = burst([proxy.address], ask(strategy), REQUESTS)
            assert result.statuses == {200: QUOTA, 429: REQUESTS - QUOTA}, strategy
            assert len(result.workers) > 1


def test_two_proxies_on_one_redis_share_one_quota(redis_server: RedisServer) -> None:
    shared = config(store=redis_server.url, prefix="two", on_store_error="deny", store_timeout=5)
    with running_proxy(shared, workers=2, python_path=[PLUGINS]) as one:
        with running_proxy(shared, workers=2, python_path=[PLUGINS]) as two:
            for strategy in STRATEGIES:
                result = burst([one.address, two.address], ask(strategy), REQUESTS)
                assert result.statuses == {200: QUOTA, 429: REQUESTS - QUOTA}, strategy


def test_two_proxies_without_redis_have_memories_of_their_own() -> None:
    with running_proxy(config(policies="3/day"), python_path=[PLUGINS]) as one:
        with running_proxy(config(policies="3/day"), python_path=[PLUGINS]) as two:
            assert statuses(one, "fixed_window", 4) == [200, 200, 200, 429]
            assert statuses(two, "fixed_window", 4) == [200, 200, 200, 429]


def test_memory_survives_reload_upgrade_and_the_death_of_its_workers() -> None:
    with running_proxy(config(policies="8/day"), workers=2, python_path=[PLUGINS]) as proxy:
        master = Master(proxy, proxy.folder / "pyrox.pid")
        master.wait_for_workers(2)
        assert statuses(proxy, "sliding_window", 2) == [200] * 2
        master.reload(workers=2)
        assert statuses(proxy, "sliding_window", 2) == [200] * 2
        victims = master.workers()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        master.wait_for_workers(2, none_of=victims)
        assert statuses(proxy, "sliding_window", 2) == [200] * 2
        master.upgrade(workers=2)
        assert statuses(proxy, "sliding_window", 3) == [200, 200, 429]
        master.stop()


def test_worker_killed_under_load_leaves_no_lock_behind() -> None:
    """A lock that outlived it would stop the others for good."""
    quota = 10**6
    with running_proxy(config(policies=f"{quota}/day"), workers=2, python_path=[PLUGINS]) as proxy:
        master = Master(proxy)
        for _ in range(3):
            with Client(proxy.address) as client:
                before = int(_remaining(client))
            victim = master.wait_for_workers(2)[0]
            asked = _burst_with_a_kill(proxy, victim)
            master.wait_for_workers(2, none_of=[victim])
            with Client(proxy.address) as client:
                used = before - int(_remaining(client))
            # What it was at may have been counted and not answered, or the other way round.
            assert asked <= used <= asked + 8 + 1


def _remaining(client: Client) -> bytes:
    answer = client.ask(ask("fixed_window"))
    assert answer.status == 200
    value = answer.get("ratelimit")
    assert value is not None
    return value.partition(b";r=")[2].partition(b";")[0]


def _burst_with_a_kill(proxy: Proxy, victim: int) -> int:
    """Let 8 clients ask until the victim is gone, and some more; returns how many answers came."""
    answered = [0] * 8
    is_over = threading.Event()

    def run(number: int) -> None:
        while not is_over.is_set():
            try:
                with Client(proxy.address, keep=False) as client:
                    while not is_over.is_set():
                        assert client.ask(ask("fixed_window")).status == 200
                        answered[number] += 1
            except (PeerClosed, OSError):
                continue

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    proxy.wait_until(lambda: min(answered) > 5, "load")
    os.kill(victim, signal.SIGKILL)
    goal = sum(answered) + 300
    proxy.wait_until(lambda: sum(answered) >= goal, "answers after the kill")
    is_over.set()
    for thread in threads:
        thread.join()
    return sum(answered)


WHILE_LOST = {"allow": [200] * 6, "deny": [503] * 6, "local": [200, 200, 200, 429, 429, 429]}


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_loss_of_redis_changes_what_the_option_says_and_its_return_is_noticed(how: str) -> None:
    with RedisServer() as server:
        with running_proxy(_config_by_choice(server.url, 1 if how == "stopped" else 5)) as proxy:
            for choice in WHILE_LOST:
                assert statuses(proxy, choice, 4) == [200, 200, 200, 429]
            server.kill() if how == "killed" else server.stop()
            for choice, expected in WHILE_LOST.items():
                assert statuses(proxy, choice, 6) == expected
                assert proxy.error_log().count(f"{choice}: the store gives no answer") == 1
            server.start() if how == "killed" else server.go_on()
            for choice in WHILE_LOST:
                _wait_for_return(proxy, choice)
                assert statuses(proxy, choice, 4)[-1] == 429


def _config_by_choice(url: str, timeout: float) -> Config:
    sections = {
        choice: {
            "class": "pyrox.middleware.rate_limit.RateLimit",
            "when": f"Query(`by`, `{choice}`)",
            "policies": "3/day per client",
            "store": url,
            "store_timeout": timeout,
            "on_store_error": choice,
        }
        for choice in WHILE_LOST
    }
    return {
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "middleware": {"stack": [*sections, "health"], **sections},
    }


def _wait_for_return(proxy: Proxy, choice: str) -> None:
    def is_back() -> bool:
        statuses(proxy, choice)  # each one asks, once the pause is over
        return f"{choice}: the store answers again" in proxy.error_log()

    proxy.wait_until(is_back, "return of Redis", 30)


def test_look_up_of_redis_that_does_not_end_is_a_loss_of_it() -> None:
    lost = config(store="redis://slow.test:6379", store_timeout=0.2, on_store_error="deny")
    middleware = {**lost["middleware"], "slow_names": {"class": "slow_names.SlowNames"}}
    middleware["stack"] = ["slow_names", *middleware["stack"]]
    with running_proxy({**lost, "middleware": middleware}, python_path=[PLUGINS]) as proxy:
        assert statuses(proxy, "fixed_window") == [503]
        proxy.wait_for_log("the store gives no answer: ")


def test_what_clients_send_is_not_shown_in_redis(redis_server: RedisServer) -> None:
    options = config(store=redis_server.url, prefix="shown", policies="9/day per header:Authorization")
    with running_proxy(options, python_path=[PLUGINS]) as proxy:
        with Client(proxy.address) as client:
            for length in (6, 20000):
                secret = "Authorization: " + "s3cret" * (length // 6)
                assert client.ask(ask("fixed_window", secret)).status == 200
    client = redis_server.client()
    keys = list(client.scan_iter("shown:*"))
    assert len(keys) == 2
    assert all(len(key) < 60 and b"s3cret" not in key for key in keys)
    assert all(0 < client.pttl(key) <= 86_400_000 for key in keys)
