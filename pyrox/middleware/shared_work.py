"""``SharedWork``: costly computations, few at a time, each once however many ask for it.

What computes for long can be used to keep a machine busy. So there is a number of threads that compute, a
queue of bounded length, and a share of it that one client can have. The work belongs to nobody who asked
for it: a client that leaves does not make room for another computation while its own still runs.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pyrox.threads import run_in_thread

T = TypeVar("T")


class Overloaded(Exception):
    """The queue is full."""


class ShareUsedUp(Exception):
    """One owner waits for as much as it may."""


class _Job(Generic[T]):
    __slots__ = ("_compute", "done", "error", "key", "owner", "result")

    def __init__(self, key: Hashable, owner: Hashable, compute: Callable[[], T]) -> None:
        self.key = key
        self.owner = owner
        self._compute = compute
        self.result: T
        self.error: Exception | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self.result = run_in_thread(self._compute)
        except Exception as error:
            self.error = error


class SharedWork(Generic[T]):
    """Does work in real threads, at most ``at_once`` of it at a time, with ``waiting`` more in a queue.

    One owner may have ``share`` of both together.
    """

    def __init__(self, at_once: int, waiting: int, share: int) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._share = share
        # Made late, in a worker: there, these are gevent's and let other greenlets run.
        self._lock = threading.Lock()
        self._jobs: dict[Hashable, _Job[T]] = {}  # waiting and running
        self._queue: deque[_Job[T]] = deque()
        self._owned: Counter[Hashable] = Counter()
        self._running = 0

    def do(self, key: Hashable, owner: Hashable, compute: Callable[[], T]) -> T:
        """Return ``compute()``, or the result of the one that is under way for the same ``key``.

        Raises ``Overloaded`` and ``ShareUsedUp``, and ``RuntimeError`` from what ``compute`` raises.
        """
        with self._lock:
            job = self._jobs.get(key) or self._add(key, owner, compute)
        job.done.wait()
        if job.error is not None:
            raise RuntimeError(f"{type(job.error).__name__}: {job.error}") from job.error
        return job.result

    def _add(self, key: Hashable, owner: Hashable, compute: Callable[[], T]) -> _Job[T]:
        if self._owned[owner] >= self._share:
            raise ShareUsedUp
        if len(self._jobs) >= self._most:
            raise Overloaded
        job = self._jobs[key] = _Job(key, owner, compute)
        self._owned[owner] += 1
        self._queue.append(job)
        if self._running < self._at_once:
            self._running += 1
            threading.Thread(target=self._work, daemon=True).start()
        return job

    def _work(self) -> None:
        """In a thread of its own, a greenlet in a worker: do what waits, until nothing does."""
        while (job := self._next()) is not None:
            job.run()
            with self._lock:
                del self._jobs[job.key]
                self._owned[job.owner] -= 1
                if not self._owned[job.owner]:
                    del self._owned[job.owner]
            job.done.set()

    def _next(self) -> _Job[T] | None:
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            self._running -= 1
            return None
