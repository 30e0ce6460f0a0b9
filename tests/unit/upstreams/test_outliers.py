"""Ejections by what is seen: failures in a row, success rates, for how long, and of how many."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.http.message import Response
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member, Reason
from pyrox.upstreams.outliers import OutlierRules, Outliers
from tests.unit.upstreams.kit import GET, NOW, members, name_of

RULES = OutlierRules(
    failures=3,
    statuses=frozenset((502, 503)),
    deviation=0.0,
    window=10.0,
    volume=20,
    time=30.0,
    longest=100.0,
    most=0.5,
)
RATES = replace(RULES, failures=0, deviation=1.9)


class Ward:
    """A cluster with its outliers watched, and a clock."""

    def __init__(self, size: int, rules: OutlierRules = RULES) -> None:
        self.members = members(*[1] * size)
        self.cluster = Cluster("c", self.members)
        self.cluster.watch(Outliers(self.cluster, rules))
        self.now = NOW
        self.cluster.tick(self.now)

    def fail(self, number: int, times: int = 1) -> None:
        for _ in range(times):
            self.cluster.failed(self.members[number], 0.1, self.now, refused=False)

    def answer(self, number: int, status: int = 200, times: int = 1) -> None:
        for _ in range(times):
            self.cluster.answered(self.members[number], GET, Response(status), 0.1, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.cluster.tick(self.now)

    def ejected(self) -> list[str]:
        return [name_of(member) for member in self.members if Reason.EJECTED in member.excluded]


# --- failures in a row


def test_so_many_failures_in_a_row_eject() -> None:
    ward = Ward(3)
    ward.fail(0, 2)
    assert ward.ejected() == []
    ward.fail(0)
    assert ward.ejected() == ["s0"]
    assert ward.cluster.choose(GET, ward.now) is not ward.members[0]


def test_an_answer_between_them_makes_it_begin_anew() -> None:
    ward = Ward(3)
    for _ in range(5):
        ward.fail(0, 2)
        ward.answer(0)
    assert ward.ejected() == []


def test_bodies_that_break_off_are_failures_in_a_row() -> None:
    ward = Ward(3)
    for number in range(3):
        assert ward.ejected() == [], number
        ward.answer(0)
        ward.cluster.broke_off(ward.members[0], ward.now)
    assert ward.ejected() == ["s0"]


def test_whole_body_between_those_that_break_off_makes_it_begin_anew() -> None:
    ward = Ward(3)
    for _ in range(5):
        ward.answer(0)
        ward.cluster.broke_off(ward.members[0], ward.now)
        ward.answer(0)
        ward.cluster.broke_off(ward.members[0], ward.now)
        ward.answer(0, times=2)
    assert ward.ejected() == []


@pytest.mark.parametrize(("status", "ejected"), [(503, ["s0"]), (500, []), (404, [])])
def test_listed_statuses_count_as_failures(status: int, ejected: list[str]) -> None:
    ward = Ward(3)
    ward.answer(0, status, 3)
    assert ward.ejected() == ejected


def test_without_such_a_number_failures_eject_nobody() -> None:
    ward = Ward(3, replace(RULES, failures=0))
    ward.fail(0, 100)
    assert ward.ejected() == []


# --- for how long


def ejection_time(ward: Ward, number: int = 0) -> float:
    """Eject, and wait until it is over; returns how long that took."""
    ward.fail(number, 3)
    began = ward.now
    while ward.ejected():
        ward.wait(0.5)
    return ward.now - began


def test_ejections_grow_longer_up_to_the_longest_and_shorter_with_good_times() -> None:
    ward = Ward(3)
    assert [ejection_time(ward) for _ in range(6)] == [30.0, 60.0, 90.0, 100.0, 100.0, 100.0]
    ward.wait(65.0)  # two times 30
    assert ejection_time(ward) == 90.0
    ward.wait(1000.0)
    assert ejection_time(ward) == 30.0


def test_failures_from_before_and_during_an_ejection_do_not_count_after_it() -> None:
    ward = Ward(3)
    ward.fail(0, 50)
    ward.wait(30.0)
    ward.fail(0, 2)
    assert ward.ejected() == []


# --- of how many


@pytest.mark.parametrize(
    ("size", "most", "ejected"),
    [(1, 1.0, 0), (2, 0.5, 1), (3, 0.1, 1), (4, 0.5, 2), (5, 0.5, 2), (4, 1.0, 4)],
)
def test_at_most_a_share_is_ejected_one_of_several_always_a_single_one_never(
    size: int, most: float, ejected: int
) -> None:
    ward = Ward(size, replace(RULES, most=most))
    for number in range(size):
        ward.fail(number, 3)
    assert len(ward.ejected()) == ejected


def test_who_could_not_be_ejected_is_when_there_is_room_and_it_still_fails() -> None:
    ward = Ward(2)
    ward.fail(0, 3)
    ward.fail(1, 3)
    ward.wait(30.0)
    assert ward.ejected() == []
    ward.fail(1)
    assert ward.ejected() == ["s1"]


def test_who_is_unhealthy_takes_no_room() -> None:
    ward = Ward(2)
    ward.cluster.exclude(ward.members[0], Reason.UNHEALTHY, ward.now)
    ward.fail(0, 3)
    assert ward.ejected() == []
    ward.fail(1, 3)
    assert ward.ejected() == ["s1"]


# --- success rates


def test_a_success_rate_far_below_the_others_ejects_at_the_end_of_the_window() -> None:
    ward = Ward(6, RATES)
    for number in range(6):
        ward.answer(number, times=80)
        ward.answer(number, 503, 40 if number == 2 else 2)
    ward.wait(9.0)
    assert ward.ejected() == []
    ward.wait(1.0)
    assert ward.ejected() == ["s2"]


def test_a_rate_that_all_have_ejects_nobody() -> None:
    ward = Ward(6, RATES)
    for number in range(6):
        ward.answer(number, times=50)
        ward.answer(number, 503, 50)
    ward.wait(10.0)
    assert ward.ejected() == []


def test_who_had_few_requests_is_not_judged_and_does_not_count_among_the_others() -> None:
    ward = Ward(6, RATES)
    for number in range(6):
        ward.answer(number, times=30)
    ward.fail(0, 19)
    few = Ward(5, RATES)
    for number in range(5):
        few.answer(number, 503 if number == 0 else 200, 19 if number == 1 else 50)
    for each in (ward, few):
        each.wait(10.0)
    assert (ward.ejected(), few.ejected()) == (["s0"], [])


def test_a_window_forgets_those_before_it() -> None:
    ward = Ward(6, RATES)
    ward.fail(0, 60)
    ward.wait(10.0)  # nobody to compare it with
    for number in range(6):
        ward.answer(number, times=50)
    ward.wait(10.0)
    assert ward.ejected() == []


# --- members that come and go


def test_members_that_have_gone_are_forgotten() -> None:
    ward = Ward(3)
    [outliers] = ward.cluster.watchers
    assert isinstance(outliers, Outliers)
    for number in range(3):
        ward.answer(number)
    ward.fail(0, 3)
    ward.cluster.update_members(ward.members[1:], ward.now)
    ward.wait(1.0)
    assert set(outliers._records) == set(ward.members[1:])
    ward.fail(0, 3)  # what was in flight there
    ward.fail(1, 3)
    assert ward.members[1].excluded == {Reason.EJECTED}


def test_ejections_and_returns_are_logged_with_their_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyrox.health")
    ward = Ward(3)
    ward.answer(0, 503, 3)
    ward.wait(30.0)
    assert [record.getMessage() for record in caplog.records] == [
        "cluster c: http://s0 is ejected for 30 s: 3 failures in a row, the last answer was 503",
        "cluster c: http://s0 may be chosen again",
    ]


events = st.lists(
    st.tuples(st.sampled_from(["fail", "answer", "bad", "wait"]), st.integers(0, 9), st.integers(1, 30)),
    max_size=80,
)


@given(st.integers(1, 8), st.sampled_from([0.1, 0.3, 0.5, 1.0]), st.sampled_from([0.0, 1.0]), events)
def test_never_more_than_the_share_and_nobody_for_ever(
    size: int, most: float, deviation: float, events: list[tuple[str, int, int]]
) -> None:
    ward = Ward(size, replace(RULES, most=most, deviation=deviation, volume=1))
    since: dict[Member, float] = {}
    for event, number, amount in events:
        if event == "wait":
            ward.wait(amount)
        elif event == "fail":
            ward.fail(number % size, amount)
        else:
            ward.answer(number % size, 200 if event == "answer" else 503, amount)
        ejected = [member for member in ward.members if member.excluded]
        assert len(ejected) <= max(int(most * size), 1)
        assert size > 1 or not ejected
        since = {member: since.get(member, ward.now) for member in ejected}
        assert all(ward.now - began <= RULES.longest + 30 for began in since.values())
        if len(ejected) < size:
            assert ward.cluster.choose(GET, ward.now) not in ejected
    ward.wait(RULES.longest)
    assert ward.ejected() == []
