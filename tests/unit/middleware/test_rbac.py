"""Who may do what: nothing that is not allowed, by whatever spelling."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pyrox.http.message import Request, Response
from pyrox.middleware.api_key import ApiKey
from pyrox.middleware.base import App
from pyrox.middleware.identity import Identity, identify
from pyrox.middleware.rbac import Rbac
from pyrox.testing import TestClient

READER = Identity("ada", "test", frozenset({"reader"}), frozenset({"orders.read"}))
CLERK = Identity("bob", "test", frozenset({"clerk", "reader"}), frozenset({"orders.write"}))
ADMIN = Identity("eve", "test", frozenset({"admin"}))

RULES = {
    "/public/**": ["anyone"],
    "GET /orders/*": ["role:reader", "role:admin"],
    "PUT|DELETE /orders/*": ["role:clerk+scope:orders.write", "role:admin"],
    "/orders": ["authenticated"],
    "/admin/**": ["role:admin"],
    "~ /reports/[0-9]{4}": ["user:ada"],
    "/closed/**": ["nobody"],
    "/**": ["role:reader"],
}
AS_JSON = [
    {"path": "/public/**", "allow": ["anyone"]},
    {"path": "/orders/*", "methods": ["GET"], "allow": ["role:reader", "role:admin"]},
    {
        "path": "/orders/*",
        "methods": ["PUT", "DELETE"],
        "allow": [["role:clerk", "scope:orders.write"], "role:admin"],
    },
    {"path": "/orders", "allow": ["authenticated"]},
    {"path": "/admin/**", "allow": ["role:admin"]},
    {"path": "~ /reports/[0-9]{4}", "allow": ["user:ada"]},
    {"path": "/closed/**", "allow": ["nobody"]},
    {"path": "/**", "allow": ["role:reader"]},
]


def being(identity: Identity | None) -> Callable[[App], App]:
    def identified(app: App) -> App:
        def middleware(request: Request) -> Response:
            if identity is not None:
                identify(request, identity)
            return app(request)

        return middleware

    return identified


def status_of(
    identity: Identity | None,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> int:
    client = TestClient([being(identity), (Rbac, options or {"rules": RULES})])
    answer = client.request(method, target, headers=headers or {})
    assert len(client.upstream_requests) == (answer.status == 200)
    return answer.status


@pytest.fixture(params=["section", "file"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "section":
        return {"rules": RULES}
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(AS_JSON))
    return {"file": path}


@pytest.mark.parametrize(
    ("method", "target", "statuses"),
    [
        ("GET", "/public/a", (200, 200, 200, 200)),
        ("POST", "/public", (200, 200, 200, 200)),
        ("GET", "/orders/1", (403, 200, 200, 200)),
        ("HEAD", "/orders/1?x=/public/", (403, 200, 200, 200)),
        ("PUT", "/orders/1", (403, 403, 200, 200)),
        ("DELETE", "/orders/1/", (403, 403, 200, 200)),
        ("POST", "/orders/1", (403, 403, 403, 403)),  # and no later pattern takes it
        ("PATCH", "/orders", (403, 200, 200, 200)),
        ("GET", "/admin", (403, 403, 403, 200)),
        ("GET", "/admin/users", (403, 403, 403, 200)),
        ("GET", "/reports/2024", (403, 200, 403, 403)),
        ("GET", "/reports/24", (403, 200, 200, 403)),
        ("GET", "/closed/x", (403, 403, 403, 403)),
        ("GET", "/else", (403, 200, 200, 403)),
        ("OPTIONS", "*", (403, 403, 403, 403)),
    ],
)
def test_rules_say_who_may_do_what(
    options: dict[str, Any], method: str, target: str, statuses: tuple[int, ...]
) -> None:
    found = tuple(status_of(who, method, target, **options) for who in (None, READER, CLERK, ADMIN))
    assert found == statuses


@pytest.mark.parametrize(
    "target",
    [
        "//admin",
        "/./admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2Fadmin",
        "/public/..%5cadmin",
        "/public/..;x/admin",
        "/public/..;/admin",
        "/admin;x=/public",
        "/%61dmin",
        "/admin%2Fusers",
        "/admin%00",
        "/admin%3f/../public",
        "/public%2f..%2fadmin",
        "/public/a/../..//admin",
    ],
)
def test_no_spelling_of_a_path_gets_past_a_rule(options: dict[str, Any], target: str) -> None:
    for who in (None, READER, CLERK):
        assert status_of(who, "GET", target, **options) in (400, 403)


@pytest.mark.parametrize("target", ["/public/%2e%2e/public/a", "/public//a", "/public/a;b", "/public/a%2Fb"])
def test_path_that_is_allowed_in_every_reading_passes(options: dict[str, Any], target: str) -> None:
    assert status_of(READER, "GET", target, **options) == 200


def test_path_with_too_many_readings_is_a_bad_request(options: dict[str, Any]) -> None:
    assert status_of(ADMIN, "GET", "/a/../x/%2e/;y/%2F/\\%00", **options) == 400


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"])
def test_method_that_a_field_asks_for_has_to_be_allowed_too(name: str) -> None:
    rules = {"POST /a": ["anyone"], "DELETE /a": ["role:admin"]}
    assert status_of(None, "POST", "/a", rules=rules) == 200
    for value in ("DELETE", "delete", " Delete "):
        assert status_of(READER, "POST", "/a", {name: value}, rules=rules) == 403
        assert status_of(ADMIN, "POST", "/a", {name: value}, rules=rules) == 200


def test_head_has_rules_of_its_own_where_there_are_some() -> None:
    rules = {"GET /a": ["anyone"], "HEAD /a": ["role:admin"], "GET /b": ["anyone"]}
    assert status_of(None, "HEAD", "/a", rules=rules) == 403
    assert status_of(None, "HEAD", "/b", rules=rules) == 200


def test_rules_of_one_pattern_add_up() -> None:
    rules = {"GET /a": ["role:reader"], "/a": ["role:admin"], "* /b": ["role:admin"]}
    assert [status_of(who, "GET", "/a", rules=rules) for who in (READER, ADMIN)] == [200, 200]
    assert [status_of(who, "POST", "/a", rules=rules) for who in (READER, ADMIN)] == [403, 200]
    assert [status_of(who, "POST", "/b", rules=rules) for who in (READER, ADMIN)] == [403, 200]


def test_case_is_ignored_where_it_is_wanted() -> None:
    rules = {"/admin/**": ["role:admin"], "/**": ["anyone"]}
    assert status_of(None, "GET", "/ADMIN", rules=rules) == 200
    assert status_of(None, "GET", "/ADMIN", rules=rules, ignore_case=True) == 403


def test_whoever_nobody_knows_is_asked_who_it_is_and_others_are_refused() -> None:
    key = (ApiKey, {"keys": {"acme": ["f" * 64]}, "optional": True})
    answer = TestClient([key, (Rbac, {"rules": RULES})]).get("/admin")
    assert (answer.status, answer.made_by) == (401, "Rbac")
    assert answer.headers.get_all("www-authenticate") == ['ApiKey realm="restricted"']
    assert TestClient([key, (Rbac, {"rules": RULES})]).get("/public/a").status == 200
    answer = TestClient([key, being(READER), (Rbac, {"rules": RULES})]).get("/admin")
    assert (answer.status, "www-authenticate" in answer.headers) == (403, False)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({}, "rules: give either rules or a file of them"),
        ({"/a": []}, "rules: /a: says of nobody that they may"),
        (
            {"/a": ["admin"]},
            "rules: /a: 'admin' is none of role:NAME, scope:NAME, user:NAME, anyone, authenticated, nobody",
        ),
        ({"/a": ["role:"]}, "rules: /a: 'role:' is none of"),
        ({"/a": ["anyone:x"]}, "rules: /a: 'anyone:x' is none of"),
        ({"/a": ["role:a+"]}, "rules: /a: '' is none of"),
        ({"/a": ["anyonee"]}, r"rules: /a: 'anyonee' is none of .*anyone"),
        ({"a": ["anyone"]}, "rules: a: 'a' is no path pattern"),
        ({"GET": ["anyone"]}, "rules: GET: 'GET' is no path pattern"),
        ({"get /a": ["anyone"]}, "rules: get /a: 'get' is no method; write them as"),
        ({"GET /a /b": ["anyone"]}, "rules: GET /a /b: '/a /b' is no path pattern"),
        ({"~ (": ["anyone"]}, r"rules: ~ \(: .*is no regular expression"),
    ],
)
def test_bad_rules_are_named(rules: Mapping[str, Sequence[str]], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        TestClient((Rbac, {"rules": rules}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no JSON: "),
        ("[" * 100_000, "is no JSON: "),
        ("[]", "is no list of rules"),
        ('{"path": "/a"}', "is no list of rules"),
        ('["/a"]', 'rule 1: is no object with a "path"'),
        ('[{"path": "/a"}]', 'rule 1: "allow" is no list'),
        ('[{"path": "/a", "allow": []}]', "rule 1: says of nobody that they may"),
        ('[{"path": "/a", "allow": [[]]}]', 'rule 1: "allow" has an item that is neither'),
        ('[{"path": "/a", "allow": [7]}]', 'rule 1: "allow" has an item that is neither'),
        ('[{"path": "/a", "allow": ["anyone"], "method": []}]', "rule 1: 'method' is unknown.*methods"),
        ('[{"path": "/a", "allow": ["anyone"], "methods": []}]', 'rule 1: "methods" is no list of methods'),
        (
            '[{"path": "/a", "allow": ["anyone"], "methods": "GET"}]',
            'rule 1: "methods" is no list of methods',
        ),
        (
            '[{"path": "/a", "allow": ["anyone"]}, {"path": "b", "allow": ["anyone"]}]',
            "rule 2: 'b' is no path",
        ),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "rules.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^file: {path}: {reason}"):
        TestClient((Rbac, {"file": path}))
    with pytest.raises(ValueError, match="rules: give either rules or a file"):
        TestClient((Rbac, {"file": path, "rules": RULES}))
