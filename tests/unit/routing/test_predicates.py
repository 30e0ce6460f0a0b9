"""What each function of a rule asks of a request."""

from __future__ import annotations

import pytest

import pyrox.routing.subject as subject_module
from pyrox.http.message import Request
from pyrox.routing.predicates import compile_rule
from pyrox.routing.rule import parse_rule
from pyrox.routing.subject import Subject, host_of


def holds(rule: str, request: Request) -> bool:
    subject = Subject(request, host_of(request), request.path)
    return compile_rule(parse_rule(rule))(subject)


def ask(target: str = "/", method: str = "GET", host: str = "a.test", **headers: str) -> Request:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(method, target, {"Host": host, **fields} if host else fields)
    request.client_address = "10.1.2.3"
    return request


def test_long_host_is_compared_and_not_remembered() -> None:
    long = "A" * 30_000 + ".test:80"
    assert host_of(ask(host=long)) == "a" * 30_000 + ".test"
    assert long.encode() not in subject_module._hosts
    assert host_of(ask(host="Short.test")) == "short.test"
    assert b"Short.test" in subject_module._hosts


@pytest.mark.parametrize(
    ("rule", "host", "expected"),
    [
        ("Host(`a.test`)", "a.test", True),
        ("Host(`a.test`)", "A.TEST:8080", True),
        ("Host(`a.test`)", "a.test.", True),
        ("Host(`a.test`)", "%61.test", True),
        ("Host(`a.test`)", "b.test", False),
        ("Host(`a.test`)", "x.a.test", False),
        ("Host(`a.test`)", "", False),
        ("Host(`*.a.test`)", "x.a.test", True),
        ("Host(`*.a.test`)", "a.test", False),
        ("Host(`*.a.test`)", "x.y.a.test", False),
        ("Host(`*.a.test`)", ".a.test", False),
        ("Host(`b.test`, `*.a.test`)", "b.test", True),
        ("Host(`[::1]`)", "[::1]:80", True),
        ("Host(`127.0.0.1`)", "127.0.0.1:80", True),
        ("HostRegexp(`^[a-z]+\\.test$`)", "abc.test:1", True),
        ("HostRegexp(`^[a-z]+\\.test$`)", "a1.test", False),
    ],
)
def test_hosts(rule: str, host: str, expected: bool) -> None:
    assert holds(rule, ask(host=host)) is expected


@pytest.mark.parametrize(
    ("rule", "target", "expected"),
    [
        ("Path(`/a`)", "/a", True),
        ("Path(`/a`)", "/a?x=1", True),
        ("Path(`/a`)", "/a/", False),
        ("Path(`/a`, `/b`)", "/b", True),
        ("PathPrefix(`/a`)", "/a", True),
        ("PathPrefix(`/a`)", "/a/b", True),
        ("PathPrefix(`/a`)", "/ab", False),
        ("PathPrefix(`/a/`)", "/a", False),
        ("PathPrefix(`/a/`)", "/a/", True),
        ("PathPrefix(`/`)", "/", True),
        ("PathPrefix(`/`)", "/x", True),
        ("PathPrefix(`/`)", "*", False),
        ("PathRegexp(`^/[0-9]+$`)", "/12", True),
        ("PathRegexp(`[0-9]`)", "/a1b", True),
        ("PathRegexp(`^/[0-9]+$`)", "/1a", False),
        ("Query(`a`)", "/?a", True),
        ("Query(`a`)", "/?b&a=1", True),
        ("Query(`a`)", "/?aa=1", False),
        ("Query(`a`, `x y`)", "/?a=z&a=x+y", True),
        ("Query(`a`, `x y`)", "/?%61=x%20y", True),
        ("Query(`a`, ``)", "/?a=", True),
        ("Query(`a`, `1`, `2`)", "/?a=2", True),
        ("Query(`a`, `1`)", "/?a=11", False),
        ("QueryRegexp(`a`, `^[0-9]+$`)", "/?a=x&a=12", True),
        ("QueryRegexp(`a`, `^[0-9]+$`)", "/?a=%ff", False),
    ],
)
def test_targets(rule: str, target: str, expected: bool) -> None:
    method = "OPTIONS" if target == "*" else "GET"
    assert holds(rule, ask(target, method)) is expected


@pytest.mark.parametrize(
    ("rule", "headers", "expected"),
    [
        ("Header(`X-Beta`)", {"x_beta": ""}, True),
        ("Header(`X-Beta`)", {}, False),
        ("Header(`X-Beta`, `1`, `2`)", {"X_BETA": "2"}, True),
        ("Header(`X-Beta`, `1`)", {"X_BETA": "11"}, False),
        ("Header(`X-Beta`, `a`)", {"X_BETA": "A"}, False),
        ("HeaderRegexp(`User-Agent`, `(?i)curl/[0-9]`)", {"User_Agent": "CURL/8"}, True),
        ("HeaderRegexp(`User-Agent`, `^curl`)", {"User_Agent": "x curl"}, False),
        ("Cookie(`a`)", {"Cookie": "b=1; a=2"}, True),
        ("Cookie(`a`, `2=3`)", {"Cookie": "b=1;a=2=3"}, True),
        ("Cookie(`a`, `2`)", {"Cookie": "a=3; aa=2"}, False),
        ("CookieRegexp(`a`, `^[0-9]+$`)", {"Cookie": "a=12"}, True),
        ("CookieRegexp(`a`, `^[0-9]+$`)", {"Cookie": "a=x"}, False),
    ],
)
def test_fields(rule: str, headers: dict[str, str], expected: bool) -> None:
    assert holds(rule, ask(**headers)) is expected


def test_any_line_of_a_header_counts_and_text_outside_ascii_is_utf8() -> None:
    request = ask(X="a")
    request.headers.add("X", "b")
    request.headers.fields.append((b"y", b"Y", "\u00e9".encode()))
    assert holds("Header(`x`, `b`)", request)
    assert holds("Header(`y`, `\u00e9`)", request)
    request.headers.add("Cookie", "a=1")
    request.headers.add("Cookie", "b=2")
    assert holds("Cookie(`a`) && Cookie(`b`, `2`)", request)


@pytest.mark.parametrize(
    ("rule", "address", "expected"),
    [
        ("ClientIP(`10.0.0.0/8`)", "10.1.2.3", True),
        ("ClientIP(`10.0.0.0/8`)", "::ffff:10.1.2.3", True),
        ("ClientIP(`10.1.2.3`)", "10.1.2.4", False),
        ("ClientIP(`2001:db8::/32`, `10.0.0.0/8`)", "2001:db8::1", True),
        ("ClientIP(`10.0.0.0/8`)", "unix", False),
        ("ClientIP(`unix`)", "unix", True),
        ("ClientIP(`unix`)", "10.1.2.3", False),
        ("ClientIP(`unix`)", "", False),
    ],
)
def test_addresses(rule: str, address: str, expected: bool) -> None:
    request = ask()
    request.client_address = address
    assert holds(rule, request) is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("Method(`GET`) && Host(`a.test`)", True),
        ("Method(`POST`) || Host(`a.test`)", True),
        ("Method(`POST`, `PUT`) || Host(`b.test`)", False),
        ("!Method(`POST`)", True),
        ("!(Method(`GET`) && Path(`/`))", False),
        ("Method(`GET`) && Path(`/`) && Host(`b.test`)", False),
        ("Method(`GET`) && Path(`/`) && Host(`a.test`)", True),
        ("Method(`PUT`) || Path(`/x`) || Host(`b.test`)", False),
        ("Method(`PUT`) || Path(`/x`) || Host(`a.test`)", True),
    ],
)
def test_rules_are_put_together(rule: str, expected: bool) -> None:
    assert holds(rule, ask()) is expected


def test_a_pattern_that_would_stall_a_backtracking_engine_answers_at_once() -> None:
    # Python's re takes longer than the age of the universe for this.
    assert not holds("PathRegexp(`^/(a+)+$`)", ask("/" + "a" * 8000 + "b"))
