"""Work in real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import gevent
import pytest

from pyrox.green.threads import run_in_pool
from pyrox.threads import run_in_thread, use_runner


@pytest.fixture
def pool() -> Iterator[None]:
    use_runner(run_in_pool)
    yield
    use_runner(None)


def test_without_an_engine_work_is_done_in_place() -> None:
    assert run_in_thread(threading.get_ident) == threading.get_ident()


def test_other_greenlets_run_meanwhile(pool: None) -> None:
    seen: list[str] = []

    def block() -> int:
        time.sleep(0.05)
        seen.append("thread")
        return threading.get_ident()

    other = gevent.spawn(seen.append, "greenlet")
    assert run_in_thread(block) != threading.get_ident()
    other.join()
    assert seen == ["greenlet", "thread"]


def test_exceptions_come_back_and_are_not_printed(pool: None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        run_in_thread(int, "x")
    assert run_in_thread(int, "11", base=2) == 3
    assert capfd.readouterr() == ("", "")


def test_names_that_are_looked_up_do_not_keep_work_waiting(pool: None) -> None:
    """gevent looks them up in the threads of its hub, and a dead name server keeps all of these."""
    answered = threading.Event()
    lookups = gevent.get_hub().threadpool
    waiting = [lookups.spawn(answered.wait, 60) for _ in range(lookups.maxsize)]
    try:
        with gevent.Timeout(30):
            assert run_in_thread(int, "7") == 7
        assert not answered.is_set()
    finally:
        answered.set()
        gevent.joinall(waiting)
