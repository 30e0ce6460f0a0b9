"""htpasswd files: which hashes are good enough, and what is said of the others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pyrox.middleware.htpasswd import Users, parse_groups, parse_htpasswd

TEXT = Path(__file__).with_name("users.htpasswd").read_bytes()
NAMES = ["bc", "s2", "s5", "sha", "ad", "ai", "aid"]
HASHES = {line.split(b":")[0].decode(): line.split(b":")[1] for line in TEXT.splitlines()[1:] if line}


@pytest.fixture(scope="module")
def users() -> Users:
    return parse_htpasswd(TEXT)


@pytest.mark.parametrize("name", NAMES)
def test_right_password_is_right_and_no_other(users: Users, name: str) -> None:
    assert users.check(name.encode(), b"secret") == name
    for wrong in (b"", b"Secret", b"secret ", b"secre", b"secret\0", HASHES[name]):
        assert users.check(name.encode(), wrong) is None


@pytest.mark.parametrize("name", [b"nobody", b"", b"BC", b"bc ", b"\xff"])
def test_unknown_user_is_refused_whatever_the_password(users: Users, name: bytes) -> None:
    assert users.check(name, b"secret") is None


def test_bcrypt_sees_72_bytes_as_htpasswd_does() -> None:
    # htpasswd -nbB -C 4 long "$(printf 'x%.0s' $(seq 80))"
    hashed = b"$2y$04$dN9s4hqy24G..Np0bCxUseopcKmqLsTiSR91kZfsQPN/NH9JKcjAi"
    users = parse_htpasswd(b"long:" + hashed)
    assert users.check(b"long", b"x" * 80) == "long"
    assert users.check(b"long", b"x" * 71) is None


def test_unknown_user_costs_one_hash_of_the_kind_that_is_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many computations for unknown users as for known ones, and of hashes from the same file."""
    computed: list[bytes] = []

    def verifier_of(hashed: bytes) -> object:
        return lambda password, hashed: computed.append(hashed) or password == b"secret"

    monkeypatch.setattr("pyrox.middleware.htpasswd.verifier_of", verifier_of)
    users = parse_htpasswd(TEXT)
    asked = [b"bc", b"aid", *(b"nobody%d" % number for number in range(50))]
    for name in asked:
        for password in (b"wrong", b"secret"):
            before = len(computed)
            assert (users.check(name, password) is None) is (
                password == b"wrong" or name.startswith(b"nobody")
            )
            assert len(computed) == before + 1
    assert set(computed) == set(HASHES.values())  # each user stands in for somebody
    first = computed.copy()
    again = parse_htpasswd(TEXT)  # another worker
    computed.clear()
    for name in asked:
        for _ in range(2):
            again.check(name, b"wrong")
    assert computed == first


@pytest.mark.parametrize(
    ("hashed", "reason"),
    [
        (
            b"$apr1$DRkszrHV$k2YF0YF6mzani.0aQdwAD0",
            "a hash by MD5, which is too weak; make it anew with: htpasswd -B",
        ),
        (b"$1$DRkszrHV$k2YF0YF6mzani.0aQdwAD0", "a hash by MD5"),
        (b"neso/8zPwdT/k", "plain text or a weak hash; make it anew"),
        (b"hunter2", "plain text or a weak hash; make it anew"),
        (b"", "plain text or a weak hash; make it anew"),
        (b"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ", "plain text or a weak hash; make it anew"),
        (b"$2y$31$CyeScQq4YHDzMJhEXwfZg.STyWHeHzf6hnxEfUa5foj3BDf6X.raC", "costs more than 17"),
        (b"$2y$04$CyeScQq4YHDzMJhEXwfZg.STyWHeHzf6hnxEfUa5foj3BDf6X.raC\r", None),
        (b"$2y$04$CyeScQq4YHDzMJhEXwfZg", "a bcrypt hash that is cut off"),
        (b"$6$rounds=999999999$x$" + b"a" * 86, "damaged, too costly or of a kind not known here"),
        (b"$y$j9T$abc$def", "damaged, too costly or of a kind not known here"),
        (b"$argon2id$v=19$m=2000000,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "takes more than 1 GiB"),
    ],
)
def test_weak_and_damaged_hashes_are_refused_without_being_shown(hashed: bytes, reason: str | None) -> None:
    text = b"ok:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nada:" + hashed
    if reason is None:
        assert len(parse_htpasswd(text)) == 2
        return
    with pytest.raises(ValueError, match=f"^line 2: 'ada': .*{reason}") as caught:
        parse_htpasswd(text)
    assert not hashed or hashed.decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "there is no user in it"),
        (b"# nobody\n\n", "there is no user in it"),
        (b"\nada", "line 2: is not user:hash"),
        (b":{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "line 1: is not user:hash"),
        (b"a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n" * 2, "line 2: 'a' is there twice"),
        (b"\xff:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "line 1: is not UTF-8"),
    ],
)
def test_lines_that_are_no_users_are_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse_htpasswd(text)


@pytest.mark.parametrize(("module", "name"), [("bcrypt", "bc"), ("argon2.low_level", "aid")])
def test_missing_library_is_named_where_a_hash_needs_it(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    line = name.encode() + b":" + HASHES[name]
    with pytest.raises(
        ValueError, match=r"needs the library '.*'; install it with: pip install 'pyrox\[passwords\]'"
    ):
        parse_htpasswd(line)
    assert len(parse_htpasswd(b"sha:" + HASHES["sha"])) == 1


def test_groups_of_a_user() -> None:
    groups = parse_groups("# Apache's\nadmins: ada zoë\nstaff: ada  bob\nempty:\n".encode())
    assert groups == {
        "ada": frozenset({"admins", "staff"}),
        "zoë": frozenset({"admins"}),
        "bob": frozenset({"staff"}),
    }
    with pytest.raises(ValueError, match=r"^line 2: is not group: user user$"):
        parse_groups(b"a: b\nada")
    with pytest.raises(ValueError, match=r"^line 1: is not UTF-8$"):
        parse_groups(b"a: \xff")
