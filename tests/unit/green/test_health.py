"""Clusters in step with the board, and the one worker that writes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pyrox.green.health import Health
from pyrox.green.health_board import HealthBoard, Verdict
from pyrox.upstreams.checks import Check, Patient, key_of
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member, Reason
from pyrox.upstreams.server import parse_server
from pyrox.upstreams.watcher import Watcher
from tests.unit.upstreams.kit import members, name_of

CHECK = Check("/", "", frozenset((200,)), b"", interval=0.001, timeout=1.0, rise=1, fall=1)


class Board(HealthBoard):
    """A board whose lock is a word of this process, so that one test can be two workers."""

    leader: object = None

    def as_worker(self) -> Board:
        other = object.__new__(Board)
        other.__dict__ = {**self.__dict__, "shared": self}
        return other

    def try_to_lead(self) -> bool:
        board = self.__dict__.get("shared", self)
        if board.leader not in (None, self):
            return False
        board.leader = self
        return True

    def resign(self) -> None:
        self.__dict__.get("shared", self).leader = None


class Prober:
    """Says of each server what ``faults`` says; counts."""

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self.asked: list[str] = []

    def fault_of(self, patient: Patient) -> str:
        self.asked.append(patient.server.host)
        if self.faults.get(patient.server.host) == "bug":
            raise RuntimeError("a bug")
        return self.faults.get(patient.server.host, "")


class Worker:
    """One worker's health."""

    def __init__(self, board: Board, group: list[Member], check: Check | None = CHECK) -> None:
        self.cluster = Cluster("c", group, check=check)
        self.prober: Any = Prober()
        self.board = board.as_worker()
        self.health = Health([self.cluster], self.board, self.prober)

    def away(self) -> list[str]:
        return [name_of(member) for member in self.cluster.members if Reason.UNHEALTHY in member.excluded]

    def set(self, number: int, verdict: Verdict) -> None:
        key = key_of("c", self.cluster.members[number].server, CHECK)
        self.board.set_verdict(key, verdict, 0)


Hire = Callable[..., Worker]


@pytest.fixture
def hire() -> Iterator[Hire]:
    board, workers = Board(), []

    def make(size: int = 2, group: list[Member] | None = None, check: Check | None = CHECK) -> Worker:
        workers.append(Worker(board, group or members(*[1] * size), check))
        return workers[-1]

    yield make
    for worker in workers:
        worker.health.close()
    gevent.sleep(0)


def until(is_true: Callable[[], bool], *workers: Worker) -> None:
    """Let the checks go on, and the workers look, until it is true."""
    with gevent.Timeout(30):
        while not is_true():
            gevent.sleep(0.001)
            for worker in workers:
                worker.health.beat()


def test_a_worker_that_follows_does_what_the_board_says(hire: Hire) -> None:
    leader, follower = hire(), hire()
    leader.board.try_to_lead()
    follower.health.beat()
    assert not follower.health.is_leading
    leader.set(1, Verdict.UNHEALTHY)
    follower.health.beat()
    assert follower.away() == ["s1"]
    leader.set(1, Verdict.HEALTHY)
    follower.health.beat()
    assert follower.away() == []
    assert follower.prober.asked == []


def test_the_one_that_leads_writes_what_it_finds(hire: Hire) -> None:
    leader, follower = hire(), hire()
    leader.prober.faults["s0"] = "broken"
    until(lambda: leader.away() == follower.away() == ["s0"], leader, follower)
    leader.prober.faults.clear()
    until(lambda: leader.away() == follower.away() == [], leader, follower)
    assert follower.prober.asked == []


def test_whoever_takes_over_begins_with_what_is_known(hire: Hire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyrox.health")
    first, second = hire(), hire()
    for worker in (first, second):
        worker.prober.faults["s1"] = "broken"
    until(lambda: second.away() == ["s1"], first, second)
    first.health.leave()
    gevent.idle()  # a check that was about to begin is over
    asked = len(first.prober.asked)
    until(lambda: len(second.prober.asked) > 20, first, second)
    assert second.health.is_leading and not first.health.is_leading
    assert len(first.prober.asked) == asked
    assert second.away() == ["s1"]
    said = [record.getMessage() for record in caplog.records]
    assert said.count("cluster c: http://s1 is unhealthy: broken") == 1
    assert said.count("this worker checks the servers") == 2
    assert [line for line in said if "is healthy" in line] == []


def test_members_that_come_are_checked_and_those_that_go_are_not(hire: Hire) -> None:
    worker = hire()
    worker.prober.faults["new"] = "broken"
    until(lambda: {"s0", "s1"} <= set(worker.prober.asked), worker)
    new = Member(parse_server("http://new"))
    worker.cluster.update_members([worker.cluster.members[0], new], 0.0)
    until(lambda: worker.away() == ["new"], worker)
    del worker.prober.asked[:]
    until(lambda: len(worker.prober.asked) > 10, worker)
    assert set(worker.prober.asked) == {"s0", "new"}


def test_a_member_that_comes_back_is_known(hire: Hire) -> None:
    worker, other = hire(), hire()
    worker.prober.faults["s1"] = "broken"
    until(lambda: worker.away() == ["s1"], worker)
    other.cluster.update_members(other.cluster.members[:1], 0.0)
    other.health.beat()
    other.cluster.update_members(members(1, 1), 0.0)
    other.health.beat()
    assert other.away() == ["s1"]


def test_a_bug_in_a_check_is_logged_and_the_next_one_comes(
    hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    worker = hire(1)
    worker.prober.faults["s0"] = "bug"
    until(lambda: len(worker.prober.asked) > 2, worker)
    assert "the check of http://s0 failed in Pyrox itself" in caplog.text
    assert worker.away() == []


def test_applications_inside_are_not_checked(hire: Hire) -> None:
    worker = hire(group=[*members(1), Member(parse_server("wsgi:a.b:c"), 1, True)])
    until(lambda: len(worker.prober.asked) > 5, worker)
    assert set(worker.prober.asked) == {"s0"}


def test_without_checks_and_watchers_nothing_runs(hire: Hire) -> None:
    worker = hire(check=None)
    worker.health.start()
    assert worker.health._greenlet is None
    assert not worker.health.is_leading


def test_watchers_hear_the_time(hire: Hire) -> None:
    ticks: list[float] = []

    class Clock(Watcher):
        def tick(self, now: float) -> None:
            ticks.append(now)

    worker = hire(check=None)
    worker.cluster.watch(Clock())
    worker.health.start()
    assert len(ticks) == 1
    assert worker.health._greenlet is not None
