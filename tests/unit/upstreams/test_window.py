"""Counts of the last seconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrox.upstreams.window import Window


def test_counts_what_was_added_and_forgets_it_when_it_is_too_long_ago() -> None:
    window = Window(10.0)
    window.add(100.0, 1, 0)
    window.add(105.5, 2, 1)
    assert (window.all, window.some) == (3, 1)
    window.roll(109.9)
    assert (window.all, window.some) == (3, 1)
    window.roll(110.0)
    assert (window.all, window.some) == (2, 1)
    window.roll(1000.0)
    assert (window.all, window.some) == (0, 0)


def test_forgets_everything_when_it_is_cleared() -> None:
    window = Window(1.0)
    window.add(5.0, 3, 2)
    window.clear()
    assert (window.all, window.some) == (0, 0)
    window.add(5.0, 1, 1)
    assert (window.all, window.some) == (1, 1)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=50))
def test_counts_no_less_than_nine_tenths_of_the_window_and_no_more_than_all_of_it(
    steps: list[tuple[float, int, int]],
) -> None:
    window, now, added = Window(10.0), 1000.0, []
    for pause, all_of_them, some in steps:
        now += pause
        window.add(now, all_of_them, some)
        added.append((now, all_of_them, some))
        surely = [each for each in added if each[0] > now - 8.99]
        perhaps = [each for each in added if each[0] > now - 10.01]
        assert sum(each[1] for each in surely) <= window.all <= sum(each[1] for each in perhaps)
        assert sum(each[2] for each in surely) <= window.some <= sum(each[2] for each in perhaps)
