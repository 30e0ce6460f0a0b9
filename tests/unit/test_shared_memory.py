"""Memory that processes share, and locks that die with their holders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from pyrox import shared_memory
from pyrox.shared_memory import (
    HANDED_OVER,
    forget_own_memory,
    hand_over_shared_memory,
    keep_shared_memory,
    shared_area,
)


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make this process a master with a file of its own, for one test."""
    monkeypatch.setattr(shared_memory, "_descriptor", None)
    monkeypatch.setattr(shared_memory, "_opened", {})
    keep_shared_memory({})
    yield
    for file in shared_memory._opened.values():
        os.close(file._file)
    if shared_memory._descriptor is not None:
        os.close(shared_memory._descriptor)


def in_child(act: Callable[[], object]) -> int:
    """Run ``act`` in a forked process; returns its pid."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return child


def ends_well(child: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_one_process_writes_others_read(master: None) -> None:
    def write() -> None:
        shared_area("a", 100).memory[7:12] = b"hello"

    assert ends_well(in_child(write))
    area = shared_area("a", 100)
    assert area.memory[:12] == bytes(7) + b"hello"
    assert shared_area("a", 100) is area
    assert len(area.secret) == 16


def test_areas_of_other_names_and_sizes_are_others(master: None) -> None:
    areas = [shared_area("a", 100), shared_area("b", 100), shared_area("a", 200)]
    for number, area in enumerate(areas, 1):
        area.memory[:100] = bytes([number]) * 100
    assert [area.memory[99] for area in areas] == [1, 2, 3]
    assert areas[2].memory[100:200] == bytes(100)


def test_many_processes_that_ask_at_once_get_the_same(master: None) -> None:
    def add() -> None:
        area = shared_area("counter", 4096)
        for _ in range(500):
            area.lock(5)
            count = int.from_bytes(area.memory[:8], "little")
            area.memory[:8] = (count + 1).to_bytes(8, "little")
            area.unlock(5)

    children = [in_child(add) for _ in range(4)]
    assert [ends_well(child) for child in children] == [True] * 4
    assert int.from_bytes(shared_area("counter", 4096).memory[:8], "little") == 2000


def test_lock_of_a_killed_process_is_free(master: None) -> None:
    reader, writer = os.pipe()

    def hold() -> None:
        shared_area("a", 100).lock(3)
        os.write(writer, b"x")
        signal.pause()

    child = in_child(hold)
    os.read(reader, 1)
    area = shared_area("a", 100)
    assert not area.try_lock(3)
    assert area.try_lock(4)  # one byte, one lock
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    area.lock(3)
    area.unlock(3)
    os.close(reader)
    os.close(writer)


def test_forked_process_does_not_share_its_parent_s_locks(master: None) -> None:
    area = shared_area("a", 100)
    area.lock(3)

    def try_it() -> None:
        assert not shared_area("a", 100).try_lock(3)

    assert ends_well(in_child(try_it))
    area.unlock(3)


def test_next_program_of_the_master_takes_the_memory_over(master: None) -> None:
    shared_area("a", 100).memory[:5] = b"hello"
    descriptor = hand_over_shared_memory()
    code = (
        "import os\n"
        "from pyrox.shared_memory import keep_shared_memory, shared_area\n"
        "keep_shared_memory(os.environ)\n"
        f"assert {HANDED_OVER!r} not in os.environ\n"
        "assert shared_area('a', 100).memory[:5] == b'hello'\n"
    )
    environ = {**os.environ, HANDED_OVER: descriptor, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, "-c", code], env=environ, pass_fds=[int(descriptor)], check=True, timeout=60
    )


@pytest.mark.parametrize("text", ["", "0", "987654", "x", "-1"])
def test_descriptor_of_something_else_is_not_taken(master: None, text: str) -> None:
    before = shared_memory._descriptor
    keep_shared_memory({HANDED_OVER: text})
    assert shared_memory._descriptor == before


def test_directory_that_is_full_says_so(master: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "_MOST_AREAS", 2)
    shared_area("a", 1)
    shared_area("b", 1)
    with pytest.raises(MemoryError, match="all 2 areas of shared memory are taken"):
        shared_area("c", 1)


def test_without_a_master_memory_is_the_process_s_own_and_can_be_forgotten() -> None:
    area = shared_area("a", 100)
    area.lock(1)
    assert area.try_lock(1)
    area.unlock(1)
    assert shared_area("a", 100) is area
    forget_own_memory()
    assert shared_area("a", 100) is not area
