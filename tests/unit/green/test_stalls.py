"""What a master makes of the dump of a worker that stalls."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Iterator

import pytest

from pyrox.green import balance
from pyrox.green.stalls import StallRecord, describe

MAIN = "0x00007f63ad5beb80"
OTHER = """Timeout (0:00:00.500000)!
Thread 0x00007f63ac9846c0 (most recent call first):
  File "/app/threads.py", line 8 in middleware 'not me'

"""


def dump_of(*frames: str) -> str:
    lines = [f'  File "{file}", line {line} in {function}' for file, line, function in map(str.split, frames)]
    return OTHER + f"Thread {MAIN} (most recent call first):\n" + "\n".join(lines) + "\n"


def headline(dump: str) -> str:
    return describe(dump.replace("mw:", "middleware "), MAIN).partition("\n")[0]


def test_innermost_layer_is_blamed_at_its_innermost_line() -> None:
    dump = dump_of(
        "/app/auth.py 12 check", "/app/auth.py 30 __call__", "/pyrox/stack.py 70 mw:'auth'",
        "/app/log.py 9 __call__", "/pyrox/stack.py 70 mw:'log'", "/pyrox/client.py 5 serve",
    )  # fmt: skip
    assert headline(dump) == "middleware 'auth' at /app/auth.py:12 in check"
    assert describe(dump, MAIN).splitlines()[1:3] == [
        "    /app/auth.py:12 in check",
        "    /app/auth.py:30 in __call__",
    ]


def test_line_of_ones_own_is_named_rather_than_pythons() -> None:
    dump = dump_of(f"{os.__file__} 176 search", "/app/auth.py 12 check", "/pyrox/stack.py 70 mw:'auth'")
    assert headline(dump) == "middleware 'auth' at /app/auth.py:12 in check"


def test_middleware_that_is_installed_is_one_all_the_same() -> None:
    path = os.path.join(os.path.dirname(os.__file__), "site-packages", "auth.py")
    assert headline(dump_of(f"{path} 12 check", "/pyrox/stack.py 70 mw:'auth'")).endswith(
        "auth.py:12 in check"
    )


def test_what_runs_in_no_layer_is_named_by_its_line() -> None:
    assert (
        headline(dump_of("/app/filter.py 4 feed", "/pyrox/respond.py 9 send")) == "/app/filter.py:4 in feed"
    )


@pytest.mark.parametrize(
    "dump",
    [
        OTHER,
        "",
        dump_of("/site-packages/gevent/hub.py 600 run"),
        dump_of(f"{balance.__file__} 50 refresh"),
        dump_of(f"{os.__file__} 9 read", f"{balance.__file__} 50 refresh", "/app/auth.py 3 __call__"),
    ],
)
def test_engine_is_not_blamed(dump: str) -> None:
    assert describe(dump, MAIN) == ""


@pytest.fixture
def record() -> Iterator[StallRecord]:
    record = StallRecord()
    yield record
    record.unwatch()
    record.close()
    record.close()
    # It is pytest's, too, which has one timer for a process.
    faulthandler.cancel_dump_traceback_later()


class Loop:
    """A loop whose timers do not run."""

    def timer(self, after: float, repeat: float) -> Loop:
        return self

    def start(self, callback: object, *args: object) -> None:
        pass

    def close(self) -> None:
        pass


def stall_until_taken(record: StallRecord) -> str:
    deadline = time.monotonic() + 30
    while not (text := record.take()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return text


def test_a_loop_that_does_not_run_is_told_once_each_time(record: StallRecord) -> None:
    for _ in range(2):
        record.watch(Loop(), 0.05)
        assert f"{__file__}:" in stall_until_taken(record)
        assert not record.is_pending
        assert record.take() == ""


def test_a_loop_that_runs_is_not_told_of(record: StallRecord) -> None:
    record.watch(Loop(), 60.0)
    record.unwatch()
    assert record.take() == ""
