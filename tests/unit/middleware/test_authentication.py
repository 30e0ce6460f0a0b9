"""What all authentication shares: who passes, what a 401 says, and what nobody can make upstream believe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.authentication import (
    ROLES_HEADER,
    USER_HEADER,
    Authentication,
    credentials_of,
    make_challenge,
    unauthorized,
)
from pyrox.middleware.base import App
from pyrox.middleware.identity import Identity, IdentityFields, identity_of
from pyrox.testing import ClientResponse, TestClient


class ByField(Authentication):
    """Believes the field that its option names; "wrong" is no credential."""

    def __init__(
        self,
        app: App,
        by: str = "X-Key",
        optional: bool = False,
        can_ask: bool = True,
        user_header: str | None = USER_HEADER,
        roles_header: str | None = ROLES_HEADER,
    ) -> None:
        fields = IdentityFields(user_header=user_header, roles_header=roles_header)
        challenge = make_challenge(by, realm="r") if can_ask else None
        super().__init__(app, challenge, optional, fields, by)
        self._by = by

    def authenticate(self, request: Request) -> Identity | None:
        value = request.headers.get(self._by)
        if value == "wrong":
            raise self.unauthorized(request, "wrong key")
        return None if value is None else Identity(value, "by_field", frozenset({self._by}))


class ByOther(ByField):
    """The same under another name."""


def ask(
    options: Mapping[str, Any], headers: Mapping[str, str], *more: Any
) -> tuple[ClientResponse, TestClient]:
    client = TestClient([(ByField, options), *more])
    return client.get("/", headers=headers), client


def told(client: TestClient) -> list[tuple[str, str]]:
    [seen] = client.upstream_requests
    return [item for item in seen.headers.items() if item[0].lower().replace("_", "-").startswith("x-auth")]


SPOOFED = {"X-Auth-User": "root", "x-auth-roles": "admin", "X_Auth_User": "root", "X-Auth_User": "root"}


def test_upstream_is_told_who_it_is_and_no_client_can() -> None:
    answer, client = ask({}, {"X-Key": "ada", **SPOOFED})
    assert answer.status == 200
    assert told(client) == [("X-Auth-User", "ada"), ("X-Auth-Roles", "X-Key")]
    identity = identity_of(client.upstream_requests[0])
    assert identity is not None and (identity.name, identity.verified_by) == ("ada", "by_field")


def test_fields_that_are_not_sent_are_nobodys_either() -> None:
    spoofed = {"X-Auth-Scopes": "all", "X-Auth-Roles": "admin", "X-Who": "root"}
    answer, client = ask({"user_header": "X-Who", "roles_header": None}, {"X-Key": "ada", **spoofed})
    assert answer.status == 200
    assert told(client) == []
    assert client.upstream_requests[0].headers.get_all("x-who") == ["ada"]


def test_request_without_credentials_is_asked_for_them() -> None:
    answer, client = ask({}, {})
    assert (answer.status, answer.headers.get_all("www-authenticate")) == (401, ['X-Key realm="r"'])
    assert answer.made_by == "ByField"
    assert client.upstream_requests == []


def test_optional_lets_anonymous_pass_and_tells_upstream_of_nobody() -> None:
    answer, client = ask({"optional": True}, SPOOFED)
    assert answer.status == 200
    assert told(client) == []
    assert identity_of(client.upstream_requests[0]) is None


def test_optional_refuses_wrong_credentials() -> None:
    answer, client = ask({"optional": True}, {"X-Key": "wrong"})
    assert (answer.status, answer.text) == (401, "wrong key\n")
    assert client.upstream_requests == []


def test_two_factors_are_both_needed_and_the_inner_one_says_who_it_is() -> None:
    second = (ByOther, {"by": "X-Token"})
    assert ask({}, {"X-Key": "ada"}, second)[0].status == 401
    assert ask({}, {"X-Token": "ada"}, second)[0].status == 401
    answer, client = ask({"roles_header": "X-Auth-Key"}, {"X-Key": "host", "X-Token": "ada"}, second)
    assert answer.status == 200
    assert told(client) == [("X-Auth-Key", "X-Key"), ("X-Auth-User", "ada"), ("X-Auth-Roles", "X-Token")]


def test_optional_one_keeps_what_an_outer_one_has_found_out() -> None:
    answer, client = ask({}, {"X-Key": "ada"}, (ByOther, {"by": "X-Token", "optional": True}))
    assert answer.status == 200
    assert told(client) == [("X-Auth-User", "ada"), ("X-Auth-Roles", "X-Key")]


def refuse(app: App) -> App:
    def middleware(request: Request) -> Response:
        raise unauthorized(request, challenge="Mine")

    return middleware


def test_401_offers_every_way_on_a_line_of_its_own() -> None:
    other = (ByOther, {"by": "X-Token", "optional": True})
    answer, _ = ask({"optional": True}, {}, other, refuse)
    assert answer.headers.get_all("www-authenticate") == ['X-Key realm="r"', 'X-Token realm="r"', "Mine"]
    answer, _ = ask({"optional": True}, {"X-Token": "wrong"}, other)
    assert answer.headers.get_all("www-authenticate") == ['X-Key realm="r"', 'X-Token realm="r"']


def test_without_a_way_to_ask_it_is_403() -> None:
    answer, _ = ask({"can_ask": False}, {})
    assert answer.status == 403
    assert "www-authenticate" not in answer.headers


def test_caches_are_told_what_the_response_depends_on() -> None:
    assert ask({}, {"X-Key": "ada"})[0].headers.get_all("vary") == ["X-Key"]
    assert ask({"optional": True}, {})[0].headers.get_all("vary") == ["X-Key"]


@pytest.mark.parametrize(
    ("known", "vary"),
    [
        (["Accept, x-key"], "Accept, x-key, Cookie"),
        (["*"], "*"),
        (["Accept", "Origin"], "Accept, Origin, X-Key, Cookie"),
        (["cookie, Accept"], "cookie, Accept, X-Key"),
    ],
)
def test_vary_of_upstream_is_extended_on_one_line(known: list[str], vary: str) -> None:
    class ByTwo(ByField):
        def __init__(self, app: App) -> None:
            Authentication.__init__(self, app, None, True, IdentityFields(), "X-Key, Cookie")
            self._by = "X-Key"

    def app(request: Request) -> Response:
        return Response(200, "", [("Vary", line) for line in known])

    assert ByTwo(app)(Request("GET", "/")).headers.get_all("vary") == [vary]


def test_challenge_quotes_its_parameters() -> None:
    assert make_challenge("Basic", realm='a "b" \\c', charset="UTF-8") == (
        'Basic realm="a \\"b\\" \\\\c", charset="UTF-8"'
    )
    assert make_challenge("Negotiate") == "Negotiate"
    for realm in ("a\r\nb", "Zoë", "\0"):
        with pytest.raises(ValueError, match=r"^realm: "):
            make_challenge("Basic", realm=realm)


@pytest.mark.parametrize(
    ("line", "credentials"),
    [
        ("Basic abc", b"abc"),
        ("bAsIc   abc ", b"abc"),
        ("Basic", b""),
        ("Bearer abc", None),
        ("Basicabc", None),
        ("", None),
    ],
)
def test_credentials_are_those_of_the_scheme(line: str, credentials: bytes | None) -> None:
    assert credentials_of(Request("GET", "/", {"Authorization": line}), b"basic") == credentials


def test_two_authorization_fields_are_refused_whatever_is_in_them() -> None:
    assert credentials_of(Request("GET", "/"), b"basic") is None
    request = Request("GET", "/", [("Authorization", "Basic abc"), ("authorization", "Bearer x")])
    with pytest.raises(HTTPError) as caught:
        credentials_of(request, b"basic")
    assert caught.value.status == 400
