"""Redirects and rewritten paths."""

from __future__ import annotations

import pytest

from pyrox.errors import ClientError
from pyrox.routing.templates import RedirectTemplate, Rewriting


@pytest.mark.parametrize(
    ("template", "target", "location"),
    [
        ("https://{host}{target}", "/a?b=c", "https://a.test/a?b=c"),
        ("https://new.test{path}", "/a?b=c", "https://new.test/a"),
        ("https://new.test/x{query}", "/a?b=c", "https://new.test/x?b=c"),
        ("https://new.test/x{query}", "/a", "https://new.test/x"),
        ("{scheme}://www.{host}{path}{query}", "/a?", "http://www.a.test/a?"),
        ("/new{target}", "/a", "/new/a"),
        ("{path}", "//evil.test/a", "/evil.test/a"),
        ("{target}", "/\\evil.test", "/%5Cevil.test"),
        ("/{path}", "/a", "/a"),
        ("https://{host}{path}", '/a"<b>', "https://a.test/a%22%3Cb%3E"),
        ("https://{host}{path}", "/a%2Fb%zz", "https://a.test/a%2Fb%zz"),
    ],
)
def test_redirects_are_filled_in(template: str, target: str, location: str) -> None:
    assert RedirectTemplate(template).location("http", "a.test", target) == location


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("https://{hots}/", "{hots} is no part of a request; did you mean {host}?"),
        ("https://{zzzzzz}/", "{zzzzzz} is no part of a request; there are {scheme}, {host}"),
        ("https://{host/", "has a brace"),
        ("https://a.test/a b", "has a brace, a blank"),
        ("javascript:alert(1)", "is no URL; it begins with http://"),
        ("//evil.test", "is no URL"),
        ("{host}/", "is no URL"),
    ],
)
def test_what_is_no_url_is_refused(template: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        RedirectTemplate(template)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("rewriting", "target", "expected"),
    [
        (Rewriting(strip="/v1"), "/v1/users?x=1", "/users?x=1"),
        (Rewriting(strip="/v1"), "/v1", "/"),
        (Rewriting(strip="/v1"), "/v1?x", "/?x"),
        (Rewriting(strip="/v1"), "/v10", "/v10"),
        (Rewriting(strip="/v1"), "/%76%31/%61b", "/%61b"),
        (Rewriting(strip="/v1/"), "/v1/a", "/a"),
        (Rewriting(strip="/v1"), "/v1//a", "//a"),
        (Rewriting(add="/in"), "/a?b", "/in/a?b"),
        (Rewriting(add="/in/"), "/a", "/in/a"),
        (Rewriting("/v1", "/in"), "/v1/a", "/in/a"),
        (Rewriting(pattern="^/users/([0-9]+)$", replacement="/u/$1/$$"), "/users/42?x", "/u/42/$?x"),
        (Rewriting(pattern="^/users/([0-9]+)$", replacement="/u/$1"), "/users/x", "/users/x"),
        (Rewriting(pattern="^/x", replacement=""), "/x/a", "/a"),
        (Rewriting(pattern="^/x", replacement=""), "/x", "/"),
        (Rewriting(pattern="b", replacement="[$0]"), "/abc", "/a%5Bb%5Dc"),
        (Rewriting(pattern="(x)?y", replacement="<$1>"), "/y", "/%3C%3E"),
        (Rewriting(pattern="^/a b", replacement="/"), "/a%20b", "/a%20b"),
        (Rewriting(pattern="^/a%20b", replacement="/"), "/%61%20b%3f", "/%3F"),
        (Rewriting("/v1", "/in", "^/a", "/b"), "/v1/a/c", "/in/b/c"),
        (Rewriting("/v1", "/in", "^/a", "/b"), "*", "*"),
    ],
)
def test_paths_are_rewritten_and_queries_stay(rewriting: Rewriting, target: str, expected: str) -> None:
    assert rewriting.rewrite(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        "/v1/../v1/a",
        "/v1/x/..",
        "/v1/%2e%2e/v1/a",
        "/v1/..%2fv1/a",
        "/v1\\..\\v1",
        "/v1/..;x/v1",
        "/v1/x%5c..%5C",
        "/v1/..%00",
        "/v1/..%3Fa",
    ],
)
def test_no_path_climbs_out_of_the_prefix_that_it_is_given(target: str) -> None:
    with pytest.raises(ClientError) as caught:
        Rewriting("/v1", "/public").rewrite(target)
    assert caught.value.status == 400
    assert Rewriting("/v1", "/public").rewrite("/v1/./..a/a..?/../") == "/public/./..a/a..?/../"


@pytest.mark.parametrize(
    ("pattern", "replacement", "reason"),
    [
        ("a", "$1", "'$1' names group 1; the pattern has 0"),
        ("(a)", "$", "'$' has a $ without the number of a group"),
        ("(a)", "$x", "has a $ without"),
        ("(a)", "/x?y", "'/x?y' is no path"),
        ("(a", "", "no regular expression"),
    ],
)
def test_a_replacement_that_cannot_work_is_refused(pattern: str, replacement: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        Rewriting(pattern=pattern, replacement=replacement)
    assert reason in str(caught.value)
