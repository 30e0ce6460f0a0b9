"""Routes that no request can take are warned about, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given

from pyrox.config import parse_settings
from pyrox.routing.overlap import implies, route_warnings
from pyrox.routing.rule import parse_rule
from tests.property.test_routes import naive, requests, rules


def warnings(*routes: str) -> list[str]:
    sections = [f"[[r{number}]]\ncluster = http://a\nmatch = {route}" for number, route in enumerate(routes)]
    return list(route_warnings(parse_settings("\n".join(["[routes]", *sections]))))


@pytest.mark.parametrize(
    ("late", "early"),
    [
        ("Path(`/a`)", "PathPrefix(`/`)"),
        ("Path(`/a/b`)", "PathPrefix(`/a/`)"),
        ("PathPrefix(`/a/b`, `/a/c`)", "PathPrefix(`/a`)"),
        ("Host(`x.a.test`)", "Host(`*.a.test`)"),
        ("Host(`a`) && Path(`/`)", "Host(`b`, `a`)"),
        ("Host(`a`)", "Host(`a`) || Path(`/`)"),
        ("Method(`GET`) || Method(`PUT`)", "Method(`PUT`, `GET`, `POST`)"),
        ("Header(`x`, `1`)", "Header(`X`)"),
        ("Cookie(`x`, `1`)", "Cookie(`x`, `2`, `1`)"),
        ("!PathPrefix(`/a`)", "!Path(`/a`)"),
        ("Host(`a`) && (Path(`/a`) || Path(`/b`))", "Host(`a`) && PathPrefix(`/`)"),
    ],
)
def test_a_rule_that_implies_another_is_known_to(late: str, early: str) -> None:
    assert implies(parse_rule(late), parse_rule(early))
    assert not implies(parse_rule(early), parse_rule(late))
    assert warnings(f"{late}\npriority = 1", f"{early}\npriority = 2") == [
        "[routes] [[r0]]: no request takes it: [[r1]] is tried first and holds whenever this does"
    ]
    assert warnings(f"{late}\npriority = 2", f"{early}\npriority = 1") == []


@pytest.mark.parametrize(
    ("late", "early"),
    [
        ("Path(`/ab`)", "PathPrefix(`/a`)"),
        ("Path(`/a`)", "PathPrefix(`/a/`)"),
        ("Host(`a.test`)", "Host(`*.a.test`)"),
        ("Host(`*.a.test`)", "Host(`x.a.test`)"),
        ("Header(`x`)", "Header(`x`, `1`)"),
        ("Query(`x`)", "Query(`y`)"),
        ("Method(`GET`)", "!Method(`PUT`)"),
        ("Host(`a`) || Path(`/`)", "Host(`a`)"),
    ],
)
def test_no_other_is_warned_about(late: str, early: str) -> None:
    assert not implies(parse_rule(late), parse_rule(early))


def test_the_same_rule_twice_is_told_as_such() -> None:
    assert warnings("Host(`a`)&&Path(`/`)", "Host('a')&&Path('/')") == [
        "[routes] [[r1]]: no request takes it: [[r0]] is tried first and has the same rule"
    ]


@given(rules, rules, requests())
def test_what_implies_another_never_holds_without_it(one: str, other: str, request_: object) -> None:
    first, second = parse_rule(one), parse_rule(other)
    if implies(first, second):
        for path in ("/", "/a", "/a/b", "/v1/x", request_.path):  # type: ignore[attr-defined]
            assert not naive(first, request_, path) or naive(second, request_, path)  # type: ignore[arg-type]
