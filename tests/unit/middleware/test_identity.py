"""Who a request comes from: noted, and told upstream in fields that nobody else can set."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from pyrox.http.headers import Headers
from pyrox.http.message import Request
from pyrox.middleware.identity import Identity, IdentityFields, identify, identity_of, quote_identity

ADA = Identity("ada", "test", frozenset({"admin"}))


def test_latest_identity_counts() -> None:
    request = Request("GET", "/")
    assert identity_of(request) is None
    identify(request, Identity("bob", "test"))
    identify(request, ADA)
    assert identity_of(request) is ADA


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("ada", "ada"),
        ("ada@a.example", "ada@a.example"),
        ("CN=Ada Lovelace,O=Acme", "CN=Ada Lovelace,O=Acme"),
        ("Zoë", "Zo%C3%AB"),
        ("Zo%C3%AB", "Zo%25C3%25AB"),  # or it could pass for the one above
        ("100%", "100%25"),
        (" ada", "%20ada"),
        ("ada  ", "ada%20%20"),
        (" ", "%20"),
        ("ada\r\nX-Role: root", "ada%0D%0AX-Role: root"),
        ("ada\0", "ada%00"),
        ("\t", "%09"),
        ("\x7f\x80", "%7F%C2%80"),
        ("\u212a", "%E2%84%AA"),
    ],
)
def test_every_name_has_one_form_that_gives_it_back(text: str, quoted: str) -> None:
    assert quote_identity(text) == quoted
    assert quoted.isascii() and quoted.isprintable() and quoted == quoted.strip()
    assert unquote(quoted) == text


def test_half_of_a_character_is_quoted_too() -> None:
    assert quote_identity("\udcff") == "%ED%B3%BF"


def test_fields_replace_whatever_was_there() -> None:
    fields = IdentityFields(user="X-User", roles="X_Roles", scopes=None)
    headers = Headers(
        [("x-user", "root"), ("X_USER", "root"), ("X-Roles", "all"), ("x_roles", "all"), ("A", "b")]
    )
    fields.tell(headers, {"user": "ada", "roles": {"b,c", "a"}, "scopes": "s"})
    assert headers.items() == [("A", "b"), ("X-User", "ada"), ("X_Roles", "a,b%2Cc")]


def test_what_is_empty_or_left_out_leaves_no_field() -> None:
    fields = IdentityFields(user="X-User", roles="X-Roles")
    headers = Headers([("X-User", "root"), ("X-Roles", "all")])
    fields.tell(headers, {"user": ""})
    assert headers.items() == []


@pytest.mark.parametrize(
    "name", ["Host", "Authorization", "cookie", "X-Real-IP", "X_Real_IP", "Connection", "TE"]
)
def test_fields_with_a_meaning_of_their_own_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^user_header: .* has another meaning"):
        IdentityFields(user_header=name)


def test_bad_and_repeated_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^user_header: invalid header name 'X User'"):
        IdentityFields(user_header="X User")
    with pytest.raises(ValueError, match=r"^user_header, roles_header: two of them name the same field"):
        IdentityFields(user_header="X-User", roles_header="x_user")
