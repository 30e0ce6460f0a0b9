"""A store that may be lost."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pyrox.middleware.limiting.demands import Demand, StoreError, Verdict
from pyrox.middleware.limiting.guarded_store import GuardedStore

YES = [Verdict(True, 1, 1.0, 0.0)]
LOCAL = [Verdict(True, 2, 1.0, 0.0)]
DEMANDS = [Demand("fixed_window", b"k" * 16, 10, 60, 10, 1)]


class Scripted:
    """Answers ``YES``, or raises while ``is_lost``."""

    def __init__(self, answer: list[Verdict] = YES) -> None:
        self.answer = answer
        self.is_lost = False
        self.asked = 0

    def key(self, text: str) -> bytes:
        return text.encode()

    def take(self, demands: list[Demand]) -> list[Verdict]:
        self.asked += 1
        if self.is_lost:
            raise StoreError("gone")
        return self.answer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lost_store_is_asked_again_after_pauses_that_grow() -> None:
    store, clock = Scripted(), Clock()
    guarded = GuardedStore(store, Scripted(LOCAL), "limit", clock)
    assert guarded.take(DEMANDS) == YES
    store.is_lost, store.asked = True, 0
    asked_at = []
    while clock.now < 20:
        before = store.asked
        assert guarded.take(DEMANDS) == LOCAL
        if store.asked > before:
            asked_at.append(clock.now)
        clock.now += 1 / 64
    pauses = [b - a for a, b in pairwise(asked_at)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], abs=2 / 64)


def test_return_is_noticed_by_one_request_and_told(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = Scripted(), Clock()
    guarded = GuardedStore(store, None, "limit", clock)
    store.is_lost = True
    for _ in range(3):
        with pytest.raises(StoreError):
            guarded.take(DEMANDS)
    assert store.asked == 1
    store.is_lost = False
    clock.now += 0.1
    assert guarded.take(DEMANDS) == guarded.take(DEMANDS) == YES
    assert [record.message for record in caplog.records] == [
        "limit: the store gives no answer: gone",
        "limit: the store answers again",
    ]


def test_requests_that_were_under_way_when_it_was_lost_make_the_pause_no_longer() -> None:
    store, clock = Scripted(), Clock()
    guarded = GuardedStore(store, Scripted(LOCAL), "limit", clock)
    for _ in range(10):
        guarded._lose(StoreError("gone"), was_lost=False)
    clock.now += 0.11
    store.asked = 0
    assert guarded.take(DEMANDS) == YES
    assert store.asked == 1


def test_only_one_request_waits_for_a_lost_store() -> None:
    clock = Clock()
    local = Scripted(LOCAL)
    others: list[list[Verdict]] = []

    class Slow(Scripted):
        def take(self, demands: list[Demand]) -> list[Verdict]:
            if self.is_lost and not others:  # while it waits, another request comes
                others.append([])
                others[0] = guarded.take(DEMANDS)
            return super().take(demands)

    store = Slow()
    guarded = GuardedStore(store, local, "limit", clock)
    guarded._lose(StoreError("gone"), was_lost=False)
    store.is_lost = True
    clock.now += 0.2
    assert guarded.take(DEMANDS) == LOCAL
    assert others == [LOCAL]
    assert store.asked == 1
