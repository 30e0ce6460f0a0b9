"""Seats: taken, given up, seen by other processes."""

from __future__ import annotations

import os

import pytest

from pyrox.green.board import Board, Order, Stage


def test_lowest_free_seat_is_taken_and_comes_clean() -> None:
    board = Board(3)
    first, second = board.take_seat(), board.take_seat()
    assert [seat.number for seat in (first, second)] == [0, 1]
    assert first.stage == Stage.BOOTING
    first.open, first.order, first.beat = 7, Order.RETIRE, 5
    first.set_recent(9, 1)
    first.clear()
    assert [seat.number for seat in board.taken()] == [1]
    again = board.take_seat()
    assert (again.number, again.open, again.order, again.beat, again.recent(1)) == (0, 0, Order.STOP, 0, 0)


def test_full_board_says_so() -> None:
    board = Board(1)
    board.take_seat()
    with pytest.raises(LookupError, match="all 1 seats"):
        board.take_seat()


def test_another_process_sees_what_is_written() -> None:
    board = Board(2)
    seat = board.take_seat()
    child = os.fork()
    if child == 0:
        seat.stage, seat.open = Stage.SERVING, 42
        os._exit(0)
    os.waitpid(child, 0)
    [seen] = board.taken()
    assert repr(seen) == "<Seat 0 SERVING STOP, 42 open>"


@pytest.mark.parametrize(
    "stage, order, serves",
    [
        (Stage.BOOTING, Order.STOP, False),
        (Stage.READY, Order.STOP, True),
        (Stage.SERVING, Order.STOP, True),
        (Stage.SPENT, Order.STOP, True),
        (Stage.SERVING, Order.RETIRE, False),
        (Stage.SERVING, Order.HAND_OVER, False),
        (Stage.LEAVING, Order.STOP, False),
    ],
)
def test_who_serves(stage: Stage, order: Order, serves: bool) -> None:
    seat = Board(1).take_seat()
    seat.stage, seat.order = stage, order
    assert seat.is_serving is serves


def test_what_is_recent_halves_with_each_epoch() -> None:
    seat = Board(1).take_seat()
    seat.set_recent(40, epoch=10)
    assert [seat.recent(epoch) for epoch in (9, 10, 11, 12, 200)] == [40, 40, 20, 10, 0]
