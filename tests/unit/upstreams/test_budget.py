"""Retries stay a part of the work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrox.upstreams.budget import SECONDS, RetryBudget
from tests.unit.upstreams.kit import NOW


def test_a_few_retries_need_nobody_to_pay_for_them() -> None:
    budget = RetryBudget(0.2, 3)
    assert [budget.take(NOW) for _ in range(5)] == [True, True, True, False, False]
    assert not budget.take(NOW + SECONDS - 1)
    assert budget.take(NOW + SECONDS)


def test_a_fifth_of_many_requests_may_be_sent_again() -> None:
    budget = RetryBudget(0.2, 3)
    for _ in range(100):
        budget.pay(NOW)
    assert sum(budget.take(NOW) for _ in range(100)) == 20


def test_requests_of_long_ago_pay_for_nothing() -> None:
    budget = RetryBudget(0.2, 0)
    for _ in range(100):
        budget.pay(NOW)
    assert budget.take(NOW + 1)
    assert not budget.take(NOW + SECONDS)


def test_a_budget_of_nothing_lets_nothing_through() -> None:
    budget = RetryBudget(0.0, 0)
    budget.pay(NOW)
    assert not budget.take(NOW)


@given(
    st.floats(0, 1),
    st.integers(0, 5),
    st.lists(st.tuples(st.sampled_from(["pay", "take"]), st.floats(0, 2)), max_size=200),
)
def test_is_never_exceeded_in_any_ten_seconds(
    share: float, least: int, calls: list[tuple[str, float]]
) -> None:
    budget, now = RetryBudget(share, least), NOW
    paid: list[float] = []
    taken: list[float] = []
    for call, pause in calls:
        now += pause
        if call == "pay":
            budget.pay(now)
            paid.append(now)
        elif budget.take(now):
            taken.append(now)
            # The window moves in steps of a second; requests count for no longer than ten.
            retries = sum(time > now - SECONDS + 1 for time in taken)
            requests = sum(time > now - SECONDS for time in paid)
            assert retries <= max(least, share * requests)
