"""When servers are checked, and what it takes to be healthy."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.upstreams.checks import Check, Patient, Schedule, key_of
from pyrox.upstreams.server import parse_server
from pyrox.upstreams.statuses import parse_statuses
from tests.unit.upstreams.kit import NOW

CHECK = Check("/", "", parse_statuses(["200-299", "304"]), b"", 5.0, 3.0, rise=2, fall=3)


def patient(number: int = 0, check: Check = CHECK) -> Patient:
    return Patient("c", parse_server(f"http://s{number}"), check)


def history(results: str, check: Check = CHECK) -> str:
    """What a patient is after each result: + healthy, - unhealthy; + and . are good and bad results."""
    subject, states = patient(check=check), ""
    for result in results:
        subject.note("" if result == "+" else "broken")
        states += "+" if subject.is_healthy else "-"
    return states


# --- health


@pytest.mark.parametrize(
    ("results", "states"),
    [
        ("+", "+"),
        (".", "-"),
        ("+..+..+", "+++++++"),
        ("+...", "+++-"),
        (".+.+.", "-----"),
        (".++", "--+"),
        ("+...+.++..", "+++----+++"),
    ],
)
def test_the_first_result_decides_alone_and_then_rise_and_fall(results: str, states: str) -> None:
    assert history(results) == states


@given(st.text("+."), st.integers(1, 4), st.integers(1, 4))
def test_no_state_changes_without_as_many_results_in_a_row(results: str, rise: int, fall: int) -> None:
    states = history(results, replace(CHECK, rise=rise, fall=fall))
    for end in range(1, len(states)):
        if states[end] != states[end - 1]:
            needed = rise if states[end] == "+" else fall
            assert set(results[end - needed + 1 : end + 1]) == {"+" if states[end] == "+" else "."}
    for result, run in groupby(enumerate(results), lambda item: item[1]):
        places = [place for place, _ in run]
        if len(places) >= (rise if result == "+" else fall):
            assert states[places[-1]] == ("+" if result == "+" else "-")


def test_only_a_change_is_told() -> None:
    subject = patient()
    assert [subject.note(fault) for fault in ("", "", "x", "x", "x", "x", "", "")] == [
        True,
        *[False] * 3,
        True,
        *[False] * 2,
        True,
    ]


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (204, b"", ""),
        (304, b"all is well", ""),
        (500, b"all is well", "answered 500"),
        (301, b"", "answered 301"),
    ],
)
def test_an_answer_needs_one_of_the_statuses(status: int, body: bytes, fault: str) -> None:
    assert CHECK.fault_of(status, body) == fault


def test_an_answer_needs_the_text() -> None:
    check = replace(CHECK, body=b"well")
    assert check.fault_of(200, b"all is well") == ""
    assert check.fault_of(200, b"all is lost") == "'well' is not in the answer"


def test_the_key_is_that_of_one_check_of_one_server_of_one_cluster() -> None:
    server = parse_server("http://a")
    key = key_of("c", server, CHECK)
    assert key == key_of("c", parse_server("http://a"), replace(CHECK, interval=1.0, fall=1))
    others = [
        key_of("d", server, CHECK),
        key_of("c", parse_server("http://b"), CHECK),
        key_of("c", server, replace(CHECK, path="/other")),
        key_of("c", server, replace(CHECK, statuses=frozenset((200,)))),
    ]
    assert len({key, *others}) == 5
    assert all(0 < each < 1 << 63 for each in (key, *others))


# --- schedule


def admitted(count: int, seed: int = 1) -> Schedule:
    schedule = Schedule(Random(seed).random)
    schedule.admit({each.key: each for each in map(patient, range(count))}, NOW)
    return schedule


def times(schedule: Schedule, end: float, step: float = 0.01) -> dict[str, list[float]]:
    """When each is checked until ``end``; checks take no time."""
    found: dict[str, list[float]] = {}
    for tick in range(round((end - NOW) / step) + 1):
        now = NOW + tick * step
        for each in schedule.take_due(now):
            found.setdefault(each.server.host, []).append(now)
            schedule.done(each, now, now)
    return found


def test_each_is_checked_once_an_interval_give_or_take_a_tenth() -> None:
    checked = times(admitted(5), NOW + 100)
    assert len(checked) == 5
    for moments in checked.values():
        pauses = [after - before for before, after in pairwise(moments)]
        assert all(4.5 <= pause <= 5.52 for pause in pauses)
        assert len({round(pause, 1) for pause in pauses}) > 3


def test_few_are_known_at_once_and_many_never_burst() -> None:
    few = times(admitted(5), NOW + 0.1)
    assert len(few) == 5
    starts = [moment for moments in times(admitted(2000), NOW + 60, 0.1).values() for moment in moments]
    in_tenths = [starts.count(moment) for moment in set(starts)]
    assert max(in_tenths) < 90  # 40 on average
    assert len(starts) > 2000 * 10


def test_a_patient_is_not_checked_again_while_a_check_is_under_way() -> None:
    schedule = admitted(1)
    [each] = schedule.take_due(NOW + 5)
    assert schedule.take_due(NOW + 100) == []
    schedule.done(each, NOW + 5, NOW + 100)
    assert schedule.take_due(NOW + 100) == [each]


def test_who_goes_is_checked_no_more_and_who_stays_keeps_its_time() -> None:
    stays, goes, comes = patient(1), patient(2), patient(3)
    schedule = Schedule(Random(1).random)
    schedule.admit({each.key: each for each in (stays, goes)}, NOW)
    for each in schedule.take_due(NOW + 1):
        each.note("")
        schedule.done(each, NOW + 1, NOW + 1)
    again = patient(1)
    schedule.admit({each.key: each for each in (again, comes)}, NOW + 2)
    assert schedule.take_due(NOW + 3) == [comes]
    assert schedule.take_due(NOW + 10) == [stays]
    assert schedule.patients() == [stays, comes]


def test_who_goes_while_it_is_checked_does_not_come_back() -> None:
    schedule = admitted(1)
    [each] = schedule.take_due(NOW + 5)
    schedule.admit({}, NOW + 6)
    schedule.done(each, NOW + 5, NOW + 6)
    assert schedule.take_due(NOW + 100) == []


def test_who_comes_again_while_its_check_is_under_way_is_not_checked_twice_as_often() -> None:
    schedule = admitted(1)
    [old] = schedule.take_due(NOW + 5)
    schedule.admit({}, NOW + 6)
    new = patient()
    schedule.admit({new.key: new}, NOW + 6)
    schedule.done(old, NOW + 5, NOW + 6)
    moments = [
        now
        for now in range(200)
        if schedule.take_due(NOW + 6 + now) and not schedule.done(new, NOW + 6 + now, NOW + 6 + now)
    ]
    assert 30 <= len(moments) <= 42
