"""The circuit breaker of one server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.upstreams.breaker import Breaker, BreakerRules, State
from tests.unit.upstreams.kit import NOW

RULES = BreakerRules(0.5, least=4, window=10.0, open_time=5.0, longest_open_time=15.0, trials=2)
CERTAIN = 1.0  # chance that shortens nothing


def breaker_of(rules: BreakerRules = RULES, chance: float = CERTAIN) -> Breaker:
    return Breaker(rules, lambda: chance)


def fail(breaker: Breaker, now: float, count: int = 1) -> None:
    for _ in range(count):
        breaker.failed(breaker.begin(), now)


def succeed(breaker: Breaker, now: float, count: int = 1) -> None:
    for _ in range(count):
        breaker.succeeded(breaker.begin(), now)


def opened(breaker: Breaker, now: float = NOW) -> Breaker:
    fail(breaker, now, RULES.least)
    assert breaker.state is State.OPEN
    return breaker


def half_open(now: float = NOW) -> Breaker:
    breaker = opened(breaker_of(), now)
    breaker.tick(now + RULES.open_time)
    assert breaker.state is State.HALF_OPEN
    return breaker


def test_few_failures_mean_nothing() -> None:
    breaker = breaker_of()
    fail(breaker, NOW, RULES.least - 1)
    assert breaker.state is State.CLOSED


def test_a_small_share_of_failures_means_nothing() -> None:
    breaker = breaker_of()
    for number in range(100):
        succeed(breaker, NOW + number / 100, 2)
        fail(breaker, NOW + number / 100)
    assert breaker.state is State.CLOSED


def test_opens_when_the_share_is_reached() -> None:
    breaker = breaker_of()
    succeed(breaker, NOW, 3)
    fail(breaker, NOW, 2)
    assert breaker.state is State.CLOSED
    fail(breaker, NOW)
    assert breaker.state is State.OPEN
    assert not breaker.lets_through


def test_failures_of_long_ago_are_forgotten() -> None:
    breaker = breaker_of()
    fail(breaker, NOW, 3)
    fail(breaker, NOW + RULES.window)
    assert breaker.state is State.CLOSED


def test_stays_open_for_its_time() -> None:
    breaker = opened(breaker_of())
    breaker.tick(NOW + 4.9)
    assert not breaker.lets_through
    breaker.tick(NOW + 5.0)
    assert breaker.lets_through


def test_chance_shortens_the_time_by_up_to_a_quarter() -> None:
    breaker = opened(breaker_of(chance=0.0))
    breaker.tick(NOW + 3.7)
    assert breaker.state is State.OPEN
    breaker.tick(NOW + 3.75)
    assert breaker.state is State.HALF_OPEN


def test_half_open_lets_just_the_trials_through() -> None:
    breaker = half_open()
    tickets = []
    while breaker.lets_through:
        tickets.append(breaker.begin())
    assert len(tickets) == RULES.trials
    breaker.succeeded(tickets[0], NOW + 6)
    assert not breaker.lets_through, "one that went well makes no room for another"
    breaker.succeeded(tickets[1], NOW + 6)
    assert breaker.state is State.CLOSED


def test_closed_again_it_has_forgotten_why_it_opened() -> None:
    breaker = half_open()
    succeed(breaker, NOW + 6, RULES.trials)
    fail(breaker, NOW + 6, RULES.least - 1)
    assert breaker.state is State.CLOSED


def test_trial_that_fails_opens_it_for_twice_as_long_up_to_the_longest() -> None:
    breaker = opened(breaker_of())
    now = NOW
    for seconds in (5.0, 10.0, 15.0, 15.0):
        breaker.tick(now + seconds - 0.1)
        assert breaker.state is State.OPEN
        now += seconds
        breaker.tick(now)
        assert breaker.state is State.HALF_OPEN
        fail(breaker, now)
        assert breaker.state is State.OPEN


def test_the_time_is_short_again_after_it_was_closed() -> None:
    breaker = half_open()
    fail(breaker, NOW + 5)
    breaker.tick(NOW + 15)
    succeed(breaker, NOW + 15, RULES.trials)
    opened(breaker, NOW + 16)
    breaker.tick(NOW + 21)
    assert breaker.state is State.HALF_OPEN


def test_answers_that_break_off_count_as_failures_after_all() -> None:
    breaker = breaker_of()
    succeed(breaker, NOW, 4)
    breaker.broke_off(NOW)
    assert breaker.state is State.CLOSED
    breaker.broke_off(NOW)
    assert breaker.state is State.OPEN
    breaker.broke_off(NOW + 1)
    breaker.tick(NOW + 5)
    assert breaker.state is State.HALF_OPEN
    breaker.broke_off(NOW + 5)
    assert breaker.state is State.OPEN


def test_trial_that_is_given_up_makes_room_for_another() -> None:
    breaker = half_open()
    breaker.begin()
    given_up = breaker.begin()
    assert not breaker.lets_through
    breaker.abandoned(given_up, NOW + 6)
    assert breaker.lets_through
    breaker.begin()
    assert not breaker.lets_through


@pytest.mark.parametrize(
    "verdict", [Breaker.succeeded, Breaker.failed, lambda b, t, now: b.abandoned(t, now)]
)
def test_tries_of_an_earlier_state_say_nothing(verdict: object) -> None:
    breaker = breaker_of()
    old = [breaker.begin() for _ in range(3)]
    opened(breaker)
    breaker.tick(NOW + 5)
    for ticket in old:
        verdict(breaker, ticket, NOW + 5)  # type: ignore[operator]
    assert breaker.state is State.HALF_OPEN
    assert [breaker.begin() for _ in range(RULES.trials)]
    assert not breaker.lets_through


@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from(["begin", "well", "badly", "up", "wait"]), st.integers(0, 9)), max_size=150
    ),
)
def test_invariants(trials: int, steps: list[tuple[str, int]]) -> None:
    """At most so many trials, ever; no way from open to closed but by as many that went well."""
    breaker = breaker_of(BreakerRules(0.5, 2, 10.0, 1.0, 8.0, trials))
    now = NOW
    running: list[tuple[int, int]] = []  # ticket, and which half-open time it belongs to
    period = admitted = well = 0
    before = breaker.state
    for step, number in steps:
        now += 0.1
        if step == "wait":
            now += number
        breaker.tick(now)
        if step == "begin" and breaker.lets_through:
            is_trial = breaker.state is State.HALF_OPEN
            admitted += is_trial
            running.append((breaker.begin(), period if is_trial else -1))
            assert admitted <= trials
        elif step in ("well", "badly", "up") and running:
            ticket, of = running.pop(number % len(running))
            is_trial = of == period and breaker.state is State.HALF_OPEN
            well += is_trial and step == "well"
            admitted -= is_trial and step == "up"
            {"well": breaker.succeeded, "badly": breaker.failed, "up": breaker.abandoned}[step](ticket, now)
            if is_trial and step == "badly":
                assert breaker.state is State.OPEN
        if breaker.state is State.CLOSED and before is State.HALF_OPEN:
            assert well == trials
        if breaker.state is State.HALF_OPEN and before is not State.HALF_OPEN:
            period, admitted, well = period + 1, 0, 0
            if step == "begin":  # it was half-open by the time that it began
                admitted = 1
                running[-1] = running[-1][0], period
        assert (before, breaker.state) != (State.OPEN, State.CLOSED)
        before = breaker.state
