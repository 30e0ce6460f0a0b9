"""``Workforce``: which workers there are, which there should be, and how one takes another's place.

gunicorn counts every child as a worker: one that drains is not replaced before it has ended, and what
takes the place of an old worker is not waited for. Here a worker is *staying*, *outgoing* (of an older
generation, or spent: serving until its successor does) or *retired* (told to leave). The rule is the same
for a reload, for ``max_requests`` and for a change of the number::

    hire until as many stay as are wanted; when all that stay are serving, retire those that go

so that there is a worker that accepts at every moment, and a generation that cannot start replaces nobody.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from time import monotonic
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from pyrox.green.board import Board, Order, Stage
from pyrox.green.health_board import HealthBoard
from pyrox.green.stalls import StallRecord
from pyrox.green.worker import APP_LOAD_ERROR, ProxyWorker

# Seconds between two looks at the board and at stalls; less while something is going on.
_WATCHFUL, _ATTENTIVE = 0.25, 0.05
# Seconds before a worker is started in place of one that died before it could serve.
_PAUSE = 1.0
# Seconds between two rounds after which the master itself must have stood still, and those that workers get
# then for a sign of life.
_STANDSTILL, _RESPITE = 2.0, 5.0


class Workforce(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter with generations of workers; a worker of ``generation`` stays."""

    WORKERS: dict[int, ProxyWorker]
    reexec_pid: int
    master_pid: int

    def __init__(self, app: Any) -> None:
        self.board = Board()
        self.health_board = HealthBoard()
        self.generation = 1
        self._hire_at = 0.0
        self._round_at = monotonic()
        self._patient_until = 0.0
        self._newcomer: ProxyWorker | None = None  # has a seat, and is not forked yet
        super().__init__(app)

    # --- who there is ---

    def welcome(self, worker: ProxyWorker) -> None:
        """Give a worker that is about to be forked its seat; gunicorn's ``pre_fork``."""
        worker.board = self.board
        worker.health_board = self.health_board
        worker.seat = self.board.take_seat()
        worker.generation = self.generation
        worker.stalls = StallRecord()
        self._newcomer = worker

    def leave_to(self, worker: ProxyWorker) -> None:
        """Close in a worker what belongs to the others; gunicorn's ``post_fork``."""
        for sibling in self.WORKERS.values():
            sibling.stalls.close()

    def staying(self) -> list[ProxyWorker]:
        """The workers that are meant to stay, oldest first; those that boot among them."""
        workers = [
            worker
            for worker in self.WORKERS.values()
            if not worker.is_retired
            and worker.generation == self.generation
            and worker.seat.stage in (Stage.BOOTING, Stage.READY, Stage.SERVING)
        ]
        return sorted(workers, key=lambda worker: worker.age)

    def outgoing(self) -> list[ProxyWorker]:
        """The workers that serve only until others do."""
        return [
            worker
            for worker in self.WORKERS.values()
            if not worker.is_retired
            and (worker.generation != self.generation or worker.seat.stage == Stage.SPENT)
        ]

    def is_complete(self) -> bool:
        """Whether all workers that are wanted serve."""
        serving = [worker for worker in self.staying() if worker.seat.stage == Stage.SERVING]
        return len(serving) >= int(self.num_workers)

    # --- gunicorn's main loop calls these ---

    def manage_workers(self) -> None:
        """Hire and retire what is due; called in every round."""
        missing = self.num_workers - len(self.staying())
        if missing > 0 and monotonic() >= self._hire_at:
            self._hire(missing)
        for worker in self.staying()[: max(-missing, 0)]:
            self.retire(worker)
        complete = self.is_complete()
        for worker in self.outgoing():
            if complete or worker.seat.stage == Stage.BOOTING:
                self.retire(worker)
        if complete:
            self.on_complete()

    def _hire(self, count: int) -> None:
        try:
            for _ in range(count):
                self.spawn_worker()
        except (OSError, LookupError) as error:  # no room for a process, a file or a seat
            self.log.error("no worker can be started: %s; trying again in %s s", error, _PAUSE)
            self._hire_at = monotonic() + _PAUSE

    def on_complete(self) -> None:
        """Called in every round in which all workers that are wanted serve."""

    def wait_for_signals(self, timeout: float = 1.0) -> Any:
        """Look more often while workers are on their way."""
        is_calm = self.is_complete() and not any(w.stalls.is_pending for w in self.WORKERS.values())
        return super().wait_for_signals(min(timeout, _WATCHFUL if is_calm else _ATTENTIVE))

    def murder_workers(self) -> None:
        """Say which workers stall; those that hang are ended."""
        for worker in self.WORKERS.values():
            if where := worker.stalls.take():
                self.log.warning("worker %s is stalled by %s", worker.pid, where)
        last, self._round_at = self._round_at, monotonic()
        if self._round_at - last > _STANDSTILL:
            # A container that was frozen, say: the workers were silent because they did not run either.
            self._patient_until = self._round_at + _RESPITE
        if self._round_at >= self._patient_until:
            super().murder_workers()

    def spawn_worker(self) -> Any:
        """Fork a worker; a signal that comes before it can handle one waits until it can.

        Until then it has the master's handlers, which only take note: a TERM would be lost on it, and the
        master would wait for the whole grace time to kill it.
        """
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ProxyWorker.SIGNALS)
        self._newcomer = None
        try:
            return super().spawn_worker()
        except (OSError, LookupError):
            if self._newcomer is not None:
                self._forget(self._newcomer)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def reap_workers(self) -> None:
        """Take note of the children that have ended."""
        for pid, status in _ended_children():
            if pid == self.reexec_pid:
                self.reexec_pid = 0
                self.log.error("the new master (pid %d) ended %s; this one goes on", pid, _manner(status))
            elif (worker := self.WORKERS.pop(pid, None)) is not None:
                self._dismiss(worker, status)

    def _dismiss(self, worker: ProxyWorker, status: int) -> None:
        was_booting = worker.seat.stage == Stage.BOOTING
        self._forget(worker)
        self.cfg.child_exit(self, worker)
        if status and not (worker.is_retired and os.WIFSIGNALED(status)):
            self.log.error("worker %s ended %s", worker.pid, _manner(status))
        if was_booting and not worker.is_retired:
            self._hire_at = monotonic() + _PAUSE
            if os.waitstatus_to_exitcode(status) > 0:  # it gave up; a signal says nothing of the next one
                self._on_failed_boot(worker, status)

    def _forget(self, worker: ProxyWorker) -> None:
        worker.seat.clear()
        worker.stalls.close()
        worker.tmp.close()

    def _on_failed_boot(self, worker: ProxyWorker, status: int) -> None:
        if worker.generation == self.generation and self.on_failed_generation():
            return
        if not any(other.seat.is_serving for other in self.WORKERS.values()):
            is_refusal = os.waitstatus_to_exitcode(status) == APP_LOAD_ERROR
            raise HaltServer(
                "a worker cannot start", APP_LOAD_ERROR if is_refusal else self.WORKER_BOOT_ERROR
            )

    def on_failed_generation(self) -> bool:
        """Called when a worker of the current generation could not start; whether there is another now."""
        return False

    # --- leaving ---

    def retire(self, worker: ProxyWorker, order: Order = Order.RETIRE) -> None:
        """Tell a worker to take no more connections, and to leave when the last one has ended."""
        worker.seat.order = order
        worker.is_retired = True
        self.kill_worker(worker.pid, signal.SIGTERM)


def _ended_children() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status


def _manner(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"with status {code}"
    hint = ", perhaps for lack of memory" if -code == signal.SIGKILL else ""
    return f"by {signal.Signals(-code).name}{hint}"
