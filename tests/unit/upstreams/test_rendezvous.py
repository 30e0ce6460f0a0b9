"""Keys and the members that they belong to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyrox.http.forwarding import ClientSide
from pyrox.http.message import Request
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import RoundRobin
from pyrox.upstreams.rendezvous import Hash, _highest, key_of
from tests.unit.upstreams.kit import NOW, furthest, members, name_of

ROOT = Path(__file__).resolve().parents[3]


def hash_on(text: str = "header:X-User") -> Hash:
    return Hash(key_of(text), RoundRobin())


def user(number: object) -> Request:
    return Request("GET", "/", {"X-User": f"user-{number}"})


REQUESTS = [user(number) for number in range(100_000)]


def owners(group: list[Member]) -> list[Member]:
    policy, lineup = hash_on(), Lineup(group)
    return [policy.choose(lineup, request, NOW) for request in REQUESTS]


@pytest.mark.parametrize("weights", [(1, 1, 1), (1,) * 20, (5, 3, 1, 1)], ids=str)
def test_shares_of_the_keys_are_the_weights(weights: tuple[int, ...]) -> None:
    group = members(*weights)
    found = owners(group)
    # 2 % of all, and, where there are many members, 10 % of each one's share.
    assert furthest(found, group) < min(0.02, 0.1 / len(weights))


@pytest.mark.parametrize("word", [0, 1, (1 << 64) - 1])
def test_no_number_is_so_high_or_so_low_that_there_is_no_logarithm(word: int) -> None:
    light, heavy = members(1, 3)
    assert _highest(word, [(1, light), (1, heavy)], is_even=False) is heavy


@pytest.mark.parametrize("key", ["{}", "/images/{}.png", "{:020d}", "10.0.{}.1", "{0}-{0}-{0}"])
def test_similar_keys_are_spread_as_evenly(key: str) -> None:
    policy, lineup = hash_on(), Lineup(group := members(1, 1, 1, 1, 1))
    requests = [Request("GET", "/", {"X-User": key.format(number)}) for number in range(20_000)]
    assert furthest((policy.choose(lineup, request, NOW) for request in requests), group) < 0.02


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (3, 1, 2, 2)], ids=str)
def test_a_member_that_goes_takes_only_its_own_keys_with_it(weights: tuple[int, ...]) -> None:
    group = members(*weights)
    before = owners(group)
    for gone in group:
        left = [member for member in group if member is not gone]
        after = owners(left)
        moved = [new for old, new in zip(before, after, strict=True) if old is not new]
        assert [
            old for old, new in zip(before, after, strict=True) if old is not new and old is not gone
        ] == []
        assert len(moved) / len(before) < gone.full_weight / sum(weights) + 0.02
        assert furthest(moved, left) < 0.02


def test_a_new_member_takes_keys_from_all_and_gives_none_away() -> None:
    group = members(1, 1, 1, 1)
    before, after = owners(group[:3]), owners(group)
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old is not new]
    assert {new for _, new in moved} == {group[3]}
    assert len(moved) / len(before) < 1 / 4 + 0.02
    assert furthest((old for old, _ in moved), group[:3]) < 0.02


def test_a_heavier_weight_only_draws_keys() -> None:
    group = members(1, 1, 1)
    before = owners(group)
    group[0].weight = group[0].full_weight = 2
    after = owners(group)
    assert {new for old, new in zip(before, after, strict=True) if old is not new} == {group[0]}
    assert furthest(after, group) < 0.02


def test_a_failed_try_goes_where_the_key_would_belong_if_the_first_were_gone() -> None:
    group = members(1, 2, 3)
    policy, lineup = hash_on(), Lineup(group)
    for request in REQUESTS[:500]:
        first = policy.choose(lineup, request, NOW)
        left = [member for member in group if member is not first]
        expected = hash_on().choose(Lineup(left), request, NOW)
        assert policy.choose_other(lineup, request, NOW, (first,)) is expected
        assert policy.choose(lineup, request, NOW) is first


def test_every_process_finds_the_same_owner() -> None:
    """Python's own hash() would be another in each."""
    code = (
        "from tests.unit.upstreams.kit import *\n"
        "from pyrox.upstreams.rendezvous import *\n"
        "from pyrox.upstreams.policy import RoundRobin\n"
        "group = members(1, 2, 1)\n"
        "policy, lineup = Hash(key_of('header:X-User'), RoundRobin()), Lineup(group)\n"
        "users = [Request('GET', '/', {'X-User': f'user-{n}'}) for n in range(50)]\n"
        "print(*(name_of(policy.choose(lineup, user, NOW)) for user in users))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0].split())) == 3


def test_remembered_owners_are_bounded_and_forgotten_with_the_lineup() -> None:
    group = members(1, 1, 1)
    policy, lineup = hash_on(), Lineup(group)
    for request in REQUESTS[:20_000]:
        policy.choose(lineup, request, NOW)
    assert len(policy._known) <= 4096
    smaller = Lineup(group[:2])
    assert {policy.choose(smaller, request, NOW) for request in REQUESTS[:100]} == set(group[:2])


# --- keys

FIELDS = [
    ("Host", "a.test"),
    ("X-User", "eve"),
    ("x-user", "bob"),
    ("Cookie", "a=1; id=42"),
    ("Cookie", "id=43"),
]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("header:x-USER", b"eve"),
        ("header:X-Other", None),
        ("cookie:id", b"42"),
        ("cookie:i", None),
        ("query:user", b"a%20b"),
        ("query:empty", b""),
        ("query:none", None),
        ("path", b"/p"),
        ("client", b"10.0.0.9"),
    ],
)
def test_key_of_a_request(text: str, key: bytes | None) -> None:
    request = Request("GET", "/p?x=1&user=a%20b&user=c&empty", FIELDS, client=ClientSide("10.0.0.9"))
    assert key_of(text)(request) == key


def test_requests_without_the_key_are_taken_in_turn_also_after_a_failed_try() -> None:
    group = members(1, 1, 1)
    cluster = Cluster("c", group, hash_on)
    plain = Request("GET", "/")
    assert [name_of(cluster.choose(plain, NOW)) for _ in range(4)] == ["s0", "s1", "s2", "s0"]
    assert name_of(cluster.choose(plain, NOW, (group[1],))) == "s2"
    assert name_of(cluster.choose(plain, NOW)) == "s0"


def test_a_request_made_here_has_no_client_address() -> None:
    assert key_of("client")(Request("GET", "/")) is None
