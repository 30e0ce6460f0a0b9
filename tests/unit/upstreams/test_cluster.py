"""Backups, retries, slow starts, and what must hold whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import NoHealthyServer
from pyrox.http.message import Request, Response
from pyrox.upstreams.balancing import Ewma, LeastConn, RandomTwo
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import Policy, RoundRobin
from pyrox.upstreams.rendezvous import Hash, key_of
from pyrox.upstreams.sticky import Sticky, StickyCookie
from tests.unit.upstreams.kit import GET, NOW, furthest, members, shares

COOKIE = StickyCookie("c", "id", "s" * 32)
POLICIES: dict[str, Callable[[Random], Policy]] = {
    "round_robin": lambda random: RoundRobin(random.random()),
    "least_conn": lambda random: LeastConn(random.random),
    "random_two": lambda random: RandomTwo(random.random),
    "ewma": lambda random: Ewma(random.random),
    "hash": lambda random: Hash(key_of("header:X-User"), RoundRobin()),
    "sticky": lambda random: Sticky(COOKIE, RoundRobin()),
}


def cluster_of(group: list[Member], policy: str = "round_robin", slow_start: float = 0.0) -> Cluster:
    random = Random(3)
    return Cluster("c", group, lambda: POLICIES[policy](random), slow_start)


# --- backups and tries


def test_a_cluster_without_a_primary_member_is_refused() -> None:
    for group in ([], members(backups=2)):
        with pytest.raises(ValueError, match="'c' has no server that is not a backup"):
            Cluster("c", group)


@pytest.mark.parametrize("policy", POLICIES)
def test_backups_are_for_when_every_other_was_tried(policy: str) -> None:
    *primaries, one, two = group = members(1, 2, backups=2)
    cluster = cluster_of(group, policy)
    assert {cluster.choose(GET, NOW) for _ in range(200)} <= set(primaries)
    assert {cluster.choose(GET, NOW, (primaries[0],)) for _ in range(20)} == {primaries[1]}
    assert {cluster.choose(GET, NOW, primaries) for _ in range(50)} == {one, two}
    assert {cluster.choose(GET, NOW, (*primaries, two)) for _ in range(20)} == {one}
    with pytest.raises(NoHealthyServer, match="cluster c: every server was tried"):
        cluster.choose(GET, NOW, group)


operations = st.lists(
    st.tuples(st.sampled_from(["begin", "retry", "answer", "fail", "end"]), st.integers(0, 1000)), max_size=60
)


@pytest.mark.parametrize("policy", POLICIES)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 3), operations, st.booleans())
def test_invariants(
    policy: str, weights: list[int], backups: int, operations: list[tuple[str, int]], ramps: bool
) -> None:
    group = members(*weights, backups=backups)
    cluster = cluster_of(group, policy, 5.0 if ramps else 0.0)
    running: list[tuple[Member, Request, tuple[Member, ...]]] = []
    now = NOW

    def choose(request: Request, tried: tuple[Member, ...]) -> None:
        member = cluster.choose(request, now, tried)
        assert member in group and member not in tried
        if member.is_backup:
            assert all(other in tried for other in group if not other.is_backup)
        member.in_flight += 1
        running.append((member, request, tried))

    for operation, number in operations:
        now += number / 100
        if operation == "begin":
            choose(Request("GET", "/", {"X-User": str(number)}), ())
        elif running:
            member, request, tried = running.pop(number % len(running))
            member.in_flight -= 1
            if operation == "answer":
                cluster.answered(member, request, Response(200), number / 1000, now)
            elif operation in ("fail", "retry"):
                cluster.failed(member, number / 1000, now, refused=number % 2 == 0)
            if operation == "retry" and len(tried) + 1 < len(group):
                choose(request, (*tried, member))
        assert sum(member.in_flight for member in group) == len(running)
        assert min(member.in_flight for member in group) >= 0
        assert all(0 < member.weight <= member.full_weight for member in group)
    now += 1000
    cluster.choose(GET, now)
    cluster.choose(GET, now)
    assert [member.weight for member in group] == [member.full_weight for member in group]


# --- slow start


def recover(cluster: Cluster, member: Member, now: float = NOW) -> None:
    cluster.failed(member, 0.1, now, refused=True)
    cluster.answered(member, GET, Response(200), 0.1, now)


def test_the_weight_of_a_recovered_member_grows_with_time() -> None:
    cluster = cluster_of(group := members(4, 4), slow_start=10.0)
    recover(cluster, group[0])
    weights = []
    for second in (0.0, 1.0, 2.5, 5.0, 9.0, 10.0):
        cluster.choose(GET, NOW + second)
        weights.append(group[0].weight)
    assert weights == pytest.approx([0.08, 0.4, 1.0, 2.0, 3.6, 4.0])
    assert group[1].weight == 4


@pytest.mark.parametrize("policy", ["round_robin", "least_conn", "random_two", "hash", "sticky"])
def test_its_share_grows_with_its_weight(policy: str) -> None:
    cluster = cluster_of(group := members(1, 1), policy, slow_start=100.0)
    recover(cluster, group[0])
    asked = 0
    found = []
    for tenth in range(11):
        chosen = []
        for step in range(2000):
            asked += 1
            request = Request("GET", "/", {"X-User": str(asked)})
            chosen.append(cluster.choose(request, NOW + 10 * tenth + step / 200))
        found.append(shares(chosen).get("s0", 0.0))
    # Its weight is, over the first five seconds of each ten, that of their middle.
    middles = [min((10 * tenth + 2.5) / 100, 1.0) for tenth in range(11)]
    assert found == [pytest.approx(weight / (1 + weight), abs=0.04) for weight in middles]


def test_without_slow_start_a_recovered_member_has_its_weight_at_once() -> None:
    cluster = cluster_of(group := members(1, 1))
    recover(cluster, group[0])
    assert furthest((cluster.choose(GET, NOW) for _ in range(100)), group) == 0.0


def test_a_member_that_answers_late_or_badly_has_not_been_away() -> None:
    cluster = cluster_of(group := members(1, 1), slow_start=10.0)
    cluster.failed(group[0], 60.0, NOW, refused=False)
    cluster.answered(group[0], GET, Response(200), 0.1, NOW)
    assert group[0].weight == 1


def test_only_clusters_that_learn_from_answers_listen() -> None:
    listens = {policy: cluster_of(members(1), policy).listens for policy in POLICIES}
    assert [policy for policy, does in listens.items() if does] == ["ewma", "sticky"]
    assert cluster_of(members(1), slow_start=1.0).listens
