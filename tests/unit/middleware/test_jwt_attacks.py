"""Attacks on ``jwt_auth`` that are in the books, and options with which one would succeed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey

from pyrox.middleware.jwt_auth import JwtAuth
from pyrox.testing import TestClient
from tests.support.tokens import SECRET, bearer, forge, jwks_of, key_for, public_pem, sign

CLAIMS = {"sub": "root", "exp": int(time.time()) + 600}


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(key_for("RS256")))
    return path


def refusal_of(client: TestClient, token: str) -> str:
    """Why the token is refused."""
    answer = client.get("/", headers=bearer(token))
    assert (answer.status, client.upstream_requests) == (401, [])
    return answer.text.removeprefix("the token is refused: ").rstrip("\n")


def hmac_signed(header: dict[str, Any], secret: bytes) -> str:
    signed = forge(header, CLAIMS).rpartition(".")[0]
    signature = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 0, True, ["RS256"], {"a": 1}])
def test_token_without_a_signature_is_refused(pem: Path, alg: Any) -> None:
    client = TestClient((JwtAuth, {"key_files": [pem]}))
    for signature in (b"", b"x"):
        assert refusal_of(client, forge({"alg": alg}, CLAIMS, signature)) == "its algorithm is not allowed"


def test_none_cannot_even_be_configured(pem: Path) -> None:
    with pytest.raises(ValueError, match=r"^algorithms: 'none' is none of HS256, "):
        TestClient((JwtAuth, {"algorithms": ["RS256", "none"], "key_files": [pem]}))


def test_token_signed_with_the_public_key_as_a_secret_is_refused(pem: Path) -> None:
    """The confusion of keys, CVE-2015-9235: for everybody knows the public key."""
    client = TestClient((JwtAuth, {"key_files": [pem]}))
    for secret in (pem.read_bytes(), pem.read_bytes().strip()):
        assert refusal_of(client, hmac_signed({"alg": "HS256"}, secret)) == "its algorithm is not allowed"


def test_secrets_and_public_keys_cannot_be_configured_together(pem: Path) -> None:
    with pytest.raises(ValueError, match=r"^algorithms: HMAC and public keys do not go together"):
        TestClient((JwtAuth, {"algorithms": ["HS256", "RS256"], "key_files": [pem]}))
    with pytest.raises(ValueError, match=r"^key_files: .* is of type RSA, which verifies none of HS256"):
        TestClient((JwtAuth, {"algorithms": ["HS256"], "key_files": [pem]}))
    with pytest.raises(ValueError, match=r"^secret: RS256 has public keys"):
        TestClient((JwtAuth, {"secret": SECRET}))
    with pytest.raises(ValueError, match=r"^jwks_url: no secret is fetched"):
        TestClient((JwtAuth, {"algorithms": ["HS256"], "jwks_url": "http://id.example/jwks"}))


def test_public_key_is_no_secret_of_a_set_with_both_kinds(tmp_path: Path) -> None:
    """A JWKS that holds an RSA and a secret key, one kid: the type of key decides, not the name."""
    rsa, secret = key_for("RS256"), OctKey.import_key(SECRET, {"kid": "k1"})
    (tmp_path / "jwks").write_text(json.dumps(jwks_of(rsa, secret)))
    client = TestClient((JwtAuth, {"algorithms": ["HS256"], "key_files": [tmp_path / "jwks"]}))
    forged = hmac_signed({"alg": "HS256", "kid": "k1"}, public_pem(rsa))
    assert refusal_of(client, forged) == "the signature is wrong"
    assert refusal_of(client, sign()) == "its algorithm is not allowed"


def test_allowed_algorithm_of_another_type_of_key_is_refused(pem: Path, tmp_path: Path) -> None:
    (tmp_path / "ec.pem").write_bytes(public_pem(key_for("ES256")))
    options = {"algorithms": ["RS256", "ES256"], "key_files": [pem, tmp_path / "ec.pem"]}
    client = TestClient((JwtAuth, options))
    assert refusal_of(client, forge({"alg": "ES256"}, CLAIMS, bytes(64))) == "the signature is wrong"
    assert refusal_of(client, forge({"alg": "RS256"}, CLAIMS, bytes(256))) == "the signature is wrong"


def test_key_that_says_its_algorithm_verifies_no_other(tmp_path: Path) -> None:
    (tmp_path / "jwk").write_text(json.dumps(jwks_of(key_for("PS256"), alg="PS256")))
    client = TestClient((JwtAuth, {"algorithms": ["PS256", "RS256"], "key_files": [tmp_path / "jwk"]}))
    key = key_for("PS256")
    assert refusal_of(client, sign(algorithm="RS256", key=key)) == "no known key has signed it"
    assert client.get("/", headers=bearer(sign(algorithm="PS256", key=key))).status == 200


@pytest.mark.parametrize("members", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"}])
def test_key_for_something_else_verifies_nothing(tmp_path: Path, members: dict[str, Any]) -> None:
    (tmp_path / "jwk").write_text(json.dumps(jwks_of(key_for("RS256"), **members)))
    with pytest.raises(ValueError, match=r"^key_files: .* no key in it verifies RS256"):
        TestClient((JwtAuth, {"key_files": [tmp_path / "jwk"]}))


@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "/dev/null", "k1' OR '1'='1", "k1\x00", "K1", "", "x" * 4000, "http://evil/k1"],
)
def test_key_id_is_only_compared(tmp_path: Path, kid: str) -> None:
    (tmp_path / "jwks").write_text(json.dumps(jwks_of(key_for("RS256"))))
    client = TestClient((JwtAuth, {"key_files": [tmp_path / "jwks"]}))
    assert refusal_of(client, sign(kid=kid)) == "no known key has signed it"


@pytest.mark.parametrize("kid", [7, None, ["k1"], {"k1": 1}, True])
def test_key_id_that_is_no_text_is_refused(pem: Path, kid: Any) -> None:
    client = TestClient((JwtAuth, {"key_files": [pem]}))
    forged = forge({"alg": "RS256", "kid": kid}, CLAIMS, bytes(256))
    assert refusal_of(client, forged) == "it is no signed JSON Web Token"


def test_keys_that_a_token_brings_along_are_not_looked_at(pem: Path) -> None:
    """``jwk``, ``jku``, ``x5u`` and ``x5c`` of the header (RFC 7515 4.1.2 to 4.1.6) are the attacker's."""
    client = TestClient((JwtAuth, {"key_files": [pem]}))
    own = RSAKey.generate_key(2048)
    for header in (
        {"jwk": own.as_dict(private=False)},
        {"jku": "http://127.0.0.1:1/jwks"},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"x5c": ["MIIB"]},
    ):
        assert refusal_of(client, sign(CLAIMS, key=own, **header)) == "the signature is wrong"


def test_critical_extensions_are_refused(pem: Path) -> None:
    client = TestClient((JwtAuth, {"key_files": [pem]}))
    for header in ({"crit": ["b64"], "b64": False}, {"crit": ["b64"], "b64": True}, {"crit": ["exp"]}):
        forged = forge({"alg": "RS256", **header}, CLAIMS, bytes(256))
        assert refusal_of(client, forged) in ("it has a critical extension", "it is no signed JSON Web Token")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "\xff\xfe.a.b",
        "Bearer x",
        forge(b"[" * 4000, b"{}", b"x"),
        forge(b'{"a":' * 1000, b"{}", b"x"),
        forge([], {}, b"x"),
        forge(b"\xff", b"{}", b"x"),
        forge({"typ": "JWT"}, CLAIMS, b"x"),
    ],
)
def test_what_is_no_token_is_refused(pem: Path, token: str) -> None:
    refusal_of(TestClient((JwtAuth, {"key_files": [pem]})), token)


@pytest.mark.parametrize("body", [b"[" * 5000, b'{"a":' * 1000, b"7", b"\xff", b"", b'{"exp":1e999}'])
def test_signed_nonsense_is_refused(pem: Path, body: bytes) -> None:
    token = jws.serialize_compact({"alg": "RS256"}, body, key_for("RS256"))
    refusal_of(TestClient((JwtAuth, {"key_files": [pem], "require_exp": False})), token)


def test_huge_token_is_refused_unread(pem: Path) -> None:
    client = TestClient((JwtAuth, {"key_files": [pem], "max_token": 500}))
    assert refusal_of(client, sign({"x": "y" * 500})) == "the token is longer than 500 bytes"


def test_changed_token_is_refused(pem: Path) -> None:
    client = TestClient((JwtAuth, {"key_files": [pem]}))
    header, _, signature = sign().split(".")
    body = forge({}, CLAIMS).split(".")[1]
    assert refusal_of(client, f"{header}.{body}.{signature}") == "the signature is wrong"


def test_remembered_token_opens_no_door_for_another(pem: Path) -> None:
    client = TestClient((JwtAuth, {"key_files": [pem]}))
    token = sign()
    assert client.get("/", headers=bearer(token)).status == 200
    for other in (token + "x", token[:-1], token.upper(), token + ".x"):
        assert client.get("/", headers=bearer(other)).status == 401


def test_claims_cannot_end_their_field(pem: Path) -> None:
    client = TestClient((JwtAuth, {"key_files": [pem], "claim_headers": {"X-Note": "note"}}))
    claims = {"sub": "a\r\nX-Auth-Roles: admin", "note": "\x00é€\ud800", "roles": ["a,admin", "b\n"]}
    assert client.get("/", headers=bearer(sign(claims))).status == 200
    headers = client.upstream_requests[-1].headers
    assert headers["x-auth-user"] == "a%0D%0AX-Auth-Roles: admin"
    assert headers["x-note"] == "%00%C3%A9%E2%82%AC%ED%A0%80"
    assert headers.get_all("x-auth-roles") == ["a%2Cadmin,b%0A"]


@pytest.mark.parametrize(
    "name", ["X-Auth-User", "x-auth-user", "X_Auth_User", "X-Auth_User", "X-Email", "x_email"]
)
@pytest.mark.parametrize("spelling", ["drop", "allow"])
def test_client_cannot_send_what_tells_who_it_is(pem: Path, name: str, spelling: str) -> None:
    client = TestClient.from_config(
        textwrap.dedent(f"""
        [http]
        underscore_headers = {spelling}
        [middleware]
        stack = jwt_auth,
        [[jwt_auth]]
        key_files = {pem}
        optional = yes
        [[[claim_headers]]]
        X-Email = email
        """)
    )
    for headers in ([(name, "root")], [(name, "root"), *bearer(sign()).items()], [(name, "a"), (name, "b")]):
        assert client.get("/", headers=headers).status == 200
        assert "root" not in client.upstream_requests[-1].headers.values()
        users = client.upstream_requests[-1].headers.get_all("x-auth-user")
        assert users == (["ada"] if len(headers) == 2 and headers[1][0] == "Authorization" else [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "key_files: give exactly one of key_files, secret and jwks_url"),
        ({"secret": SECRET, "jwks_url": "http://a/"}, "key_files: give exactly one"),
        ({"algorithms": []}, "algorithms: it is empty"),
        ({"algorithms": ["RS265"]}, "algorithms: 'RS265' is none of .* mean RS256"),
        (
            {"algorithms": ["HS256"], "secret": "short"},
            "secret: it has 5 bytes, and 32 are the",
        ),
        ({"algorithms": ["HS512"], "secret": "x" * 63}, "secret: it has 63 bytes, and 64 are the least"),
        ({"jwks_url": "id.example/jwks"}, "jwks_url: 'id.example/jwks' is no URL"),
        (
            {"jwks_url": "https://a/", "jwks_ca_file": Path("/missing")},
            "jwks_ca_file: /missing: No such",
        ),
        ({"jwks_url": "https://a/", "jwks_timeout": -1.0}, "jwks_timeout: "),
        ({"jwks_url": "https://a/", "jwks_ttl": -1.0}, "jwks_ttl: "),
        ({"key_files": [Path("/missing")]}, "key_files: /missing: No such file"),
        ({"token_from": ["header"]}, "token_from: 'header' is not bearer, header:NAME or cookie:NAME"),
        ({"token_from": ["query"]}, "token_from: 'query' is not bearer, header:NAME or cookie:NAME"),
        ({"token_from": ["cookie:a b"]}, "token_from: 'cookie:a b' is not"),
        ({"token_from": ["header:a b"]}, "token_from: 'header:a b' is not bearer"),
        ({"token_from": []}, "token_from: it is empty"),
        (
            {"algorithms": ["HS256"], "secret": SECRET, "leeway": float("nan")},
            "leeway: nan is no number of seconds",
        ),
        ({"realm": "gr\xfcn"}, "realm: .* printable ASCII"),
        (
            {"algorithms": ["HS256"], "secret": SECRET, "required_scopes": ["read write"]},
            "required_scopes: 'read write' is no scope; .* commas stand",
        ),
        (
            {"algorithms": ["HS256"], "secret": SECRET, "required_scopes": ["gr\xfcn"]},
            "required_scopes: 'gr\xfcn' is no scope",
        ),
        ({"user_header": "Authorization"}, "user_header: Authorization has another meaning"),
        ({"claim_headers": {"X Y": "a"}}, "claim_headers.X Y: invalid header name"),
        ({"claim_headers": {"X-Auth-User": "a"}}, "two of them name the same field"),
    ],
)
def test_options_that_cannot_work_are_errors_that_name_them(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TestClient((JwtAuth, options))


@pytest.mark.parametrize("options", [{"algorithms": ["HS256"], "secret": SECRET}, {"jwks_url": "http://a/"}])
def test_missing_library_is_an_error_with_the_line_to_install_it(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ValueError, match=r"pip install 'pyrox\[jwt\]'"):
        TestClient((JwtAuth, options))


def test_key_files_with_something_else_are_errors(tmp_path: Path) -> None:
    small = RSAKey.generate_key(1024, auto_kid=False)
    contents: dict[str, tuple[bytes, str]] = {
        "private": (key_for("RS256").as_pem(private=True), "holds a private key"),  # type: ignore[attr-defined]
        "small": (public_pem(small), "RSA key of 1024 bits; it must have 2048 to 8192"),
        "small.json": (json.dumps(jwks_of(small)).encode(), "no key in it verifies RS256"),
        "other": (public_pem(key_for("ES384")), "of type EC P-384, which verifies none of RS256"),
        "other.json": (json.dumps(jwks_of(key_for("ES384"))).encode(), "no key in it verifies RS256"),
        "text": (b"hello", "no public key or certificate in PEM, no JWK and no JWKS"),
        "json": (b'{"a": 1}', 'no object with a list of "keys"'),
        "broken": (b'{"keys": [', "key_files: "),
        "deep": (b'{"keys": ' + b"[" * 100_000, "key_files: "),
        "odd": (b'{"keys": [1, {"kty": "RSA", "n": 1, "e": {}}, {"kty": []}]}', "no key in it verifies"),
        "many": (json.dumps({"keys": [{}] * 101}).encode(), "it has 101 keys; 100 are the most"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            TestClient((JwtAuth, {"key_files": [tmp_path / name]}))
        assert str(caught.value).startswith("key_files: ")


def test_private_parts_of_a_jwk_are_not_used(tmp_path: Path) -> None:
    private = {"keys": [key_for("RS256").as_dict(private=True)]}
    (tmp_path / "jwks").write_text(json.dumps(private))
    client = TestClient((JwtAuth, {"key_files": [tmp_path / "jwks"]}))
    assert client.get("/", headers=bearer(sign())).status == 200


def test_token_that_names_no_key_is_tried_with_few_only(tmp_path: Path) -> None:
    few = [key_for("ES256", f"few{number}") for number in range(4)]
    options = {"algorithms": ["ES256"], "key_files": [tmp_path / "jwks"]}
    token = sign(algorithm="ES256", key=few[3], kid=None)
    (tmp_path / "jwks").write_text(json.dumps(jwks_of(*few)))
    assert TestClient((JwtAuth, options)).get("/", headers=bearer(token)).status == 200
    (tmp_path / "jwks").write_text(json.dumps(jwks_of(*few, key_for("ES256"))))
    assert refusal_of(TestClient((JwtAuth, options)), token) == "no known key has signed it"
