"""Keys: where they stand, whose they are, and that they go no further."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pyrox.middleware.api_key import ApiKey, parse_key_file, parse_keys
from pyrox.middleware.identity import identity_of
from pyrox.testing import ClientResponse, TestClient


def hash_of(key: str) -> str:
    return sha256(key.encode()).hexdigest()


KEYS = {
    "acme": [hash_of("k3y"), "role:reader", "role:writer", "scope:orders.read"],
    "globex": [hash_of("old"), hash_of("new").upper()],
}


def client_of(**options: Any) -> TestClient:
    return TestClient((ApiKey, {"keys": KEYS, **options}))


def name_for(client: TestClient, answer: ClientResponse) -> str | None:
    if answer.status != 200:
        return None
    identity = identity_of(client.upstream_requests[-1])
    return None if identity is None else identity.name


def test_key_says_who_it_is_and_goes_no_further() -> None:
    client = client_of()
    spoofed = {"X-Auth-User": "root", "X-Auth-Roles": "admin", "x_auth_scopes": "all"}
    assert client.get("/", headers={"X-API-Key": "k3y", **spoofed}).status == 200
    seen = client.upstream_requests[-1]
    assert [seen.headers.get_all(f"x-auth-{what}") for what in ("user", "roles", "scopes")] == [
        ["acme"],
        ["reader,writer"],
        ["orders.read"],
    ]
    assert "x_auth_scopes" not in seen.headers and "x-api-key" not in seen.headers
    identity = identity_of(seen)
    assert identity is not None and identity.verified_by == "api_key"


@pytest.mark.parametrize("key", ["k3y ", "old", "new"])
def test_every_hash_of_a_line_counts(key: str) -> None:
    client = client_of()
    expected = "acme" if key == "k3y " else "globex"  # blanks around a value are not part of it
    assert name_for(client, client.get("/", headers={"X-API-Key": key})) == expected


@pytest.mark.parametrize("key", ["", "K3Y", "k3", "k3yy", hash_of("k3y"), "k\xe9y"])
def test_wrong_key_is_asked_for_another(key: str) -> None:
    for optional in (False, True):
        client = client_of(optional=optional)
        answer = client.get("/", headers={"X-API-Key": key})
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'ApiKey realm="restricted"')
        assert answer.headers.get("vary") is None
        assert client.upstream_requests == []


def test_no_key_is_asked_for_one_or_passes() -> None:
    assert client_of().get("/").status == 401
    client = client_of(optional=True)
    assert client.get("/").status == 200
    assert identity_of(client.upstream_requests[0]) is None


@pytest.mark.parametrize(
    ("options", "target", "headers", "sent_target", "sent"),
    [
        ({"query": "key"}, "/a?key=k3y", {}, "/a", {}),
        ({"query": "key"}, "/a?x=%2F&k%65y=k%33y&y=1", {}, "/a?x=%2F&y=1", {}),
        ({"query": "key"}, "/a?key=k3y&&key=k3y&b", {}, "/a?&b", {}),
        ({"query": "the key"}, "/a?the+key=k3y", {}, "/a", {}),
        ({"cookie": "key"}, "/a", {"Cookie": "a=b; key=k3y; c=d"}, "/a", {"Cookie": "a=b; c=d"}),
        ({"cookie": "key"}, "/a", {"Cookie": "key=k3y"}, "/a", {}),
        (
            {"header": "Authorization", "scheme": "Bearer"},
            "/a",
            {"Authorization": "bearer  k3y"},
            "/a",
            {},
        ),
        (
            {"query": "key", "cookie": "key"},
            "/a?key=k3y",
            {"Cookie": "key=k3y", "X-Api-Key": "k3y"},
            "/a",
            {},
        ),
    ],
)
def test_key_is_found_and_removed_wherever_it_may_stand(
    options: dict[str, Any], target: str, headers: dict[str, str], sent_target: str, sent: dict[str, str]
) -> None:
    client = client_of(**options)
    assert name_for(client, client.get(target, headers=headers)) == "acme"
    seen = client.upstream_requests[-1]
    assert seen.target == sent_target
    assert {name: seen.headers.get(name) for name in headers} == {name: sent.get(name) for name in headers}
    client = client_of(**options, strip=False)
    assert name_for(client, client.get(target, headers=headers)) == "acme"
    seen = client.upstream_requests[-1]
    assert seen.target == target
    assert {name: seen.headers[name] for name in headers} == headers


@pytest.mark.parametrize(
    ("options", "target", "headers"),
    [
        ({}, "/", [("X-API-Key", "k3y"), ("x-api-key", "old")]),
        ({"query": "key"}, "/?key=old", [("X-API-Key", "k3y")]),
        ({"query": "key"}, "/?key=k3y&%6bey=old", []),
        ({"cookie": "key"}, "/", [("Cookie", "key=k3y; key=old")]),
        ({"cookie": "key"}, "/", [("Cookie", "key=k3y"), ("Cookie", "key=old")]),
        (
            {"header": "Authorization", "scheme": "Bearer"},
            "/",
            [("Authorization", "Bearer k3y"), ("Authorization", "Basic x")],
        ),
    ],
)
def test_two_keys_are_refused_though_one_is_good(
    options: dict[str, Any], target: str, headers: list[tuple[str, str]]
) -> None:
    client = client_of(**options)
    assert client.get(target, headers=headers).status == 400
    assert client.upstream_requests == []


def test_other_scheme_is_left_to_upstream() -> None:
    client = client_of(header="Authorization", scheme="Bearer", query="key")
    answer = client.get("/?key=k3y", headers={"Authorization": "Basic x"})
    assert answer.status == 200
    assert client.upstream_requests[-1].headers["authorization"] == "Basic x"
    assert (
        client.get("/", headers={"Authorization": "Basic x"})
        .headers["www-authenticate"]
        .startswith("Bearer ")
    )


@pytest.mark.parametrize(
    ("options", "vary"),
    [
        ({}, ["X-API-Key"]),
        ({"cookie": "key"}, ["X-API-Key, Cookie"]),
        ({"header": None, "query": "X-API-Key"}, []),
    ],
)
def test_caches_are_told_where_the_key_stands(options: dict[str, Any], vary: list[str]) -> None:
    answer = client_of(optional=True, **options).get("/")
    assert answer.headers.get_all("vary") == vary


def test_field_with_underscores_is_a_key_too_where_they_pass() -> None:
    client = TestClient.from_config(
        f"""
        [http]
        underscore_headers = allow
        [middleware]
        stack = api_key,
        [[api_key]]
        [[[keys]]]
        acme = {hash_of("k3y")}
        [routing]
        upstream_hosts = http://10.0.0.1
        """
    )
    assert client.get("/", headers={"X_API_Key": "old", "X-API-Key": "k3y"}).status == 400
    assert client.get("/", headers={"X_API_Key": "k3y"}).status == 200
    assert "x_api_key" not in client.upstream_requests[-1].headers


def test_keys_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# programs\n\ninitech = {hash_of('filed')}, role:reader , scope:a:b\n")
    client = client_of(file=file)
    assert name_for(client, client.get("/", headers={"X-API-Key": "filed"})) == "initech"
    assert client.upstream_requests[-1].headers["x-auth-scopes"] == "a:b"
    assert name_for(client, client.get("/", headers={"X-API-Key": "k3y"})) == "acme"
    client = TestClient((ApiKey, {"file": file}))
    assert name_for(client, client.get("/", headers={"X-API-Key": "filed"})) == "initech"


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([], "has no hash"),
        (["role:a"], "has no hash"),
        (["k3y"], "has an item that is no SHA-256 .*; make the hash of a key with: printf %s KEY"),
        ([hash_of("a"), "rolle:a"], "has an item that is no SHA-256"),
        ([hash_of("a"), "role:"], "has an item that is no SHA-256"),
        ([hash_of("a")[1:]], "has an item that is no SHA-256"),
        ([hash_of("a"), hash_of("a")], "has the same hash as acme"),
        ([hash_of("")], "has the hash of an empty key"),
    ],
)
def test_bad_lines_are_named_and_no_key_is_shown(items: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^keys: acme: {reason}") as caught:
        parse_keys({"acme": items})
    assert "k3y" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^line 2: ") as caught:
        parse_key_file(f"\nacme = {', '.join(items)}\n".encode())
    assert "k3y" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"# none\n", "there is no key in it"),
        (b"acme", "line 1: is not name = hash"),
        (b"= a", "line 1: is not name = hash"),
        (b"\n\xff = a", "line 2: is not UTF-8"),
    ],
)
def test_bad_files_are_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse_key_file(text)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"keys": None}, "keys: neither it nor file has a key"),
        ({"header": None}, "header: neither it nor query nor cookie"),
        ({"header": "X Key"}, "header: 'X Key' has a character"),
        ({"cookie": "a=b"}, "cookie: 'a=b' has a character"),
        ({"scheme": "Bearer key"}, "scheme: 'Bearer key' has a character"),
        ({"header": None, "query": "key", "scheme": "Bearer"}, "scheme: stands before the key in a header"),
        ({"realm": "ü"}, "realm: 'ü' has other characters"),
        ({"file": Path("/nowhere")}, "file: /nowhere: No such file"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        client_of(**options)
