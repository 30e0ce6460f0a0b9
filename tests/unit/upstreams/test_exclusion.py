"""Members that may not be chosen now, and members that come and go."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import NoHealthyServer
from pyrox.http.message import Request, Response
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import HEALTH, Member, Reason
from pyrox.upstreams.policy import RoundRobin
from pyrox.upstreams.server import parse_server
from pyrox.upstreams.watcher import Watcher
from tests.unit.upstreams.kit import GET, NOW, furthest, members, name_of
from tests.unit.upstreams.test_cluster import POLICIES, cluster_of


def chosen_by(cluster: Cluster, count: int = 200, now: float = NOW) -> set[Member]:
    return {
        cluster.choose(Request("GET", "/", {"X-User": str(number)}), now + number * 1e-6)
        for number in range(count)
    }


@pytest.mark.parametrize("policy", POLICIES)
def test_an_excluded_member_is_not_chosen_until_its_last_reason_is_gone(policy: str) -> None:
    cluster = cluster_of(group := members(1, 2, 1), policy)
    assert chosen_by(cluster) == set(group)
    cluster.exclude(group[0], Reason.UNHEALTHY, NOW)
    cluster.exclude(group[0], Reason.BREAKER, NOW)
    cluster.exclude(group[0], Reason.BREAKER, NOW)
    assert chosen_by(cluster) == set(group[1:])
    assert cluster.choose(GET, NOW, (group[1],)) is group[2]
    cluster.include(group[0], Reason.BREAKER, NOW)
    assert chosen_by(cluster) == set(group[1:])
    cluster.include(group[0], Reason.UNHEALTHY, NOW)
    assert chosen_by(cluster) == set(group)


def test_backups_take_over_when_no_primary_is_left() -> None:
    one, two, backup = group = members(1, 1, backups=1)
    cluster = cluster_of(group)
    cluster.exclude(one, Reason.EJECTED, NOW)
    assert chosen_by(cluster) == {two}
    cluster.exclude(two, Reason.BREAKER, NOW)
    assert chosen_by(cluster) == {backup}
    cluster.include(one, Reason.EJECTED, NOW)
    assert chosen_by(cluster) == {one}


def test_when_nobody_is_left_the_error_says_why() -> None:
    cluster = cluster_of(group := members(1, 1, backups=1))
    for member in group:
        cluster.exclude(member, Reason.UNHEALTHY, NOW)
    cluster.exclude(group[0], Reason.BREAKER, NOW)
    with pytest.raises(NoHealthyServer, match=r"none of 3 servers can be chosen \(3 unhealthy, 1 breaker\)"):
        cluster.choose(GET, NOW)


# --- panic


def test_when_too_few_are_healthy_all_are_used() -> None:
    group = members(1, 1, 1, 1)
    cluster = Cluster("c", group, panic=0.5)
    cluster.exclude(group[0], Reason.UNHEALTHY, NOW)
    cluster.exclude(group[1], Reason.EJECTED, NOW)
    assert chosen_by(cluster) == set(group[2:]) and not cluster.is_panicking
    cluster.exclude(group[2], Reason.UNHEALTHY, NOW)
    assert chosen_by(cluster) == set(group) and cluster.is_panicking
    cluster.include(group[2], Reason.UNHEALTHY, NOW)
    assert chosen_by(cluster) == set(group[2:]) and not cluster.is_panicking


def test_begin_and_end_of_a_panic_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster("c", group := members(1, 1), panic=0.5)
    for member in group:
        cluster.exclude(member, Reason.UNHEALTHY, NOW)
    chosen_by(cluster)
    cluster.include(group[0], Reason.UNHEALTHY, NOW)
    chosen_by(cluster)
    assert [record.getMessage() for record in caplog.records] == [
        "cluster c: 0 of 2 healthy, so all are used",
        "cluster c: 1 of 2 healthy, so the others are left out again",
    ]


def test_a_panic_spares_nobody_who_is_away_for_another_reason_than_health() -> None:
    group = members(1, 1, 1)
    cluster = Cluster("c", group, panic=0.5)
    for member in group:
        cluster.exclude(member, Reason.UNHEALTHY, NOW)
    cluster.exclude(group[0], Reason.BREAKER, NOW)
    cluster.exclude(group[1], Reason.BREAKER, NOW)
    assert chosen_by(cluster) == {group[2]}


def test_members_behind_an_open_breaker_are_no_reason_to_panic() -> None:
    group = members(1, 1, 1)
    cluster = Cluster("c", group, panic=0.5)
    cluster.exclude(group[0], Reason.BREAKER, NOW)
    cluster.exclude(group[1], Reason.UNHEALTHY, NOW)
    assert chosen_by(cluster) == {group[2]}


def test_healthy_backups_are_better_than_panic() -> None:
    one, two, backup = group = members(1, 1, backups=1)
    cluster = Cluster("c", group, panic=0.9)
    cluster.exclude(one, Reason.UNHEALTHY, NOW)
    assert chosen_by(cluster) == {two}
    cluster.exclude(two, Reason.UNHEALTHY, NOW)
    assert chosen_by(cluster) == {backup}
    cluster.exclude(backup, Reason.UNHEALTHY, NOW)
    assert chosen_by(cluster) == {one, two}
    assert cluster.choose(GET, NOW, (one, two)) is backup


# --- slow start


@pytest.mark.parametrize("reason", HEALTH)
def test_who_was_away_because_of_its_health_starts_slowly(reason: Reason) -> None:
    cluster = cluster_of(group := members(4, 4), slow_start=10.0)
    cluster.exclude(group[0], reason, NOW)
    cluster.choose(GET, NOW + 5)
    cluster.include(group[0], reason, NOW + 60)
    weights = []
    for second in (0.0, 2.5, 5.0, 10.0):
        cluster.choose(GET, NOW + 60 + second)
        weights.append(group[0].weight)
    assert weights == pytest.approx([0.08, 1.0, 2.0, 4.0])


@pytest.mark.parametrize("reason", set(Reason) - HEALTH)
def test_who_was_away_for_another_reason_does_not(reason: Reason) -> None:
    cluster = cluster_of(group := members(4, 4), slow_start=10.0)
    cluster.exclude(group[0], reason, NOW)
    cluster.include(group[0], reason, NOW + 60)
    cluster.choose(GET, NOW + 60)
    assert group[0].weight == 4


# --- what policies keep


def test_the_round_goes_on_when_members_come_and_go() -> None:
    """Began it anew each time, the first members would be chosen more often than the last."""
    policy, group = RoundRobin(), members(1, 1, 1, 1, 1)
    chosen = []
    for step in range(3000):
        lineup = Lineup(group if step % 2 else group[:-1])
        chosen.append(policy.choose(lineup, GET, NOW))
    assert furthest([member for member in chosen if member is not group[-1]], group[:-1]) < 0.01


def test_the_weighted_round_goes_on_too_and_who_was_away_makes_up_for_nothing() -> None:
    policy, group = RoundRobin(), members(3, 2, 1, 2)
    rest = Lineup(group[1:])
    away = [policy.choose(rest, GET, NOW) for _ in range(500)]
    assert furthest(away, group[1:]) == 0.0
    whole = Lineup(group)
    assert furthest([policy.choose(whole, GET, NOW) for _ in range(800)], group) < 0.003
    back_and_forth = [policy.choose(Lineup(group[step % 2 :]), GET, NOW) for step in range(3000)]
    assert furthest([member for member in back_and_forth if member is not group[0]], group[1:]) < 0.01


# --- other members


def test_servers_that_stay_keep_their_member_and_take_over_weight_and_role() -> None:
    cluster = cluster_of(group := members(1, 1, 1))
    group[1].in_flight = 7
    cluster.exclude(group[2], Reason.EJECTED, NOW)
    new = [Member(parse_server("http://s1"), 5), Member(parse_server("http://s2"), 1, True)]
    cluster.update_members([*new, Member(parse_server("http://new"))], NOW)
    assert cluster.members[:2] == tuple(group[1:])
    assert (group[1].weight, group[1].full_weight, group[1].in_flight) == (5, 5, 7)
    assert group[2].is_backup
    assert {name_of(member) for member in chosen_by(cluster)} == {"s1", "new"}


def test_what_is_in_flight_at_a_server_that_goes_is_not_touched() -> None:
    cluster = cluster_of(group := members(1, 1), "ewma")
    group[0].in_flight = 1
    cluster.update_members(group[1:], NOW)
    assert chosen_by(cluster) == {group[1]}
    assert group[0].in_flight == 1 and Reason.GONE in group[0].excluded
    cluster.exclude(group[0], Reason.EJECTED, NOW)  # whoever still watches it
    cluster.answered(group[0], GET, Response(200), 0.1, NOW)
    assert chosen_by(cluster) == {group[1]}


def test_a_member_that_was_here_before_may_come_again() -> None:
    cluster = cluster_of(group := members(1, 1))
    cluster.update_members(group[1:], NOW)
    cluster.update_members(group, NOW)
    assert chosen_by(cluster) == set(group)


def test_a_server_that_comes_starts_slowly() -> None:
    cluster = cluster_of(group := members(2, 2), slow_start=10.0)
    cluster.update_members([*group, new := Member(parse_server("http://new"), 2)], NOW)
    cluster.choose(GET, NOW + 5)
    assert [member.weight for member in (*group, new)] == [2, 2, 1]


def test_backups_and_primaries_may_be_new() -> None:
    cluster = cluster_of(group := members(1))
    cluster.update_members([], NOW)
    with pytest.raises(NoHealthyServer, match="cluster c: it has no server"):
        cluster.choose(GET, NOW)
    backup = Member(parse_server("http://b"), 1, True)
    cluster.update_members([backup], NOW)
    assert chosen_by(cluster) == {backup}
    cluster.update_members([backup, *members(1)], NOW)
    assert {name_of(member) for member in chosen_by(cluster)} == {"s0"}
    assert group[0] not in cluster.members


# --- watchers


def test_watchers_hear_of_every_try() -> None:
    heard: list[tuple[object, ...]] = []

    class Listener(Watcher):
        def answered(self, member: Member, response: Response, seconds: float, now: float) -> None:
            heard.append((member, response.status, seconds, now))

        def failed(self, member: Member, seconds: float, now: float) -> None:
            heard.append((member, seconds, now))

    cluster = cluster_of(group := members(1))
    assert not cluster.listens
    cluster.watch(Listener())
    assert cluster.listens
    cluster.answered(group[0], GET, Response(503), 0.5, NOW)
    cluster.failed(group[0], 0.25, NOW, refused=False)
    assert heard == [(group[0], 503, 0.5, NOW), (group[0], 0.25, NOW)]


# --- whatever happens

changes = st.lists(
    st.tuples(st.sampled_from(["exclude", "include"]), st.integers(0, 6), st.sampled_from(list(Reason)[:4]))
)


@given(
    st.sampled_from(list(POLICIES)),
    st.integers(1, 4),
    st.integers(0, 2),
    changes,
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sampled_from([0.0, 5.0]),
)
def test_invariants(
    policy: str,
    primaries: int,
    backups: int,
    changes: list[tuple[str, int, Reason]],
    panic: float,
    slow_start: float,
) -> None:
    group = members(*range(1, primaries + 1), backups=backups)
    random = Random(5)
    cluster = Cluster("c", group, lambda: POLICIES[policy](random), slow_start, panic)
    kept: dict[Member, set[Reason]] = {member: set() for member in group}
    for step, (change, number, reason) in enumerate(changes):
        member = group[number % len(group)]
        if change == "exclude":
            cluster.exclude(member, reason, NOW + step)
            kept[member].add(reason)
        else:
            cluster.include(member, reason, NOW + step)
            kept[member].discard(reason)
        may_be_chosen = expected(group, kept, panic)
        if not may_be_chosen:
            with pytest.raises(NoHealthyServer):
                cluster.choose(GET, NOW + step)
        else:
            found = Counter(cluster.choose(GET, NOW + step) for _ in range(4))
            assert set(found) <= may_be_chosen


def expected(group: list[Member], kept: dict[Member, set[Reason]], panic: float) -> set[Member]:
    """The rules once more, as the manual has them."""
    primaries = [member for member in group if not member.is_backup]
    free = {member for member in group if not kept[member]}
    free_backups = {member for member in free if member.is_backup}
    healthy = [member for member in primaries if not kept[member] & HEALTH]
    if len(healthy) / len(primaries) < panic and not free_backups:
        free = {member for member in group if not kept[member] - HEALTH}
    return {member for member in free if not member.is_backup} or free
