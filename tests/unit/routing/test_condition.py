"""Rules as questions to any request."""

from __future__ import annotations

import pytest

from pyrox.errors import ClientError
from pyrox.http.message import Request
from pyrox.routing.condition import compile_condition
from pyrox.routing.rule import RuleError


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("PathPrefix(`/admin`)", True),
        ("Path(`/admin`)", False),
        ("!PathPrefix(`/open`) && Method(`GET`)", True),
        ("Host(`a.test`) || Header(`X-Key`)", True),
        ("Query(`q`, `2`)", False),
    ],
)
def test_condition_is_the_rule(rule: str, holds: bool) -> None:
    request = Request("GET", "/admin/users?q=1", {"Host": "A.test:80"})
    assert compile_condition(rule)(request) is holds


@pytest.mark.parametrize(
    "path",
    ["/open/..%2Fadmin", "/open/../admin", "//admin", "/open%2F..%2Fadmin", "/;x/admin", "/admin%00.png"],
)
def test_path_that_it_may_or_may_not_hold_for_is_refused(path: str) -> None:
    holds = compile_condition("PathPrefix(`/admin`) && Method(`GET`)")
    with pytest.raises(ClientError, match="when it is read as") as caught:
        holds(Request("GET", path))
    assert caught.value.status == 400
    assert not holds(Request("PUT", path))  # in no reading
    assert not compile_condition("Method(`PUT`)")(Request("GET", path))


def test_path_of_too_many_readings_is_refused() -> None:
    holds = compile_condition("PathPrefix(`/admin`)")
    with pytest.raises(ClientError, match="more than 16 ways"):
        holds(Request("GET", "/a%2Fb%5Cc;d//e/../f%00"))


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x_http_method", "X-Method-Override"])
@pytest.mark.parametrize(
    "rule", ["Method(`DELETE`)", "!Method(`GET`, `POST`)", "Path(`/users`) && Method(`DELETE`)"]
)
def test_method_that_it_may_or_may_not_hold_for_is_refused(rule: str, name: str) -> None:
    holds = compile_condition(rule)
    with pytest.raises(ClientError, match="read as DELETE") as caught:
        holds(Request("POST", "/users", {name: "delete"}))
    assert caught.value.status == 400
    assert holds(Request("DELETE", "/users"))
    assert not holds(Request("POST", "/users"))


def test_method_in_a_field_is_no_matter_where_it_makes_no_difference() -> None:
    request = Request("POST", "/users", {"X-HTTP-Method-Override": "PATCH"})
    assert compile_condition("Method(`POST`, `PATCH`)")(request)
    assert not compile_condition("Method(`GET`)")(request)
    assert compile_condition("PathPrefix(`/users`)")(request)
    assert compile_condition("PathPrefix(`/users`) && !Method(`GET`)")(request)
    assert not compile_condition("PathPrefix(`/open`) && Method(`POST`)")(request)


def test_path_and_method_are_read_in_every_way_together() -> None:
    holds = compile_condition("Path(`/admin`) && Method(`DELETE`)")
    with pytest.raises(ClientError, match="as DELETE /admin"):
        holds(Request("POST", "//admin", {"X-HTTP-Method-Override": "DELETE"}))


def test_no_rule_is_a_fault() -> None:
    with pytest.raises(RuleError, match="column 1"):
        compile_condition("PathPrefx(`/a`)")
