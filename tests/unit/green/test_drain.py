"""Deadlines of a drain, with an engine that only notes what it is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pyrox.green import drain
from pyrox.green.board import Order
from pyrox.green.drain import Drain


class Engine:
    def __init__(self, grace: float, tunnel_grace: float) -> None:
        core = SimpleNamespace(graceful_timeout=grace, tunnel_grace=tunnel_grace)
        self.settings = SimpleNamespace(core=core)
        self.accepted = 2
        self.idle_timeouts: list[float] = []
        self.cuts: list[bool] = []

    def drain(self, idle_timeout: float) -> None:
        self.idle_timeouts.append(idle_timeout)

    def cut(self, spare_tunnels: bool = False) -> int:
        self.cuts.append(spare_tunnels)
        return 0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(drain, "monotonic", clock)
    return clock


def drain_of(engine: Engine) -> Drain:
    return Drain(engine)  # type: ignore[arg-type]


def test_stop_gives_idle_clients_a_second_and_everything_the_grace_time(clock: Clock) -> None:
    engine = Engine(grace=10, tunnel_grace=300)
    ending = drain_of(engine)
    ending.begin(Order.STOP)
    assert engine.idle_timeouts == [1.0]
    clock.now += 9.4
    assert ending.proceed()
    clock.now += 0.2
    assert not ending.proceed()


def test_retirement_spares_tunnels_and_lets_idle_clients_come_back(clock: Clock) -> None:
    engine = Engine(grace=10, tunnel_grace=300)
    ending = drain_of(engine)
    ending.begin(Order.RETIRE)
    assert engine.idle_timeouts == [8.5]
    clock.now += 9.4
    assert ending.proceed() and engine.cuts == []
    clock.now += 0.2
    assert ending.proceed() and engine.cuts == [True]
    clock.now += 290
    assert ending.proceed()
    clock.now += 1
    assert not ending.proceed()


def test_handing_over_ends_in_time_but_is_as_patient_with_idle_clients(clock: Clock) -> None:
    engine = Engine(grace=10, tunnel_grace=300)
    ending = drain_of(engine)
    ending.begin(Order.HAND_OVER)
    assert engine.idle_timeouts == [8.5]
    clock.now += 9.6
    assert not ending.proceed()


def test_stop_after_a_retirement_counts_from_the_stop(clock: Clock) -> None:
    engine = Engine(grace=10, tunnel_grace=300)
    ending = drain_of(engine)
    ending.begin(Order.RETIRE)
    clock.now += 60
    assert ending.proceed()
    ending.begin(Order.STOP)
    clock.now += 9.4
    assert ending.proceed()
    clock.now += 0.2
    assert not ending.proceed()


def test_nothing_left_is_the_end(clock: Clock) -> None:
    engine = Engine(grace=10, tunnel_grace=300)
    engine.accepted = 0
    ending = drain_of(engine)
    ending.begin(Order.RETIRE)
    assert not ending.proceed()


def test_tunnel_grace_below_the_grace_time_cuts_no_exchange_short(clock: Clock) -> None:
    ending = drain_of(Engine(grace=10, tunnel_grace=0))
    ending.begin(Order.RETIRE)
    clock.now += 9.4
    assert ending.proceed()
