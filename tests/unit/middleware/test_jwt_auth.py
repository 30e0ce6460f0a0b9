"""``jwt_auth``: who gets in and as whom. Tokens and keys are made by another library; attacks are beside."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey

from pyrox.http.message import Response
from pyrox.middleware.identity import identity_of
from pyrox.middleware.jwt_auth import JwtAuth
from pyrox.middleware.jwt_tokens import TokenVerifier
from pyrox.testing import TestClient
from tests.support.authority import Authority
from tests.support.tokens import CURVES, SECRET, bearer, jwks_of, key_for, public_pem, sign

PUBLIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "EdDSA"]


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(key_for("RS256")))
    return path


def client_of(**options: Any) -> TestClient:
    return TestClient((JwtAuth, options), upstream=Response(200, "welcome"))


@pytest.mark.parametrize("algorithm", PUBLIC)
@pytest.mark.parametrize("form", ["pem", "jwk", "jwks"])
def test_token_of_every_algorithm_is_verified_by_a_key_of_every_form(
    tmp_path: Path, algorithm: str, form: str
) -> None:
    key = key_for(algorithm)
    jwks = jwks_of(key)
    content = {
        "pem": public_pem(key),
        "jwk": json.dumps(jwks["keys"][0]).encode(),
        "jwks": json.dumps(jwks).encode(),
    }
    (tmp_path / "key").write_bytes(content[form])
    client = client_of(algorithms=[algorithm], key_files=[tmp_path / "key"])
    assert client.get("/", headers=bearer(sign(algorithm=algorithm))).status == 200
    wrong = sign(algorithm=algorithm, key=key_for(algorithm, "other"), kid="k1")
    answer = client.get("/", headers=bearer(wrong))
    assert (answer.status, answer.text) == (401, "the token is refused: the signature is wrong\n")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_of_a_shared_secret_is_verified(tmp_path: Path, algorithm: str) -> None:
    (tmp_path / "key").write_text(json.dumps(jwks_of(key_for(algorithm))))
    for options in ({"secret": SECRET}, {"key_files": [tmp_path / "key"]}):
        client = client_of(algorithms=[algorithm], **options)
        assert client.get("/", headers=bearer(sign(algorithm=algorithm))).status == 200
        other = sign(algorithm=algorithm, key=OctKey.import_key("x" * 64))
        assert client.get("/", headers=bearer(other)).status == 401


def test_key_of_a_certificate_verifies(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("issuer")
    key = ECKey.import_key(pair.key.read_bytes())
    client = client_of(algorithms=["ES256"], key_files=[pair.cert])
    assert client.get("/", headers=bearer(sign(algorithm="ES256", key=key))).status == 200


def test_upstream_and_other_middleware_are_told_who_it_is(pem: Path) -> None:
    seen = []

    def look(app: Any) -> Any:
        def middleware(request: Any) -> Any:
            seen.append(identity_of(request))
            return app(request)

        return middleware

    options = {"key_files": [pem], "claim_headers": {"X-Email": "email", "X-Org": "org.id", "X-Raw": "org"}}
    client = TestClient([(JwtAuth, options), look])
    claims = {
        "roles": ["editor", "admin"],
        "scope": "write read",
        "email": "ada@a.example",
        "org": {"id": "7"},
    }
    assert client.get("/", headers=bearer(sign(claims))).status == 200
    headers = client.upstream_requests[-1].headers
    assert {name: headers[name] for name in ("X-Auth-User", "X-Auth-Roles", "X-Auth-Scopes")} == {
        "X-Auth-User": "ada",
        "X-Auth-Roles": "admin,editor",
        "X-Auth-Scopes": "read,write",
    }
    assert [headers[name] for name in ("X-Email", "X-Org", "X-Raw")] == ["ada@a.example", "7", '{"id":"7"}']
    [identity] = seen
    assert (identity.name, identity.verified_by) == ("ada", "jwt_auth")
    assert (identity.roles, identity.scopes) == ({"admin", "editor"}, {"read", "write"})
    assert identity.claims["org"] == {"id": "7"}
    with pytest.raises(TypeError):
        identity.claims["sub"] = "root"


def test_name_roles_and_scopes_are_in_the_claims_that_options_say(pem: Path) -> None:
    client = client_of(
        key_files=[pem],
        name_claim="preferred_username",
        roles_claim="realm_access.roles",
        scopes_claim="https://a.example/scp",
        user_header="X-Remote-User",
    )
    claims = {
        "preferred_username": "Ada",
        "realm_access": {"roles": ["r", 7]},
        "https://a.example/scp": ["s t", "u"],
    }
    assert client.get("/", headers=bearer(sign(claims))).status == 200
    headers = client.upstream_requests[-1].headers
    assert [headers[name] for name in ("X-Remote-User", "X-Auth-Roles", "X-Auth-Scopes")] == [
        "Ada",
        "r",
        "s t,u",
    ]
    assert client.get("/", headers=bearer(sign())).text == (
        "the token is refused: the claim preferred_username names nobody\n"
    )


def test_no_token_is_asked_for_without_an_error_code(pem: Path) -> None:
    """RFC 6750 3.1: who has shown nothing is told nothing."""
    client = client_of(key_files=[pem], realm="api")
    for headers in ({}, {"Authorization": "Basic YTpi"}):
        answer = client.get("/", headers=headers)
        assert answer.status == 401
        assert answer.headers.get_all("www-authenticate") == ['Bearer realm="api"']
    assert client.upstream_requests == []


def test_optional_lets_nobody_pass_as_nobody_but_refuses_a_bad_token(pem: Path) -> None:
    client = client_of(key_files=[pem], optional=True)
    assert client.get("/", headers={"X-Auth-User": "root"}).status == 200
    assert "x-auth-user" not in client.upstream_requests[-1].headers
    assert client.get("/", headers=bearer("bad")).status == 401


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": -20}, "it has expired"),
        ({"exp": None}, "the claim exp is missing"),
        ({"nbf": 20}, "it is not valid yet"),
        ({"iat": 20}, "it is not valid yet"),
        ({"iss": None}, "the claim iss is missing"),
        ({"iss": "https://evil.example"}, "its issuer is not trusted"),
        ({"aud": None}, "the claim aud is missing"),
        ({"aud": ["other"]}, "it is meant for someone else"),
        ({"tenant": None}, "the claim tenant is missing"),
        ({"sub": None}, "the claim sub names nobody"),
        ({"sub": ""}, "the claim sub names nobody"),
        ({"sub": 7}, "it is malformed"),
        ({"exp": "soon"}, "it is malformed"),
        ({"exp": float("inf")}, "it is malformed"),
        ({"aud": {"a": 1}}, "it is meant for someone else"),
    ],
)
def test_token_that_breaks_a_rule_is_refused_and_told_why(
    pem: Path, claims: dict[str, Any], why: str
) -> None:
    client = client_of(
        key_files=[pem],
        issuer=["https://id.example", "https://id2.example"],
        audience=["api", "api2"],
        required_claims=["tenant"],
    )
    good = {"iss": "https://id2.example", "aud": ["x", "api"], "tenant": "t"}
    assert client.get("/", headers=bearer(sign(good))).status == 200
    now = int(time.time())
    shifted = {k: now + v if k in ("exp", "nbf", "iat") and type(v) is int else v for k, v in claims.items()}
    answer = client.get("/", headers=bearer(sign({**good, **shifted})))
    assert (answer.status, answer.text) == (401, f"the token is refused: {why}\n")
    assert answer.headers["www-authenticate"] == (
        f'Bearer realm="restricted", error="invalid_token", error_description="the token is refused: {why}"'
    )


def test_missing_claim_of_any_name_is_a_401(pem: Path) -> None:
    answer = client_of(key_files=[pem], required_claims=["gr\xf6\xdfe"]).get("/", headers=bearer(sign()))
    assert (answer.status, answer.text) == (401, "the token is refused: the claim gr\xf6\xdfe is missing\n")
    assert 'error_description="the token is refused: the claim gr??e' in answer.headers["www-authenticate"]


def test_leeway_forgives_clocks_that_differ(pem: Path) -> None:
    now = int(time.time())
    client = client_of(key_files=[pem], leeway=100.0)
    for claims in ({"exp": now - 50}, {"nbf": now + 50}, {"iat": now + 50}):
        assert client.get("/", headers=bearer(sign(claims))).status == 200
    assert (
        client_of(key_files=[pem], leeway=0.0).get("/", headers=bearer(sign({"exp": now - 1}))).status == 401
    )


def test_token_for_an_audience_is_refused_where_none_is_configured(pem: Path) -> None:
    """RFC 7519 4.1.3: who does not find itself in aud must reject the token."""
    answer = client_of(key_files=[pem]).get("/", headers=bearer(sign({"aud": "other"})))
    assert answer.text == "the token is refused: it is meant for someone else\n"


def test_token_without_expiry_is_taken_only_when_asked_for(pem: Path) -> None:
    client = client_of(key_files=[pem], require_exp=False)
    assert client.get("/", headers=bearer(sign({"exp": None}))).status == 200


def test_missing_scope_is_a_403_that_names_the_scopes(pem: Path) -> None:
    client = client_of(key_files=[pem], required_scopes=["write", "read"])
    assert client.get("/", headers=bearer(sign({"scope": "read write"}))).status == 200
    answer = client.get("/", headers=bearer(sign({"scope": "read"})))
    assert answer.status == 403
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="restricted", error="insufficient_scope", scope="read write"'
    )


def test_token_comes_from_where_the_options_say_and_is_not_sent_on_when_asked(pem: Path) -> None:
    client = client_of(key_files=[pem], token_from=["cookie:session", "header:X-Token", "bearer"], strip=True)
    token = sign()
    for headers in (
        {"Cookie": f"a=1; session={token}; b=2"},
        {"X-Token": token},
        {"authorization": f"bearer  {token}"},
    ):
        answer = client.get("/", headers=headers)
        assert (answer.status, ", ".join(answer.headers.get_all("vary"))) == (
            200,
            "Cookie, X-Token, Authorization",
        )
        sent = client.upstream_requests[-1].headers
        assert not any(token in value for value in sent.values())
    client.get("/", headers={"Cookie": f"a=1; session={token}; b=2"})
    assert client.upstream_requests[-1].headers["cookie"] == "a=1; b=2"
    client.get("/", headers={"Cookie": f"session={token}"})
    assert "cookie" not in client.upstream_requests[-1].headers


def test_token_is_sent_on_by_default(pem: Path) -> None:
    client = client_of(key_files=[pem])
    client.get("/", headers=bearer(token := sign()))
    assert client.upstream_requests[-1].headers["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
        [("X-Token", "a"), ("X-Token", "a")],
        [("Cookie", "session=a; session=b")],
        [("Cookie", "session=a"), ("Cookie", "session=b")],
    ],
)
def test_two_tokens_are_a_bad_request(pem: Path, headers: list[tuple[str, str]]) -> None:
    client = client_of(key_files=[pem], token_from=["bearer", "header:X-Token", "cookie:session"])
    assert client.get("/", headers=headers).status == 400


class Counted:
    """Counts how often tokens are verified."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        verify = TokenVerifier.verify

        def counting(verifier: TokenVerifier, token: str) -> Any:
            self.times += 1
            return verify(verifier, token)

        monkeypatch.setattr(TokenVerifier, "verify", counting)


def test_verified_token_is_remembered_and_a_refused_one_is_not(
    pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    client = client_of(key_files=[pem])
    good, bad = bearer(sign()), bearer(sign({"exp": 1}))
    assert [client.get("/", headers=good).status for _ in range(5)] == [200] * 5
    assert counted.times == 1
    assert [client.get("/", headers=bad).status for _ in range(2)] == [401] * 2
    assert counted.times == 3


def test_remembered_token_ends_with_its_expiry_and_with_cache_ttl(
    pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    middleware = JwtAuth(lambda request: Response(200), key_files=[pem], cache_ttl=60.0, leeway=5.0)
    counted, client = Counted(monkeypatch), TestClient(middleware)
    start = time.time()
    short, long = bearer(sign({"exp": int(start) + 30})), bearer(sign({"exp": int(start) + 3600}))
    assert [client.get("/", headers=headers).status for headers in (short, long)] == [200, 200]
    middleware._verified._clock = lambda: start + 36
    client.get("/", headers=short)
    assert counted.times == 3
    client.get("/", headers=long)
    assert counted.times == 3
    middleware._verified._clock = lambda: start + 61
    client.get("/", headers=long)
    assert counted.times == 4


@pytest.mark.parametrize("options", [{"cache_ttl": 0.0}, {"cache_size": 0}])
def test_nothing_is_remembered_without_a_cache(
    pem: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    counted, client = Counted(monkeypatch), client_of(key_files=[pem], **options)
    headers = bearer(sign())
    assert [client.get("/", headers=headers).status for _ in range(3)] == [200] * 3
    assert counted.times == 3
