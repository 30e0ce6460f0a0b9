"""The file by which a worker shows that it lives."""

from __future__ import annotations

import os
from time import monotonic
from types import SimpleNamespace

import pytest

from pyrox.green.heartbeat import Heartbeat

NOBODY = 65534


def heartbeat(user: int, group: int) -> Heartbeat:
    return Heartbeat(SimpleNamespace(uid=user, gid=group))


def test_last_beat_is_a_time_of_the_monotonic_clock() -> None:
    beat = heartbeat(os.geteuid(), os.getegid())
    before = monotonic()
    beat.notify()
    assert before - 0.01 <= beat.last_update() <= monotonic()
    beat.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another")
def test_worker_with_an_account_of_its_own_can_beat() -> None:
    beat = heartbeat(NOBODY, NOBODY)
    child = os.fork()
    if not child:
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            beat.notify()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert beat.last_update() <= monotonic()
    beat.close()
