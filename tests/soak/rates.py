"""Lose Redis under load, and time every answer of a proxy that limits rates with it::

    python -m tests.soak.rates [--seconds 4] [--bound 0.05]

Redis is killed and started again, and stopped and let go on, once with each ``on_store_error``. Before,
during and after the loss the answers must be those that the option says, and the slowest one must take no
longer than the bound. The exit status is 0 when that is so. Requests are few, so that what is measured is
the proxy's waiting, and not the machine's: what the same load takes without a loss stands beside it.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.config import Config
from tests.support.proxy import Proxy, running_proxy
from tests.support.redis_server import RedisServer
from tests.support.wire import Client

_CLIENTS = 8
_PAUSE = 0.004
REQUEST = b"GET /-/healthy HTTP/1.1\r\nHost: a.test\r\n\r\n"
# What may be answered while Redis is lost; the quota is never used up before.
EXPECTED = {"allow": {200}, "deny": {503}, "local": {200, 429}}
QUOTA = 1_000_000


@dataclass
class Phase:
    """The answers of one stretch of time, with the seconds that each took."""

    name: str
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        times = sorted(self.times)
        late = times[int(len(times) * 0.999)]
        counts = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.name}: {counts}; 99.9 % in {late * 1e3:.1f} ms, slowest {times[-1] * 1e3:.1f} ms"


class Load:
    """Clients that ask now and then; each answer belongs to the phase in which it was asked for."""

    def __init__(self, proxy: Proxy) -> None:
        self.phase = Phase("before")
        self._proxy = proxy
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(_CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with Client(self._proxy.address, keep=False) as client:
            while not self._stop.wait(_PAUSE):
                phase, began = self.phase, time.perf_counter()
                status = client.ask(REQUEST).status
                phase.times.append(time.perf_counter() - began)
                phase.statuses[status] += 1


def config(url: str, choice: str) -> Config:
    limit = {
        "policies": f"{QUOTA}/day per client",
        "store": url,
        "on_store_error": choice,
    }
    return {
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "logging": {"access_log": ""},
        "middleware": {"stack": "rate_limit, health", "rate_limit": limit},
    }


def lose(server: RedisServer, choice: str, how: str, seconds: float, bound: float) -> bool:
    """Lose Redis while clients ask, and tell what came of it; returns whether that is as it should be."""
    away: Callable[[], None] = server.kill if how == "killed" else server.stop
    back: Callable[[], None] = server.start if how == "killed" else server.go_on
    with running_proxy(config(server.url, choice), workers=2) as proxy:
        proxy.worker_pids(2)
        with Load(proxy) as load:
            time.sleep(0.5)  # connections, scripts
            phases = [Phase("before"), Phase("lost"), Phase("after")]
            load.phase = phases[0]
            time.sleep(seconds)
            load.phase = Phase("about to be lost")
            time.sleep(0.1)  # what was asked for before has been answered
            away()
            load.phase = phases[1]
            time.sleep(seconds)
            load.phase = Phase("not yet noticed")
            back()
            log = proxy.error_log
            proxy.wait_until(lambda: log().count("answers again") >= 2, "return in both workers", 30)
            load.phase = phases[2]
            time.sleep(seconds)
    before, lost, after = phases
    as_said = set(before.statuses) == {200} and set(after.statuses) == {200}
    as_said = as_said and set(lost.statuses) <= EXPECTED[choice]
    in_time = max(max(phase.times) for phase in phases) <= bound
    print(f"{'ok  ' if as_said else 'FAIL'} {'ok  ' if in_time else 'LATE'} {choice}, {how}", flush=True)
    for phase in phases:
        print(f"          {phase}", flush=True)
    return as_said and in_time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each phase (%(default)s)")
    parser.add_argument(
        "--bound", type=float, default=0.05, help="seconds for the slowest answer (%(default)s)"
    )
    options = parser.parse_args()
    results = []
    for choice in EXPECTED:
        for how in ("killed", "stopped"):
            with RedisServer() as server:
                results.append(lose(server, choice, how, options.seconds, options.bound))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
