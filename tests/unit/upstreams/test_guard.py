"""What the guard of a cluster lets breakers, places and members make of each other."""

from __future__ import annotations

import pytest

from pyrox.errors import NoHealthyServer
from pyrox.http.message import Response
from pyrox.upstreams.breaker import Breaker, BreakerRules
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.gate import Place, Waiter
from pyrox.upstreams.guard import Guard, GuardRules
from pyrox.upstreams.member import Member, Reason
from pyrox.upstreams.retry import RetryRules
from tests.unit.upstreams.kit import GET, NOW, members

BREAKER = BreakerRules(0.5, least=2, open_time=5.0, longest_open_time=5.0, trials=2)
RULES = GuardRules(breaker=BREAKER, breaker_statuses=frozenset((503,)))
OK, BUSY = Response(200), Response(503)


def guard_of(count: int, rules: GuardRules = RULES) -> Guard:
    return Guard(Cluster("c", members(*[1] * count)), rules, lambda: 1.0)


def enter(guard: Guard, now: float = NOW) -> Place:
    place = guard.gate.enter(GET, now)
    assert place is not None
    return place


def open_breaker(guard: Guard, now: float = NOW) -> Member:
    """Let the next member fail until its breaker opens."""
    victim = enter(guard, now).member
    while Reason.BREAKER not in victim.excluded:
        place = enter(guard, now)
        if place.member is victim:
            guard.failed(place, now)
        else:
            guard.answered(place, OK, now)
    return victim


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (GuardRules(), False),
        (RULES, True),
        (GuardRules(retry=RetryRules(retries=1, statuses=frozenset((503,)))), True),
        (GuardRules(server_limit=1), True),
        (GuardRules(exchange_limit=1), True),
        (GuardRules(try_timeout=1.0), True),
        (GuardRules(hedge_after=1.0), True),
        (GuardRules(queue_limit=1, queue_timeout=1.0), False),
    ],
)
def test_rules_that_ask_for_nothing_need_no_guard(rules: GuardRules, says: bool) -> None:
    assert bool(rules) is says


def test_member_whose_breaker_opens_is_excluded_until_it_is_half_open() -> None:
    guard = guard_of(2)
    victim = open_breaker(guard)
    assert {enter(guard).member for _ in range(10)} == set(guard.cluster.members) - {victim}
    chosen = [enter(guard, NOW + 5.0).member for _ in range(10)]
    assert chosen.count(victim) == BREAKER.trials


def test_single_member_whose_breaker_is_open_is_nobody() -> None:
    guard = guard_of(1)
    open_breaker(guard)
    with pytest.raises(NoHealthyServer, match="1 breaker"):
        guard.gate.enter(GET, NOW)


def test_trials_that_go_well_include_it_again() -> None:
    guard = guard_of(1)
    victim = open_breaker(guard)
    trials = [enter(guard, NOW + 5) for _ in range(BREAKER.trials)]
    with pytest.raises(NoHealthyServer):
        guard.gate.enter(GET, NOW + 5)
    for trial in trials:
        guard.answered(trial, OK, NOW + 6)
        guard.abandoned(trial, NOW + 6)  # when its place is given back: that says nothing more
    assert victim.excluded == frozenset()


def test_place_that_is_given_back_after_a_trial_went_well_makes_no_room_for_another() -> None:
    guard = guard_of(1)
    open_breaker(guard)
    trials = [enter(guard, NOW + 5) for _ in range(BREAKER.trials)]
    guard.answered(trials[0], OK, NOW + 5)
    guard.abandoned(trials[0], NOW + 5)
    with pytest.raises(NoHealthyServer):
        guard.gate.enter(GET, NOW + 5)


def test_statuses_count_as_the_rules_say() -> None:
    for response, count in ((BUSY, 1), (OK, 0)):
        guard = guard_of(1)
        for place in [enter(guard) for _ in range(BREAKER.least)]:
            guard.answered(place, response, NOW)
        assert len(guard.cluster.members[0].excluded) == count


def test_errors_count_only_if_the_rules_say_so() -> None:
    guard = guard_of(1, GuardRules(breaker=BREAKER, breaker_errors=False))
    for place in [enter(guard) for _ in range(20)]:
        guard.failed(place, NOW)
    assert guard.cluster.members[0].excluded == frozenset()


@pytest.mark.parametrize(("errors", "is_excluded"), [(True, True), (False, False)])
def test_answers_that_break_off_are_errors(errors: bool, is_excluded: bool) -> None:
    guard = guard_of(1, GuardRules(breaker=BREAKER, breaker_errors=errors))
    cluster, [member] = guard.cluster, guard.cluster.members
    cluster.guard = guard
    cluster.broke_off(member, NOW)  # whose breaker nobody has asked for yet
    for place in [enter(guard) for _ in range(BREAKER.least)]:
        guard.answered(place, OK, NOW)
        cluster.broke_off(member, NOW)
    assert bool(member.excluded) is is_excluded


def test_those_that_wait_can_be_trials() -> None:
    """Their place was theirs before they knew it: that counts."""
    guard = guard_of(1, GuardRules(breaker=BREAKER, server_limit=1, queue_limit=9))
    first = enter(guard)
    woken: list[Waiter] = []
    waiters = [Waiter(GET, (), False, lambda: woken.append(waiters[len(woken)])) for _ in range(3)]
    for waiter in waiters:
        guard.gate.wait(waiter)
    for place in (first, None):
        place = place or waiters[0].place
        assert place is not None
        guard.failed(place, NOW)
        guard.gate.leave(place, NOW)
    assert Reason.BREAKER in first.member.excluded
    assert woken == waiters[:1], "the breaker has opened, and nobody gets a place"
    guard.gate.dispatch(NOW + 5)
    assert woken == waiters[:2]


def test_members_that_are_gone_are_forgotten() -> None:
    guard = guard_of(1)
    for number in range(50):
        open_breaker(guard, NOW + number)
        guard.cluster.update_members(members(*[1] * 1), NOW)
        new = [Member(member.server, 2) for member in members(*[1] * (number % 2 + 2))[number % 2 + 1 :]]
        guard.cluster.update_members(new, NOW + number)
    assert len(guard._breakers) <= 2
    assert len(guard._open) <= 2


def test_requests_pay_for_retries() -> None:
    guard = guard_of(1, GuardRules(server_limit=9, budget=0.5, least_retries=0))
    assert not guard.budget.take(NOW)
    guard.begin(NOW)
    guard.begin(NOW)
    assert guard.budget.take(NOW)
    assert not guard.budget.take(NOW)


# --- many that are down, and one that is well again


def down(count: int) -> Guard:
    """A guard of one member that is well, and ``count`` whose breakers are open for five seconds."""
    guard = guard_of(count + 1)
    well = guard.cluster.members[0]
    for place in [enter(guard) for _ in range(BREAKER.least * (count + 1))]:
        if place.member is well:
            guard.answered(place, OK, NOW)
        else:
            guard.failed(place, NOW)
    return guard


def test_request_does_not_look_at_each_of_those_that_are_down(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = down(200)
    ticks: list[float] = []
    tick = Breaker.tick
    monkeypatch.setattr(Breaker, "tick", lambda self, now: (ticks.append(now), tick(self, now))[1])
    for number in range(100):
        guard.answered(enter(guard, NOW + number / 100), OK, NOW)
    assert ticks == []
    enter(guard, NOW + 5.0)
    assert len(ticks) == 200, "all are due, and each is looked at once"
    enter(guard, NOW + 5.1)
    assert len(ticks) == 200


def test_breaker_that_opens_again_is_half_open_at_its_new_time_and_not_at_the_old() -> None:
    guard = guard_of(1)
    member = open_breaker(guard)
    guard.is_well(member, NOW + 1)
    trial = enter(guard, NOW + 1)
    guard.failed(trial, NOW + 2)
    with pytest.raises(NoHealthyServer):
        enter(guard, NOW + 6)
    assert enter(guard, NOW + 7).member is member


def test_member_that_its_checks_call_well_again_is_tried_at_once() -> None:
    guard = guard_of(1, GuardRules(breaker=BreakerRules(0.5, least=2, open_time=1000, trials=1)))
    cluster, [member] = guard.cluster, guard.cluster.members
    cluster.guard = guard
    open_breaker(guard)
    cluster.exclude(member, Reason.UNHEALTHY, NOW)
    with pytest.raises(NoHealthyServer):
        enter(guard, NOW + 1)
    cluster.include(member, Reason.UNHEALTHY, NOW + 2)
    trial = enter(guard, NOW + 2)
    with pytest.raises(NoHealthyServer):
        enter(guard, NOW + 2)
    guard.answered(trial, OK, NOW + 2)
    assert enter(guard, NOW + 2).member is member


def test_members_that_go_take_their_breakers_with_them() -> None:
    guard = guard_of(3)
    victim = open_breaker(guard)
    others = [member for member in guard.cluster.members if member is not victim]
    new = members(1, 1, 1, 1)[3:]
    guard.cluster.update_members([*others, *new], NOW)
    for _ in range(len(others) + len(new)):
        guard.answered(enter(guard, NOW + 1), OK, NOW + 1)
    assert victim not in guard._breakers
    enter(guard, NOW + 5)
