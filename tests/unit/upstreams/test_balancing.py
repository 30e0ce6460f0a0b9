"""Members chosen by what they have to do, and how long it takes them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from pyrox.upstreams.balancing import Ewma, LeastConn, RandomTwo, _cost
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import Policy, RoundRobin
from tests.unit.upstreams.kit import (
    GET,
    NOW,
    Simulation,
    alike,
    anything,
    furthest,
    members,
    name_of,
    shares,
)

REQUESTS = 100_000
MakePolicy = Callable[[Callable[[], float]], Policy]
POLICIES: list[MakePolicy] = [lambda random: RoundRobin(random()), LeastConn, RandomTwo, Ewma]
NAMES = ["round_robin", "least_conn", "random_two", "ewma"]


@pytest.mark.parametrize("weights", [(1, 1, 1), (5, 3, 1, 1)], ids=str)
@pytest.mark.parametrize("in_flight", [1, 60])
@pytest.mark.parametrize("policy", POLICIES, ids=NAMES)
def test_shares_are_the_weights(policy: MakePolicy, in_flight: int, weights: tuple[int, ...]) -> None:
    group = members(*weights)
    chosen = Simulation(group, policy, in_flight).run(REQUESTS, alike)
    assert furthest(chosen, group) < 0.02


@pytest.mark.parametrize("policy", POLICIES[1:3], ids=NAMES[1:3])
def test_shares_are_the_weights_whatever_requests_take(policy: MakePolicy) -> None:
    group = members(5, 3, 1, 1)
    chosen = Simulation(group, policy, 60).run(REQUESTS, anything)
    assert furthest(chosen, group) < 0.02


@pytest.mark.parametrize("in_flight", range(2, 16))
@pytest.mark.parametrize("policy", POLICIES[1:3], ids=NAMES[1:3])
def test_shares_are_near_the_weights_where_little_is_in_flight(policy: MakePolicy, in_flight: int) -> None:
    """Exactly they cannot be: three exchanges cannot be shared out as five to one."""
    group = members(3, 1)
    assert furthest(Simulation(group, policy, in_flight).run(5000, anything), group) < 0.1


def test_least_conn_takes_the_one_with_the_fewest_for_its_weight() -> None:
    group = members(1, 2, 4)
    for member, in_flight in zip(group, (1, 2, 9), strict=True):
        member.in_flight = in_flight
    policy, lineup = LeastConn(Random(1).random), Lineup(group)
    assert {policy.choose(lineup, GET, NOW) for _ in range(50)} == {group[1]}


@pytest.mark.parametrize(
    ("weights", "in_flight", "share"), [((1, 1, 1), (2, 2, 9), 0.5), ((1, 3, 1), (1, 4, 9), 0.25)], ids=str
)
def test_least_conn_shares_among_equals_by_weight(
    weights: tuple[int, ...], in_flight: tuple[int, ...], share: float
) -> None:
    group = members(*weights)
    for member, number in zip(group, in_flight, strict=True):
        member.in_flight = number
    policy, lineup = LeastConn(Random(1).random), Lineup(group)
    found = shares(policy.choose(lineup, GET, NOW) for _ in range(4000))
    assert found == {"s0": pytest.approx(share, abs=0.03), "s1": pytest.approx(1 - share, abs=0.03)}


def test_random_two_never_takes_the_busiest() -> None:
    group = members(1, 1, 1, 1)
    for number, member in enumerate(group):
        member.in_flight = number + 1
    policy, lineup = RandomTwo(Random(1).random), Lineup(group)
    found = shares(policy.choose(lineup, GET, NOW) for _ in range(6000))
    # Of six pairs, three have the first, two the second, one the third.
    expected = {"s0": 3 / 6, "s1": 2 / 6, "s2": 1 / 6}
    assert found == {name: pytest.approx(share, abs=0.02) for name, share in expected.items()}


def test_what_is_stuck_gets_no_more() -> None:
    """One of three never answers: it is left with a part of what can be in flight."""

    def takes(random: Random, member: Member) -> float:
        return 1e6 if name_of(member) == "s1" else 0.01

    for policy in (LeastConn, RandomTwo):
        found = shares(Simulation(members(1, 1, 1), policy, 30).run(3000, takes))
        assert found["s1"] < 0.01


# --- latency


def test_the_quicker_server_gets_most() -> None:
    def takes(random: Random, member: Member) -> float:
        return alike(random, member) * (10 if name_of(member) == "s1" else 1)

    for in_flight in (1, 30):
        found = shares(Simulation(members(1, 1), Ewma, in_flight).run(20_000, takes))
        assert found["s0"] > 0.9
        assert found.get("s1", 0) > 0


def test_a_server_that_got_quick_again_gets_its_share_again() -> None:
    group = members(1, 1)
    simulation = Simulation(group, Ewma, 10)

    def slow(random: Random, member: Member) -> float:
        return alike(random, member) * (20 if member is group[1] else 1)

    assert shares(simulation.run(20_000, slow))["s0"] > 0.9
    simulation.run(50_000, alike)  # ten times the time in which it is forgotten
    assert furthest(simulation.run(20_000, alike), group) < 0.05


def test_a_slow_answer_counts_at_once_and_quick_ones_little_by_little() -> None:
    [member], policy = members(1), Ewma(Random(1).random)
    response: object = None

    def answer(seconds: float, now: float) -> float:
        policy.answered(member, GET, response, seconds, now)  # type: ignore[arg-type]
        return member.latency

    assert answer(0.1, NOW) == 0.1
    assert answer(2.0, NOW + 1) == 2.0
    assert 1.8 < answer(0.1, NOW + 2) < 1.9
    assert answer(0.1, NOW + 12) == pytest.approx(0.1 + 1.72 * 0.368, abs=0.01)


def test_what_was_measured_is_forgotten_with_time() -> None:
    [member], policy = members(1), Ewma(Random(1).random)
    policy.failed(member, 0.001, NOW)
    assert _cost(member, NOW) == 5.0
    assert _cost(member, NOW + 10) == pytest.approx(5 * 0.368, abs=0.01)
    assert _cost(member, NOW + 100) < 0.001


def test_a_server_that_fails_at_once_is_not_quick() -> None:
    group, random = members(1, 1), Random(1)
    policy, lineup = Ewma(random.random), Lineup(group)
    policy.answered(group[0], GET, None, 0.2, NOW)  # type: ignore[arg-type]
    policy.failed(group[1], 0.001, NOW)
    assert {policy.choose(lineup, GET, NOW) for _ in range(50)} == {group[0]}


def test_of_a_new_server_one_try_has_to_tell_first() -> None:
    group = members(1, 1)
    policy, lineup = Ewma(Random(1).random), Lineup(group)
    policy.answered(group[0], GET, None, 0.2, NOW)  # type: ignore[arg-type]
    assert {policy.choose(lineup, GET, NOW) for _ in range(50)} == {group[1]}
    group[1].in_flight = 1
    assert {policy.choose(lineup, GET, NOW) for _ in range(50)} == {group[0]}


def test_small_differences_do_not_undo_the_weights() -> None:
    group = members(3, 1)
    policy, lineup = Ewma(Random(1).random), Lineup(group)
    policy.answered(group[0], GET, None, 0.2, NOW)  # type: ignore[arg-type]
    policy.answered(group[1], GET, None, 0.17, NOW)  # type: ignore[arg-type]
    assert furthest((policy.choose(lineup, GET, NOW) for _ in range(5000)), group) < 0.02
