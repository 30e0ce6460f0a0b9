"""Verdicts in shared memory, and who writes them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from pyrox.green.health_board import HealthBoard, Verdict


def in_child(function: Callable[[], bool]) -> bool:
    """What ``function`` says in a forked process."""
    pid = os.fork()
    if not pid:
        os._exit(0 if function() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_one_process_writes_the_others_read() -> None:
    board = HealthBoard()
    assert board.verdict(42) == Verdict.UNKNOWN
    before = board.changed
    assert in_child(lambda: board.set_verdict(42, Verdict.UNHEALTHY, 0))
    assert board.verdict(42) == Verdict.UNHEALTHY
    assert board.changed != before
    assert board.verdict(43) == Verdict.UNKNOWN


def test_only_a_change_of_a_verdict_is_a_change() -> None:
    board = HealthBoard()
    board.set_verdict(42, Verdict.HEALTHY, 0)
    before = board.changed
    board.set_verdict(42, Verdict.HEALTHY, 1)
    board.refresh(42, 2)
    assert board.changed == before
    board.set_verdict(42, Verdict.UNHEALTHY, 3)
    assert board.changed != before


def test_as_many_servers_as_anyone_has_find_room() -> None:
    board = HealthBoard()
    keys = [(number * 0x9E3779B97F4A7C15 & (1 << 62) - 1) + 1 for number in range(6000)]
    assert all(board.set_verdict(key, Verdict(1 + key % 2), 0) for key in keys)
    assert all(board.verdict(key) == 1 + key % 2 for key in keys)


def test_a_full_board_says_so_and_takes_back_what_was_long_not_refreshed() -> None:
    board = HealthBoard(slots=4)
    assert [board.set_verdict(key, Verdict.HEALTHY, 100) for key in range(1, 6)] == [*[True] * 4, False]
    board.refresh(3, 650)
    assert board.set_verdict(7, Verdict.UNHEALTHY, 800)
    assert board.set_verdict(8, Verdict.UNHEALTHY, 800)
    assert board.verdict(3) == Verdict.HEALTHY
    assert (board.verdict(1), board.verdict(2)) == (Verdict.UNKNOWN, Verdict.UNKNOWN)


# --- who leads


def test_one_process_leads_at_a_time() -> None:
    board = HealthBoard()
    assert board.try_to_lead()
    assert board.try_to_lead()  # it does already
    assert not in_child(board.try_to_lead)
    board.resign()
    assert in_child(board.try_to_lead)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_whoever_ends_leads_no_more(end: signal.Signals) -> None:
    board = HealthBoard()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.write(writer, b"+" if board.try_to_lead() else b"-")
        signal.pause()
        os._exit(1)
    assert os.read(reader, 1) == b"+"
    assert not board.try_to_lead()
    os.kill(pid, end)
    os.waitpid(pid, 0)
    assert board.try_to_lead()
    os.close(reader)
    os.close(writer)


# --- an upgrade


def test_board_of_the_next_master_begins_with_what_is_known_and_goes_its_own_way() -> None:
    former, later = HealthBoard(), HealthBoard()
    former.set_verdict(42, Verdict.UNHEALTHY, 7)
    later.take_over(str(os.dup(int(former.hand_over()))))  # as after an exec, whose descriptor is its own
    assert later.verdict(42) == Verdict.UNHEALTHY
    later.set_verdict(42, Verdict.HEALTHY, 8)
    assert former.verdict(42) == Verdict.UNHEALTHY
    assert in_child(former.try_to_lead) and later.try_to_lead()


def test_master_after_one_that_failed_begins_with_what_is_known_too() -> None:
    former = HealthBoard()
    former.set_verdict(42, Verdict.UNHEALTHY, 7)
    for later in (HealthBoard(), HealthBoard()):
        later.take_over(str(os.dup(int(former.hand_over()))))
        assert later.verdict(42) == Verdict.UNHEALTHY


def test_board_takes_over_nothing_else() -> None:
    reader, writer = os.pipe()
    for handed_over in ("", "x", "99999", str(reader), HealthBoard(slots=4).hand_over()):
        board = HealthBoard()
        board.take_over(handed_over)
        assert board.verdict(42) == Verdict.UNKNOWN
    os.write(writer, b"+")
    assert os.read(reader, 1) == b"+", "what is none of its business stays open"
    os.close(reader)
    os.close(writer)
