"""In turn, smoothly, from somewhere."""

from __future__ import annotations

import pytest

from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import RoundRobin
from tests.unit.upstreams.kit import GET, NOW, furthest, members, name_of


def turns(policy: RoundRobin, group: list[Member], count: int) -> str:
    lineup = Lineup(group)
    return " ".join(name_of(policy.choose(lineup, GET, NOW)) for _ in range(count))


def test_members_of_one_weight_come_in_turn() -> None:
    assert turns(RoundRobin(), members(1, 1, 1), 7) == "s0 s1 s2 s0 s1 s2 s0"


@pytest.mark.parametrize(("start", "first"), [(0.0, "s0"), (0.3, "s0"), (0.34, "s1"), (0.99, "s2")])
def test_the_round_begins_where_it_is_told_to(start: float, first: str) -> None:
    assert turns(RoundRobin(start), members(1, 1, 1), 1) == first


def test_a_heavy_member_has_its_turns_far_apart() -> None:
    assert turns(RoundRobin(), members(4, 2, 1), 7) == "s0 s1 s0 s2 s0 s1 s0"


def test_the_weighted_round_may_begin_anywhere_too() -> None:
    group = members(4, 2, 1)
    whole = turns(RoundRobin(), group, 14).split()
    for place in range(7):
        assert turns(RoundRobin((place + 0.5) / 7), group, 7).split() == whole[place : place + 7]


@pytest.mark.parametrize("weights", [(1, 1, 1), (5, 3, 1, 1), (100, 1), (7, 7, 7, 3)])
def test_at_every_moment_each_has_had_its_share_give_or_take_one(weights: tuple[int, ...]) -> None:
    policy, lineup = RoundRobin(), Lineup(group := members(*weights))
    chosen: list[Member] = []
    for count in range(1, 1000):
        chosen.append(policy.choose(lineup, GET, NOW))
        assert furthest(chosen, group) * count < 1.01
    chosen += (policy.choose(lineup, GET, NOW) for _ in range(99_001))
    assert furthest(chosen, group) < 0.0001


def test_requests_for_a_dead_member_are_spread_over_all_others() -> None:
    """Some meet it first; were they all sent to its neighbour, that would have twice as much."""
    policy, group = RoundRobin(), members(1, 1, 1, 1)
    lineup, dead = Lineup(group), group[0]
    chosen = []
    for _ in range(3000):
        member = policy.choose(lineup, GET, NOW)
        chosen.append(policy.choose_other(lineup, GET, NOW, (dead,)) if member is dead else member)
    assert furthest(chosen, group[1:]) < 0.02


def test_the_round_goes_on_while_weights_grow() -> None:
    """A lineup for each step of a slow start: began it anew each time, only the first would be chosen."""
    policy, group = RoundRobin(), members(3, 1, 1)
    chosen = [policy.choose(Lineup(group), GET, NOW) for _ in range(500)]
    assert furthest(chosen, group) == 0.0
