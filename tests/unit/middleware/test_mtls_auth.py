"""Who a client is by its certificate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError
from pyrox.http.certificate import ClientCertificate
from pyrox.middleware.api_key import ApiKey
from pyrox.middleware.identity import identity_of
from pyrox.middleware.mtls_auth import MtlsAuth
from pyrox.middleware.stack import check_stack
from pyrox.testing import TestClient

ADA = ClientCertificate(
    subject="CN=ada,OU=eng,O=Acme",
    issuer="CN=Acme CA",
    names=(
        "DNS:Ada.Acme.example",
        "email:ada@acme.example",
        "URI:spiffe://acme/ns/prod/sa/ada",
        "IP:10.0.0.1",
    ),
    serial="0A",
    fingerprint="ab",
)


CONFIG = """
[middleware]
stack = mtls_auth,
[[mine]]
class = pyrox.middleware.mtls_auth.MtlsAuth
optional = yes
[routes]
[[a]]
match = Path(`/a`)
cluster = http://127.0.0.1:1
stack = mine,
"""


def client_of(certificate: ClientCertificate | None, **options: Any) -> TestClient:
    return TestClient((MtlsAuth, options), tls=True, certificate=certificate)


def test_listener_that_asks_for_no_certificates_is_a_fault() -> None:
    settings = parse_settings(CONFIG)
    with pytest.raises(ConfigError) as caught:
        check_stack(settings)
    assert [problem.partition(": ")[2] for problem in caught.value.problems] == [
        f"[middleware] [[{name}]]: no client is asked for a certificate; "
        "set [ssl] client_certificates to optional or required"
        for name in ("mtls_auth", "mine")
    ]
    for mode in ("optional", "required"):
        check_stack(replace(settings, ssl=replace(settings.ssl, client_certificates=mode)))


def name_of(certificate: ClientCertificate, *identities: str) -> str | None:
    client = client_of(certificate, identities=identities)
    answer = client.get("/", headers={"X-Auth-User": "root"})
    if answer.status != 200:
        assert (answer.status, client.upstream_requests) == (403, [])
        return None
    identity = identity_of(client.upstream_requests[0])
    assert identity is not None
    return identity.name


def test_subject_is_the_name_where_nothing_else_is_said() -> None:
    client = client_of(ADA)
    assert client.get("/", headers={"X-Auth-User": "root", "x_auth_user": "root"}).status == 200
    seen = client.upstream_requests[0]
    assert seen.headers.get_all("x-auth-user") == ["CN=ada,OU=eng,O=Acme"]
    identity = identity_of(seen)
    assert identity is not None
    assert identity.verified_by == "mtls_auth"
    assert identity.claims["names"] == ADA.names
    assert [identity.claims[key] for key in ("subject", "issuer", "serial", "fingerprint")] == [
        "CN=ada,OU=eng,O=Acme",
        "CN=Acme CA",
        "0A",
        "ab",
    ]


def test_certificate_without_a_subject_is_nobodys() -> None:
    assert name_of(ClientCertificate("", names=("DNS:a.example",))) is None


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("CN=*,OU=eng,O=Acme -> $1", "ada"),
        ("CN=*,OU=*,O=Acme -> $2/$1", "eng/ada"),
        ("CN=a*,OU=*g,O=Acme -> $1.$2$$", "da.en$"),
        ("CN=ada,OU=eng,O=Acme -> the boss", "the boss"),
        ("CN=*,O=Acme -> $1", None),  # a star stands for one part
        ("CN=* -> $1", None),
        ("CN=ada*,OU=eng,O=Acme -> $1", None),  # ... and never for nothing
        ("CN=*,OU=eng,O=acme -> $1", None),
        ("*,OU=eng,O=Acme -> x", "x"),
        ("URI:spiffe://acme/ns/*/sa/* -> $1:$2", "prod:ada"),
        ("URI:spiffe://acme/ns/* -> $1", None),
        ("URI:spiffe://* -> $1", None),
        ("DNS:*.acme.EXAMPLE -> $1", "ada"),
        ("DNS:*.example -> $1", None),
        ("email:*@acme.example -> $1", "ada"),
        ("email:*@* -> $1 of $2", "ada of acme.example"),
        ("IP:10.0.0.* -> host $1", "host 1"),
    ],
)
def test_patterns_name_the_client(identity: str, name: str | None) -> None:
    assert name_of(ADA, identity) == name


def test_first_pattern_that_fits_counts() -> None:
    assert name_of(ADA, "CN=bob -> bob", "email:*@* -> $1", "CN=*,OU=*,O=* -> no") == "ada"


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        (r"CN=a\,O=Acme,O=Evil", None),  # one name, however it looks
        (r"CN=a\,b,O=Acme", "a,b"),
        (r"CN=a\\,O=Acme", "a\\"),
        (r"CN=a\\\,O=Acme,O=Acme", "a\\,O=Acme"),
        (r"CN=Zo\C3\AB,O=Acme", "Zoë"),
        (r"CN=\ a\0D\0AX: y,O=Acme", " a\r\nX: y"),
        (r"CN=a+UID=7,O=Acme", None),
        (r"CN=a,O=Acme,C=DE", None),
        (r"CN=\FF,O=Acme", "\udcff"),
        (r"CN=,O=Acme", None),
    ],
)
def test_no_name_can_pass_for_two_or_for_another(subject: str, name: str | None) -> None:
    assert name_of(ClientCertificate(subject), "CN=*,O=Acme -> $1") == name


def test_name_with_any_character_stays_one_field() -> None:
    client = client_of(
        ClientCertificate(r"CN=a\0D\0AX-Auth-User: root,O=Acme"), identities=["CN=*,O=Acme -> $1"]
    )
    client.get("/")
    assert client.upstream_requests[0].headers.get_all("x-auth-user") == ["a%0D%0AX-Auth-User: root"]


def test_roles_are_those_of_the_name() -> None:
    roles = {"admin": ["ada"], "staff": ["bob", "a*"], "nobody": ["ada*"]}
    client = client_of(ADA, identities=["email:*@* -> $1"], roles=roles)
    client.get("/")
    assert client.upstream_requests[0].headers["x-auth-roles"] == "admin,staff"


def test_without_a_certificate_it_is_403_or_what_another_one_asks_for() -> None:
    assert client_of(None).get("/").status == 403
    client = client_of(None, optional=True)
    assert client.get("/", headers={"X-Auth-User": "root"}).status == 200
    assert "x-auth-user" not in client.upstream_requests[0].headers
    other = (ApiKey, {"keys": {"acme": ["f" * 64]}, "optional": True})
    answer = TestClient([other, MtlsAuth], tls=True).get("/")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'ApiKey realm="restricted"')


def test_fields_of_a_trusted_peer_are_no_certificate() -> None:
    client = TestClient(MtlsAuth, tls=True, trusted=True)
    assert client.get("/", headers={"X-Client-Cert-Subject": "CN=ada,OU=eng,O=Acme"}).status == 403


def test_optional_refuses_a_certificate_that_is_nobodys() -> None:
    assert client_of(ADA, optional=True, identities=["CN=bob -> bob"]).get("/").status == 403


def test_certificate_that_expires_while_connected_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(ClientCertificate("CN=ada", not_after=1000.0))
    monkeypatch.setattr("pyrox.middleware.mtls_auth.time", lambda: 999.0)
    assert client.get("/").status == 200
    monkeypatch.setattr("pyrox.middleware.mtls_auth.time", lambda: 1000.0)
    answer = client.get("/")
    assert (answer.status, answer.text) == (403, "the certificate has expired\n")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"identities": ["CN=*"]}, r"identities: 'CN=\*' is not PATTERN -> NAME"),
        ({"identities": ["-> a"]}, "identities: '-> a' is not PATTERN -> NAME"),
        ({"identities": ["CN=* ->"]}, r"identities: 'CN=\* ->' is not PATTERN -> NAME"),
        ({"identities": ["dns:a -> b"]}, "identities: 'dns' is none of DNS, email, URI, IP, DirName"),
        ({"identities": ["CN=*a* -> b"]}, r"identities: 'CN=\*a\*' has two stars in one part"),
        ({"identities": ["CN=* -> $2"]}, r"identities: 'CN=\* -> \$2' has 1 stars, not what \$2 stands for"),
        ({"identities": ["CN=* -> $0"]}, "identities: "),
        ({"identities": ["CN=a -> $"]}, "identities: "),
        ({"roles": {"admin": ["a*b*"]}}, r"roles: 'a\*b\*' has two stars"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        client_of(ADA, **options)
