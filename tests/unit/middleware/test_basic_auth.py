"""Users with passwords: who gets in, what is hashed, what is remembered, what upstream gets to see."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrox.middleware import basic_auth
from pyrox.middleware.basic_auth import BasicAuth, Verdicts, parse_pair
from pyrox.middleware.htpasswd import Users, parse_htpasswd
from pyrox.middleware.identity import identity_of
from pyrox.middleware.shared_work import Overloaded, ShareUsedUp
from pyrox.testing import TestClient

FILE = Path(__file__).with_name("users.htpasswd")


def client_of(**options: Any) -> TestClient:
    return TestClient((BasicAuth, {"file": FILE, **options}), client_address="2001:db8::1")


def basic(user: str, password: str = "secret", scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {b64encode(f'{user}:{password}'.encode()).decode()}"}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names of the users whose passwords were hashed."""
    names: list[bytes] = []
    real = Users.check

    def check(self: Users, name: bytes, password: bytes) -> str | None:
        names.append(name)
        return real(self, name, password)

    monkeypatch.setattr(Users, "check", check)
    return names


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_user_gets_in_and_upstream_is_told(tmp_path: Path, scheme: str) -> None:
    groups = tmp_path / "groups"
    groups.write_text("admins: bc s2\nstaff: bc\n")
    client = client_of(group_file=groups)
    assert client.get("/", headers={**basic("bc", scheme=scheme), "X-Auth-User": "root"}).status == 200
    seen = client.upstream_requests[-1]
    assert seen.headers.get_all("x-auth-user") == ["bc"]
    assert seen.headers["x-auth-roles"] == "admins,staff"
    assert "authorization" not in seen.headers
    identity = identity_of(seen)
    assert identity is not None
    assert (identity.name, identity.verified_by, identity.roles) == ("bc", "basic_auth", {"admins", "staff"})


def test_authorization_goes_upstream_where_it_is_wanted() -> None:
    client = client_of(strip=False)
    client.get("/", headers=basic("bc"))
    assert client.upstream_requests[-1].headers["authorization"] == basic("bc")["Authorization"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("bc", "wrong"),
        basic("nobody"),
        basic("bc:secret", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ###"},
        {"Authorization": "Basic YmM="},
        {"Authorization": "Bearer abc"},
        {"Authorization": basic("bc")["Authorization"] + ", Basic x"},
        {"Authorization": basic("bc")["Authorization"].replace("Basic ", "Basic\t")},
        {"Proxy-Authorization": basic("bc")["Authorization"]},
    ],
)
def test_whoever_is_no_user_is_asked_for_a_password(headers: dict[str, str]) -> None:
    client = client_of(realm='the "back" office')
    answer = client.get("/", headers=headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="the \\"back\\" office", charset="UTF-8"'
    assert client.upstream_requests == []


def test_two_authorization_fields_are_a_bad_request() -> None:
    client = client_of()
    both = [*basic("bc").items(), *basic("nobody").items()]
    assert client.get("/", headers=both).status == 400


def test_optional_passes_what_has_another_scheme_and_keeps_it() -> None:
    client = client_of(optional=True)
    assert client.get("/", headers={"Authorization": "Bearer abc"}).status == 200
    assert client.upstream_requests[-1].headers["authorization"] == "Bearer abc"
    assert client.get("/", headers=basic("bc", "wrong")).status == 401


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("ada:secret", (b"ada", b"secret")),
        ("ada:", (b"ada", b"")),
        (":secret", (b"", b"secret")),
        ("ada:a:b:", (b"ada", b"a:b:")),
        ("zoë:ü", ("zoë".encode(), "ü".encode())),
        ("ada", None),
        ("ada:a\0b", None),
        ("ada:a\nb", None),
        ("ada\x7f:b", None),
    ],
)
def test_pair_is_split_at_the_first_colon(text: str, pair: tuple[bytes, bytes] | None) -> None:
    assert parse_pair(b64encode(text.encode())) == pair


@pytest.mark.parametrize(
    "credentials", [b"YWRh OmI=", b"YWRhOmI", b"YWRhOm-_", b"\xff", "YWRhOmI=ü".encode()]
)
def test_credentials_that_are_no_base64_are_no_pair(credentials: bytes) -> None:
    assert parse_pair(credentials) is None


def test_right_and_wrong_pairs_are_hashed_once(hashed: list[bytes]) -> None:
    client = client_of()
    for _ in range(3):
        assert client.get("/", headers=basic("bc")).status == 200
        assert client.get("/", headers=basic("bc", "wrong")).status == 401
        assert client.get("/", headers=basic("nobody")).status == 401
    assert hashed == [b"bc", b"bc", b"nobody"]


def test_nothing_is_remembered_without_time_for_it(hashed: list[bytes]) -> None:
    client = client_of(remember=0)
    for _ in range(3):
        assert client.get("/", headers=basic("bc")).status == 200
        assert client.get("/", headers=basic("bc", "wrong")).status == 401
    assert len(hashed) == 6


def test_known_and_unknown_users_are_hashed_alike(hashed: list[bytes]) -> None:
    client = client_of(remember=0)
    for name in ("bc", "nobody", "", "x" * 1000, "\xff"):
        client.get("/", headers=basic(name, "wrong"))
    assert len(hashed) == 5


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


SHA = b"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
OTHER = b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="


def test_verdicts_end_with_their_time() -> None:
    clock = Clock()
    users = parse_htpasswd(b"ada:" + SHA)
    verdicts = Verdicts(right=300, wrong=10, clock=clock)
    verdicts.remember(b"right", users, "ada")
    verdicts.remember(b"wrong", users, None)
    assert verdicts.recall(b"right", users) == (True, "ada")
    assert verdicts.recall(b"wrong", users) == (True, None)
    assert verdicts.recall(b"other", users) == (False, None)
    clock.now = 10
    assert verdicts.recall(b"wrong", users) == (False, None)
    clock.now = 299
    assert verdicts.recall(b"right", users) == (True, "ada")
    clock.now = 300
    assert verdicts.recall(b"right", users) == (False, None)


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        (b"ada:" + SHA + b"\nbob:" + SHA, (True, "ada"), (False, None)),
        (b"ada:" + OTHER, (False, None), (False, None)),
        (b"bob:" + SHA, (False, None), (False, None)),
    ],
)
def test_verdicts_end_when_the_file_says_something_else(text: bytes, right: object, wrong: object) -> None:
    users, newer = parse_htpasswd(b"ada:" + SHA), parse_htpasswd(text)
    verdicts = Verdicts(300, 10)
    verdicts.remember(b"right", users, "ada")
    verdicts.remember(b"wrong", users, None)
    assert (verdicts.recall(b"right", newer), verdicts.recall(b"wrong", newer)) == (right, wrong)


def test_flood_of_wrong_pairs_pushes_out_wrong_pairs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic_auth, "_MAX_REMEMBERED", 3)
    users = parse_htpasswd(b"ada:" + SHA)
    verdicts = Verdicts(300, 10)
    verdicts.remember(b"right", users, "ada")
    for number in range(10):
        verdicts.remember(b"%d" % number, users, None)
    assert verdicts.recall(b"right", users) == (True, "ada")
    assert [number for number in range(10) if verdicts.recall(b"%d" % number, users)[0]] == [7, 8, 9]


def test_passwords_are_remembered_by_a_hash_that_only_this_process_can_make() -> None:
    credentials = b64encode(b"ada:secret")
    first, second = Verdicts(300, 10), Verdicts(300, 10)
    assert first.key_of(credentials) == first.key_of(credentials) != second.key_of(credentials)
    client = client_of()
    client.get("/", headers=basic("bc"))
    [middleware] = [
        cell.cell_contents for cell in _cells(client._app) if hasattr(cell.cell_contents, "__self__")
    ]
    stored = repr(vars(middleware.__self__._verdicts))
    assert "'bc'" in stored
    assert "secret" not in stored.replace("_secret", "") and credentials.decode() not in stored


def _cells(app: Callable[..., object]) -> tuple[Any, ...]:
    return app.__closure__ or ()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(("error", "status"), [(ShareUsedUp, 429), (Overloaded, 503)])
def test_too_much_at_a_time_is_told_with_a_time_to_try_again(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], status: int
) -> None:
    owners = []

    def do(self: object, key: object, owner: object, compute: object) -> None:
        owners.append(owner)
        raise error

    client = client_of()
    assert client.get("/", headers=basic("bc")).status == 200
    monkeypatch.setattr("pyrox.middleware.shared_work.SharedWork.do", do)
    answer = client.get("/", headers=basic("bc", "wrong"))
    assert (answer.status, answer.headers["retry-after"]) == (status, "1")
    assert client.get("/", headers=basic("bc")).status == 200  # who is known does not notice
    client.get("/", headers=basic("bc", "wrong"), client_address="2001:db8::ffff:1")
    client.get("/", headers=basic("bc", "wrong"), client_address="2001:db8:0:1::1")
    client.get("/", headers=basic("bc", "wrong"), client_address="192.0.2.1")
    assert owners[0] == owners[1] and len(set(owners)) == 3  # one /64 is one client


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"realm": "a\nb"}, r"realm: 'a\\nb' has other characters than printable ASCII"),
        ({"remember": -1}, "remember: -1 is less than 0"),
        ({"hashes_at_once": 0}, "hashes_at_once: 0 is less than 1"),
        ({"hashes_waiting": -1}, "hashes_waiting: -1 is less than 0"),
        ({"hashes_per_client": 0}, "hashes_per_client: 0 is less than 1"),
        ({"file": Path("/nowhere")}, "file: /nowhere: No such file or directory"),
        ({"group_file": Path("/nowhere")}, "group_file: /nowhere: No such file or directory"),
        ({"user_header": "Host"}, "user_header: Host has another meaning"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        client_of(**options)
