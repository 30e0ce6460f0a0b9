"""The table of routes agrees with trying every rule on every reading of the path, one after the other."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from hypothesis import given, settings
from hypothesis import strategies as st

from pyrox.errors import ClientError
from pyrox.http.message import Request
from pyrox.routing.paths import readings
from pyrox.routing.rule import And, Call, Not, Or, Rule, parse_rule
from pyrox.routing.table import RoutedRule, RouteTable

# Few and alike, so that rules meet requests, and each other, often.
HOSTS = ("a.test", "b.test", "x.a.test", "*.a.test", "*.test")
SEGMENTS = ("a", "b", "v1", "%61", "a%2Fb", "..", ".", "", "a;x", "b%3F", "a%20", "\\")
PLAIN = ("/", "/a", "/b", "/a/", "/a/b", "/v1", "/v1/a", "/a/b/v1")
NAMES = ("x", "y")
VALUES = ("", "1", "2")


def call(name: str, *arguments: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*arguments).map(lambda texts: f"{name}({', '.join(f'`{text}`' for text in texts)})")


paths = st.sampled_from(PLAIN)
hosts = st.sampled_from(HOSTS)
calls = st.one_of(
    call("Host", hosts),
    call("Host", hosts, hosts),
    call("Path", paths),
    call("Path", paths, paths),
    call("PathPrefix", paths),
    call("PathPrefix", paths, paths),
    call("PathRegexp", st.sampled_from(("^/a", "b$", "^/[ab]/[^/]+$"))),
    call("HostRegexp", st.sampled_from(("^a", "test$"))),
    call("Method", st.sampled_from(("GET", "POST"))),
    call("Header", st.sampled_from(NAMES)),
    call("Header", st.sampled_from(NAMES), st.sampled_from(VALUES)),
    call("Query", st.sampled_from(NAMES), st.sampled_from(VALUES)),
    call("Cookie", st.sampled_from(NAMES), st.sampled_from(VALUES)),
    call("ClientIP", st.sampled_from(("10.0.0.0/8", "10.0.0.1", "::1"))),
)
by_path = st.one_of(call("PathPrefix", paths), call("Path", paths), call("PathPrefix", paths, paths))
usual = st.one_of(  # as people write them: what the index knows all of, or most of
    by_path,
    st.tuples(call("Host", hosts), by_path).map(" && ".join),
    st.tuples(by_path, calls).map(" && ".join),
    st.tuples(by_path, by_path, by_path).map("{0[0]} && ({0[1]} || {0[2]})".format),
)
unusual = st.recursive(
    calls,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" && ".join).map("({})".format),
        st.tuples(inner, inner, inner).map(" && ".join).map("({})".format),
        st.tuples(inner, inner).map(" || ".join).map("({})".format),
        inner.map("!{}".format),
    ),
    max_leaves=6,
)
rules = usual | unusual
tables = st.lists(st.tuples(rules, st.sampled_from((0, 0, 0, 7, 30))), max_size=12)
targets = st.one_of(
    paths,
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts)),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    query = draw(st.sampled_from(("", "?x=1", "?x&y=2", "?y=1&x=2")))
    headers = [("Host", draw(st.sampled_from(("a.test", "X.A.test:80", "b.test.", "test", "c.b.test"))))]
    for name in draw(st.lists(st.sampled_from((*NAMES, "cookie")), max_size=3)):
        value = draw(st.sampled_from(VALUES))
        headers.append((name, f"x={value}; y=1" if name == "cookie" else value))
    request = Request(draw(st.sampled_from(("GET", "POST"))), draw(targets) + query, headers)
    request.client_address = draw(st.sampled_from(("10.0.0.1", "10.9.9.9", "192.0.2.1", "::1")))
    return request


def naive(rule: Rule, request: Request, path: str) -> bool:
    """Whether ``rule`` holds, as the documentation says it, with none of the code under test."""
    if isinstance(rule, Not):
        return not naive(rule.item, request, path)
    if isinstance(rule, And):
        return all(naive(item, request, path) for item in rule.items)
    if isinstance(rule, Or):
        return any(naive(item, request, path) for item in rule.items)
    return naive_call(rule, request, path)


def naive_call(rule: Call, request: Request, path: str) -> bool:
    host = request.headers["host"].lower().split(":")[0].rstrip(".")
    first, *values = rule.arguments
    match rule.function:
        case "Host":
            patterns = [re.escape(name).replace(r"\*", "[^.]+") for name in rule.arguments]
            return any(re.fullmatch(pattern, host) for pattern in patterns)
        case "HostRegexp":
            return re.search(first, host) is not None
        case "Path":
            return path in rule.arguments
        case "PathPrefix":
            return any(path == p or path.startswith(p.rstrip("/") + "/") for p in rule.arguments)
        case "PathRegexp":
            return re.search(first, path) is not None
        case "Method":
            return request.method in rule.arguments
        case "ClientIP":
            networks = {"10.0.0.0/8": r"10\.", "10.0.0.1/32": r"10\.0\.0\.1$", "::1/128": "::1$"}
            return re.match(networks[first], request.client_address) is not None
    if rule.function == "Header":
        found = request.headers.get_all(first)
    elif rule.function == "Query":
        found = parse_qs(request.query, keep_blank_values=True).get(first, [])
    else:
        pairs = [
            pair.strip().split("=") for line in request.headers.get_all("cookie") for pair in line.split(";")
        ]
        found = [value for name, value in pairs if name == first]
    return any(value in values for value in found) if values else bool(found)


def naive_find(table: list[tuple[str, int]], request: Request, path: str) -> str | None:
    ordered = sorted(enumerate(table), key=lambda item: (-(item[1][1] or len(item[1][0])), item[0]))
    for number, (text, _) in ordered:
        if naive(parse_rule(text), request, path):
            return str(number)
    return None


def made(table: list[tuple[str, int]]) -> RouteTable:
    return RouteTable(
        [
            RoutedRule(str(number), parse_rule(text), priority or len(text))
            for number, (text, priority) in enumerate(table)
        ]
    )


@settings(max_examples=600, deadline=None)
@given(tables, st.lists(requests(), min_size=1, max_size=4))
def test_the_table_takes_the_route_that_a_naive_evaluation_takes(
    table: list[tuple[str, int]], asked: list[Request]
) -> None:
    routes = made(table)
    for request in asked:
        paths_read = readings(request.path)
        if paths_read is None:
            continue
        expected = {naive_find(table, request, path) for path in paths_read}
        try:
            rank = routes.find(request)
        except ClientError:
            assert len(expected) > 1
            continue
        assert {None if rank is None else routes.rules[rank].name} == expected


@given(rules)
def test_a_rule_that_is_written_out_reads_as_itself(text: str) -> None:
    rule = parse_rule(text)
    assert parse_rule(str(rule)) == rule
