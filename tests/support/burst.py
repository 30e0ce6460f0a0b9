"""Many requests from several clients at once, counted exactly."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.messages import WireResponse
from tests.support.wire import Address, Client


@dataclass
class Burst:
    """What came of the requests: how many of each status, from which workers, and the slowest's seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    workers: Counter[bytes] = field(default_factory=Counter)
    slowest: float = 0.0

    def add(self, answer: WireResponse, seconds: float) -> None:
        self.statuses[answer.status] += 1
        self.workers[answer.get("x-worker") or b""] += 1
        self.slowest = max(self.slowest, seconds)


def burst(addresses: Sequence[Address], request: bytes, count: int, clients: int = 8) -> Burst:
    """Send ``count`` requests from ``clients`` threads, each on a connection that it keeps.

    The clients take turns with ``addresses``. All connections are open before the first request goes out.
    """
    start = threading.Barrier(clients)
    bursts = [Burst() for _ in range(clients)]
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            with Client(addresses[number % len(addresses)], keep=False) as client:
                start.wait(30)
                for _ in range(count // clients + (number < count % clients)):
                    began = time.perf_counter()
                    answer = client.ask(request)
                    bursts[number].add(answer, time.perf_counter() - began)
        except BaseException as failure:
            failures.append(failure)
            start.abort()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    total = Burst()
    for each in bursts:
        total.statuses += each.statuses
        total.workers += each.workers
        total.slowest = max(total.slowest, each.slowest)
    return total
