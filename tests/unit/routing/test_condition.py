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


def test_no_rule_is_a_fault() -> None:
    with pytest.raises(RuleError, match="column 1"):
        compile_condition("PathPrefx(`/a`)")
