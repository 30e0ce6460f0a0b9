"""Shares: who leaves the next connection to whom, with a clock of its own."""

from __future__ import annotations

from collections import Counter

import pytest

from pyrox.green import balance
from pyrox.green.balance import Share
from pyrox.green.board import Board, Order, Stage


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(balance, "monotonic", clock)
    return clock


def shares(board: Board, count: int) -> list[Share]:
    """Shares of workers that serve and know each other."""
    made = []
    for _ in range(count):
        seat = board.take_seat()
        seat.stage = Stage.SERVING
        made.append(Share(board, seat))
    for share in made:
        share.refresh()
    for share in made:
        share.join()
    return made


def test_alone_is_never_ahead(clock: Clock) -> None:
    [share] = shares(Board(4), 1)
    for _ in range(1000):
        assert not share.is_ahead()
        share.opened()
    assert not share.has_others()


@pytest.mark.parametrize("count", [8, 30, 400, 10_000])
def test_greedy_worker_gets_at_most_twice_what_the_others_get(clock: Clock, count: int) -> None:
    """The first takes whatever it may; the others come for what it leaves."""
    workers = shares(Board(4), 3)
    got: Counter[int] = Counter()
    while sum(got.values()) < count:
        taker = next(number for number, share in enumerate(workers) if not share.is_ahead())
        workers[taker].opened()
        got[taker] += 1
    assert max(got.values()) <= 2 * min(got[number] for number in range(3))


def test_connections_that_end_at_once_count_for_some_seconds(clock: Clock) -> None:
    greedy, other = shares(Board(4), 2)
    for _ in range(10):
        greedy.opened()
        greedy.closed()
    assert greedy.is_ahead() and not other.is_ahead()
    clock.now += 2.0
    assert not greedy.is_ahead()


def test_open_connections_count_as_long_as_they_are_open(clock: Clock) -> None:
    greedy, _other = shares(Board(4), 2)
    for _ in range(10):
        greedy.opened()
    clock.now += 60.0
    _other.refresh()
    greedy.refresh()
    assert greedy.is_ahead()
    for _ in range(10):
        greedy.closed()
    assert not greedy.is_ahead()


def test_those_who_do_not_come_are_not_waited_for_again_and_again(clock: Clock) -> None:
    greedy, other = shares(Board(4), 2)
    for _ in range(20):
        greedy.opened()
    assert [greedy.is_ahead() for _ in range(7)] == [True] * 5 + [False, True]
    other.opened()  # it came: the patience begins anew
    assert [greedy.is_ahead() for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize("why", ["stale", "retired", "leaving", "gone"])
def test_only_those_who_serve_are_waited_for(clock: Clock, why: str) -> None:
    board = Board(4)
    greedy, _other = shares(board, 2)
    seat = board.taken()[1]
    if why == "stale":
        clock.now += 1.5
    elif why == "retired":
        seat.order = Order.RETIRE
    elif why == "leaving":
        seat.stage = Stage.LEAVING
    else:
        seat.clear()
    for _ in range(20):
        greedy.opened()
    greedy.refresh()
    assert not greedy.is_ahead()


def test_who_joins_late_starts_level_with_the_least_busy(clock: Clock) -> None:
    board = Board(4)
    first, second = shares(board, 2)
    for share, count in ((first, 100), (second, 90)):
        for _ in range(count):
            share.opened()
            share.closed()
    seat = board.take_seat()
    seat.stage = Stage.SERVING
    late = Share(board, seat)
    late.join()
    for share in (first, second):
        share.refresh()
    assert [share.is_ahead() for share in (first, second, late)] == [True, False, False]


def test_first_of_several_waits_for_those_that_boot_with_it(clock: Clock) -> None:
    board = Board(4)
    seats = [board.take_seat() for _ in range(2)]
    first = Share(board, seats[0])
    seats[0].stage = Stage.READY
    assert first.is_early()
    seats[1].stage = Stage.READY
    assert not first.is_early()
    board.take_seat()  # one more boots while others serve: nobody waits for that
    seats[1].stage = Stage.SERVING
    assert not first.is_early()
