"""Costly work: few at a time, each once, and nobody has it all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from pyrox.middleware.shared_work import Overloaded, SharedWork, ShareUsedUp


class WatchedLock:
    """A lock that knows who has left it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.left: list[threading.Thread] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.left.append(threading.current_thread())
        self._lock.release()


class Stage:
    """Computations that end when they are let, in threads of their own."""

    def __init__(self, work: SharedWork[str]) -> None:
        self.work = work
        self._asked = work._lock = WatchedLock()  # type: ignore[assignment]
        self.computed: list[str] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._begun = threading.Semaphore(0)
        self._may_end = threading.Semaphore(0)
        self._asking: list[threading.Thread] = []
        self.results: list[object] = []

    def compute(self, name: str) -> Callable[[], str]:
        def compute() -> str:
            with self._lock:
                self.computed.append(name)
                self._now += 1
                self.most = max(self.most, self._now)
            self._begun.release()
            assert self._may_end.acquire(timeout=30)
            with self._lock:
                self._now -= 1
            if name == "fails":
                raise ArithmeticError("no result")
            return name.upper()

        return compute

    def ask(self, name: str, owner: str = "ada") -> None:
        """Ask in a thread; returns when the question is in the queue, or has joined one that is there."""

        def ask() -> None:
            try:
                self.results.append(self.work.do(name, owner, self.compute(name)))
            except Exception as error:
                self.results.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        self._asking.append(thread)
        thread.start()
        while thread not in self._asked.left:
            thread.join(0.001)

    def begun(self, count: int) -> None:
        for _ in range(count):
            assert self._begun.acquire(timeout=30)

    def end(self, count: int = 1000) -> None:
        self._may_end.release(count)

    def join(self) -> list[object]:
        for thread in self._asking:
            thread.join(30)
            assert not thread.is_alive()
        return self.results


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(SharedWork(at_once=2, waiting=3, share=4))
    yield stage
    stage.end()
    stage.join()


def test_no_more_than_a_few_at_a_time_and_all_in_the_end(stage: Stage) -> None:
    for name in "abcd":
        stage.ask(name)
    stage.begun(2)
    assert stage.computed == ["a", "b"]
    stage.end()
    assert sorted(map(str, stage.join())) == ["A", "B", "C", "D"]
    assert stage.most == 2
    assert stage.work.do("e", "ada", lambda: "E") == "E"  # the threads are gone, and come again


def test_same_work_is_done_once_for_all_who_ask(stage: Stage) -> None:
    for owner in ("ada", "bob", "eve", "ada", "ada", "ada", "ada"):
        stage.ask("a", owner)
    stage.begun(1)
    stage.end()
    assert stage.join() == ["A"] * 7
    assert stage.computed == ["a"]


def test_one_owner_has_a_share_and_no_more(stage: Stage) -> None:
    for name in "abcd":
        stage.ask(name)
    with pytest.raises(ShareUsedUp):
        stage.work.do("e", "ada", stage.compute("e"))
    stage.ask("f", "bob")
    with pytest.raises(Overloaded):
        stage.work.do("g", "bob", stage.compute("g"))
    stage.end()
    assert sorted(map(str, stage.join())) == ["A", "B", "C", "D", "F"]
    assert stage.work.do("e", "ada", lambda: "E") == "E"
    assert not stage.work._owned and not stage.work._jobs


def test_failure_is_told_to_each_who_asked_as_an_exception_of_its_own(stage: Stage) -> None:
    stage.ask("fails")
    stage.ask("fails", "bob")
    stage.begun(1)
    stage.end()
    first, second = stage.join()
    assert isinstance(first, RuntimeError) and isinstance(second, RuntimeError) and first is not second
    assert str(first) == "ArithmeticError: no result"
    assert stage.work.do("a", "ada", lambda: "A") == "A"
