"""Which route a request takes, and how few rules are tried to find it."""

from __future__ import annotations

import pytest

from pyrox.errors import ClientError
from pyrox.http.message import Request
from pyrox.routing.index import keys_of, remainder
from pyrox.routing.rule import parse_rule
from pyrox.routing.table import RoutedRule, RouteTable


def table_of(*rules: str | tuple[str, int]) -> RouteTable:
    entries = [rule if isinstance(rule, tuple) else (rule, len(rule)) for rule in rules]
    return RouteTable([RoutedRule(text, parse_rule(text), priority) for text, priority in entries])


def taken(table: RouteTable, target: str, host: str = "a.test") -> str | None:
    rank = table.find(Request("GET", target, {"Host": host}))
    return None if rank is None else table.rules[rank].name


def test_the_longest_rule_is_tried_first_and_ties_go_to_the_earlier() -> None:
    table = table_of("PathPrefix(`/`)", "PathPrefix(`/v1`)", "PathPrefix(`/v1/users`)", "Host(`a.test`)")
    assert taken(table, "/v1/users/1") == "PathPrefix(`/v1/users`)"
    assert taken(table, "/v1/x") == "PathPrefix(`/v1`)"
    assert taken(table, "/x") == "PathPrefix(`/`)"
    assert taken(table_of("Method(`GET`)", "Host(`a.test`)", "PathRegexp(`/`)"), "/") == "PathRegexp(`/`)"
    same = [RoutedRule(name, parse_rule("Path(`/`)"), 9) for name in ("first", "second")]
    assert taken(RouteTable(same), "/") == "first"


def test_a_priority_takes_the_place_of_the_length() -> None:
    assert (
        taken(table_of("PathPrefix(`/v1/users`)", ("PathPrefix(`/`)", 99)), "/v1/users") == "PathPrefix(`/`)"
    )
    assert (
        taken(table_of(("PathPrefix(`/v1/users`)", 1), "PathPrefix(`/`)"), "/v1/users") == "PathPrefix(`/`)"
    )


def test_exact_hosts_wildcards_and_none_are_found_together() -> None:
    table = table_of(("Path(`/`)", 1), ("Host(`*.b.test`)", 2), ("Host(`a.b.test`)", 3))
    assert taken(table, "/", "a.b.test") == "Host(`a.b.test`)"
    assert taken(table, "/", "c.b.test") == "Host(`*.b.test`)"
    assert taken(table, "/", "b.test") == "Path(`/`)"
    assert taken(table, "/x", "b.test") is None


OPEN_AND_ADMIN = ("PathPrefix(`/`)", "PathPrefix(`/admin`)")


@pytest.mark.parametrize(
    "target",
    [
        "/open/..%2fadmin",
        "/open/../admin",
        "/open/%2e%2E/admin",
        "/open/..;/admin",
        "//admin",
        "/.//admin",
        "/%2fadmin",
        "/\\admin",
        "/open\\..\\admin",
        "/open%5C..%5Cadmin/x",
        "/;x/admin",
        "/admin%2f",
        "/admin%2Fx?y",
        "/admin;x=1",
        "/admin%00",
        "/admin%3Fx",
        "/admin/../open",
        "/admin/%2e%2e%2fopen",
    ],
)
def test_no_trick_takes_a_request_past_the_route_that_a_server_may_see(target: str) -> None:
    with pytest.raises(ClientError) as caught:
        table_of(*OPEN_AND_ADMIN).find(Request("GET", target, {"Host": "a.test"}))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/%61dmin", "PathPrefix(`/admin`)"),
        ("/admin/..%2Fadmin/x", "PathPrefix(`/admin`)"),
        ("/admin//x", "PathPrefix(`/admin`)"),
        ("/admin/group%2Fproject", "PathPrefix(`/admin`)"),
        ("/admin/a;b/%00", "PathPrefix(`/admin`)"),
        ("/open/a%2Fb//c/../d", "PathPrefix(`/`)"),
        ("/open?../admin", "PathPrefix(`/`)"),
        ("/open/%252e%252e/admin", "PathPrefix(`/`)"),
    ],
)
def test_odd_paths_that_are_of_one_route_either_way_take_it(target: str, route: str) -> None:
    assert taken(table_of(*OPEN_AND_ADMIN), target) == route


def test_a_path_with_too_many_tricks_is_refused_even_where_there_is_one_route() -> None:
    with pytest.raises(ClientError, match="more than 16 ways"):
        taken(table_of("PathPrefix(`/`)"), "/a%2F..\\;//%00")


@pytest.mark.parametrize(
    ("rule", "keys"),
    [
        ("Host(`a`) && PathPrefix(`/v1`)", 1),
        ("(Host(`a`) || Host(`b`)) && (Path(`/x`) || PathPrefix(`/y`, `/z`))", 6),
        ("Host(`a`) && Path(`/x`) || Host(`b`)", 2),
        ("Method(`GET`) && !Host(`a`)", 1),
        ("(" + " || ".join(f"Host(`h{n}`)" for n in range(300)) + ")", 1),
    ],
)
def test_keys_say_what_a_rule_demands(rule: str, keys: int) -> None:
    assert len(keys_of(parse_rule(rule))) == keys


@pytest.mark.parametrize(
    ("rule", "rest"),
    [
        ("Host(`a`)", ""),
        ("Host(`a`, `*.b`) && PathPrefix(`/v1`, `/v2`)", ""),
        ("Path(`/`)", ""),
        ("PathPrefix(`/v1/`)", "PathPrefix(`/v1/`)"),
        ("PathPrefix(`/`)", "PathPrefix(`/`)"),
        ("Host(`a`) && Host(`b`)", "Host(`a`) && Host(`b`)"),
        ("Path(`/a`) && PathPrefix(`/b`)", "Path(`/a`) && PathPrefix(`/b`)"),
        ("Host(`a`) && Method(`GET`)", "Method(`GET`)"),
        ("Host(`a`) && Method(`GET`) && Path(`/`) && !Header(`x`)", "Method(`GET`) && !Header(`x`)"),
        ("(Host(`b`) || Host(`c`)) && Host(`a`)", "(Host(`b`) || Host(`c`)) && Host(`a`)"),
        (
            "PathPrefix(`/a`) && (Path(`/a/b`) || Path(`/c`))",
            "PathPrefix(`/a`) && (Path(`/a/b`) || Path(`/c`))",
        ),
        ("Host(`a`) || Host(`b`)", "Host(`a`) || Host(`b`)"),
        ("!Host(`a`)", "!Host(`a`)"),
    ],
)
def test_only_what_its_keys_do_not_say_of_a_rule_is_tried(rule: str, rest: str) -> None:
    assert remainder(parse_rule(rule)) == (parse_rule(rest) if rest else None)


def test_few_of_ten_thousand_rules_are_tried() -> None:
    hosts = [f"Host(`h{n}.test`) && PathPrefix(`/v1`)" for n in range(3000)]
    shared = [f"Host(`a.test`) && PathPrefix(`/s{n}/x`)" for n in range(4000)]
    anywhere = [f"Path(`/p{n}`) && Method(`GET`)" for n in range(3000)]
    table = table_of(*hosts, *shared, *anywhere)
    assert table._index.candidates("h17.test", "/v1/x") == [
        table.find(Request("GET", "/v1/x", {"Host": "h17.test"}))
    ]
    assert len(table._index.candidates("a.test", "/s77/x/y")) == 1
    assert len(table._index.candidates("b.test", "/p2999")) == 1
    assert table._index.candidates("b.test", "/" + "a/" * 4000) == []
