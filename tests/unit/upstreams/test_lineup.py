"""Members drawn by weight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.upstreams.lineup import Lineup
from tests.unit.upstreams.kit import members, name_of

ALMOST_ONE = 1.0 - 2**-53  # the most that random() returns


@pytest.mark.parametrize(("at", "name"), [(0.0, "s0"), (0.59, "s0"), (0.61, "s1"), (ALMOST_ONE, "s2")])
def test_each_has_a_part_as_large_as_its_weight(at: float, name: str) -> None:
    assert name_of(Lineup(members(3, 1, 1)).pick(at)) == name


def test_two_are_drawn_as_weighted_balls_that_are_not_put_back() -> None:
    lineup = Lineup(members(2, 1, 1))
    steps = [(number + 0.5) / 40 for number in range(40)]
    pairs = [tuple(map(name_of, lineup.pick_two(one, two))) for one in steps for two in steps]
    assert {pair: pairs.count(pair) / len(pairs) for pair in set(pairs)} == {
        ("s0", "s1"): pytest.approx(1 / 4, abs=0.02),
        ("s0", "s2"): pytest.approx(1 / 4, abs=0.02),
        ("s1", "s0"): pytest.approx(1 / 6, abs=0.02),
        ("s1", "s2"): pytest.approx(1 / 12, abs=0.02),
        ("s2", "s0"): pytest.approx(1 / 6, abs=0.02),
        ("s2", "s1"): pytest.approx(1 / 12, abs=0.02),
    }


fractions = st.floats(0.0, ALMOST_ONE)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=8), fractions, fractions)
def test_two_are_always_different(weights: list[int], first: float, second: float) -> None:
    one, two = Lineup(members(*weights)).pick_two(first, second)
    assert one is not two


def test_one_alone_comes_twice() -> None:
    [alone] = group = members(5)
    assert Lineup(group).pick_two(0.3, 0.9) == (alone, alone)


def test_a_lineup_without_some_has_all_others_in_order() -> None:
    group = members(1, 2, 3, 4)
    assert Lineup(group).without((group[2], group[0])).members == (group[1], group[3])
