"""Who is hired and who retires, with a master whose workers are no processes."""

from __future__ import annotations

import logging
import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from pyrox.green.board import Order, Stage
from pyrox.green.workforce import Workforce


class Master(Workforce):
    """A master that forks nothing; ``told`` lists the signals it sent."""

    def __init__(self, workers: int) -> None:
        self.log = logging.getLogger("test")
        self.WORKERS = {}
        self.told: list[tuple[int, int]] = []
        self.completed = 0
        self.given_up = 0
        self.refusal: Exception | None = None
        self.__dict__["_num_workers"] = workers
        self.cfg = SimpleNamespace(child_exit=lambda *_: None, nworkers_changed=lambda *_: None)
        self.reexec_pid = 0

    def kill_worker(self, pid: int, sig: int) -> None:
        self.told.append((pid, sig))

    def on_complete(self) -> None:
        self.completed += 1

    def on_failed_generation(self) -> None:
        self.given_up += 1

    def serve(self, *pids: int) -> None:
        """Let workers get ready, and look."""
        for pid in pids:
            self.WORKERS[pid].seat.stage = Stage.SERVING
        self.manage_workers()

    def lose(self, pid: int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a worker end with ``status``, as waitpid tells it."""
        ended = iter([(pid, status), (0, 0)])
        monkeypatch.setattr(os, "waitpid", lambda *_: next(ended))
        self.reap_workers()


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Master:
    def fork(master: Master) -> None:
        pid = len(numbers) + 1
        numbers.append(pid)
        closed = SimpleNamespace(close=lambda: None)
        worker: Any = SimpleNamespace(pid=pid, age=pid, is_retired=False, tmp=closed)
        master.welcome(worker)
        if master.refusal is not None:
            raise master.refusal
        master.WORKERS[pid] = worker

    numbers: list[int] = []
    monkeypatch.setattr(Arbiter, "spawn_worker", fork)
    monkeypatch.setattr(Arbiter, "__init__", lambda *_: None)
    master = Master(2)
    Workforce.__init__(master, None)
    return master


def retired(master: Master) -> list[int]:
    assert all(sig == signal.SIGTERM for _, sig in master.told)
    return [pid for pid, _ in master.told]


def test_as_many_are_hired_as_are_wanted_and_complete_when_all_serve(master: Master) -> None:
    master.manage_workers()
    master.manage_workers()
    assert list(master.WORKERS) == [1, 2]
    master.serve(1)
    assert master.completed == 0
    master.serve(2)
    assert (master.completed, retired(master)) == (1, [])


def test_old_generation_goes_when_the_whole_new_one_serves(master: Master) -> None:
    master.manage_workers()
    master.serve(1, 2)
    master.generation = 2
    master.manage_workers()
    assert list(master.WORKERS) == [1, 2, 3, 4]
    master.serve(3)
    assert retired(master) == []
    master.serve(4)
    assert retired(master) == [1, 2]
    assert [master.WORKERS[pid].seat.order for pid in (1, 2, 3)] == [Order.RETIRE, Order.RETIRE, Order.STOP]
    master.manage_workers()
    assert retired(master) == [1, 2]  # told once


def test_generation_that_was_superseded_while_it_booted_goes_at_once(master: Master) -> None:
    master.manage_workers()
    master.serve(1, 2)
    master.generation = 2
    master.manage_workers()
    master.generation = 3
    master.manage_workers()
    assert retired(master) == [3, 4]
    master.serve(5, 6)
    assert retired(master) == [3, 4, 1, 2]


def test_spent_worker_goes_when_its_successor_serves(master: Master) -> None:
    master.manage_workers()
    master.serve(1, 2)
    master.WORKERS[1].seat.stage = Stage.SPENT
    master.manage_workers()
    assert (list(master.WORKERS), retired(master)) == ([1, 2, 3], [])
    master.serve(3)
    assert retired(master) == [1]


def test_worker_that_leaves_by_itself_is_replaced_and_not_told(master: Master) -> None:
    master.manage_workers()
    master.serve(1, 2)
    master.WORKERS[1].seat.stage = Stage.LEAVING
    master.manage_workers()
    master.serve(3)
    assert (list(master.WORKERS), retired(master)) == ([1, 2, 3], [])


def test_oldest_goes_when_fewer_are_wanted(master: Master) -> None:
    master.manage_workers()
    master.serve(1, 2)
    master.__dict__["_num_workers"] = 1
    master.manage_workers()
    assert retired(master) == [1]


def test_retired_worker_with_a_tunnel_stands_in_nobodys_place(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    master.manage_workers()
    master.serve(1, 2)
    master.generation = 2
    master.manage_workers()
    master.serve(3, 4)
    master.lose(3, signal.SIGSEGV, monkeypatch)
    master.manage_workers()
    assert list(master.WORKERS) == [1, 2, 4, 5]


def test_worker_that_gives_up_at_the_start_ends_everything_only_when_nobody_serves(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    master.manage_workers()
    with pytest.raises(HaltServer) as caught:
        master.lose(1, 4 << 8, monkeypatch)
    assert caught.value.exit_status == 4
    master.serve(2)
    master._hire_at = 0.0
    master.manage_workers()
    master.lose(3, 1 << 8, monkeypatch)
    assert list(master.WORKERS) == [2]


def test_new_generation_that_gives_up_is_given_up_and_the_next_start_waits(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    master.manage_workers()
    master.serve(1, 2)
    master.generation = 2
    master.manage_workers()
    master.lose(3, 4 << 8, monkeypatch)
    assert master.given_up == 1
    master.manage_workers()
    assert list(master.WORKERS) == [1, 2, 4]  # not at once


def test_worker_killed_while_it_boots_says_nothing_of_its_generation(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    master.manage_workers()
    master.lose(1, signal.SIGKILL, monkeypatch)
    assert master.given_up == 0


@pytest.mark.parametrize("refusal", [BlockingIOError(11, "no more processes"), OSError(24, "too many files")])
def test_lack_of_processes_is_waited_out(
    master: Master, refusal: OSError, caplog: pytest.LogCaptureFixture
) -> None:
    master.refusal = refusal
    master.manage_workers()
    assert f"no worker can be started: {refusal}" in caplog.text
    assert master.board.taken() == []
    master.refusal = None
    master._hire_at = 0.0
    master.manage_workers()
    assert len(master.WORKERS) == 2


def test_lack_of_seats_is_waited_out(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(master.board.size):
        master.board.take_seat()
    master.manage_workers()
    assert "seats for workers are taken" in caplog.text


def test_new_master_that_ends_leaves_this_one_in_charge(
    master: Master, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    master.reexec_pid = 77
    master.lose(77, 2 << 8, monkeypatch)
    assert master.reexec_pid == 0
    assert "the new master (pid 77) ended with status 2; this one goes on" in caplog.text
