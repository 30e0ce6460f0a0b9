"""Keys, certificates and rules in a running proxy: who gets in, and what upstream is made to believe."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.kit import get, post, record_of, tls_client
from tests.support.authority import Authority, Pair
from tests.support.config import Config, as_ini
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

PASSWORDS = Path(__file__).parents[1] / "unit" / "middleware" / "users.htpasswd"
KEY = "X-API-Key: k3y"
ROLES = {"/orders/**": "role:reader", "/admin/**": "role:admin", "GET /public/**": "anyone"}


def config(origin: Origin, tls: dict[str, str]) -> Config:
    routes = {
        "open": {"match": "PathPrefix(`/`)", "cluster": origin.url, "priority": 1},
        "key": {"match": "Header(`X-Want`, `key`)", "cluster": origin.url, "stack": ["api_key"]},
        "mtls": {"match": "Header(`X-Want`, `mtls`)", "cluster": origin.url, "stack": ["mtls_auth"]},
        "any": {
            "match": "Header(`X-Want`, `any`)",
            "cluster": origin.url,
            "stack": ["maybe_certificate", "maybe_key", "maybe_user", "rbac"],
        },
    }
    keys = {"acme": [sha256(b"k3y").hexdigest(), "role:reader", "scope:orders.read"]}
    names = ['"CN=*,O=Acme -> $1"', "URI:spiffe://a.test/* -> $1"]
    middleware = {
        "stack": ["health"],
        "api_key": {"keys": keys, "query": "key", "cookie": "key"},
        "mtls_auth": {"identities": names, "roles": {"admin": "ada"}},
        "maybe_certificate": {
            "class": "pyrox.middleware.mtls_auth:MtlsAuth",
            "identities": names,
            "roles": {"admin": "ada"},
            "optional": "yes",
        },
        "maybe_key": {"class": "pyrox.middleware.api_key:ApiKey", "keys": keys, "optional": "yes"},
        "maybe_user": {
            "class": "pyrox.middleware.basic_auth:BasicAuth",
            "file": str(PASSWORDS),
            "optional": "yes",
        },
        "rbac": {"rules": ROLES},
    }
    return {
        "http": {"underscore_headers": "allow"},
        "ssl": tls,
        "logging": {"access_log_format": "json"},
        "middleware": middleware,
        "routes": routes,
    }


@pytest.fixture(scope="module")
def ada(authority: Authority) -> Pair:
    return authority.issue("ada", subject="/O=Acme/CN=ada")


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin(serve(OK)) as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(authority: Authority, origin: Origin) -> Iterator[Proxy]:
    server = authority.issue("server", names="DNS:localhost")
    tls = {**server.options, "client_certificates": "optional", "client_ca_file": str(authority.ca_file)}
    with running_proxy(config(origin, tls)) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy, authority: Authority) -> Iterator[Client]:
    with tls_client(proxy.address, authority.client()) as client:
        yield client


@pytest.fixture
def client_of_ada(proxy: Proxy, authority: Authority, ada: Pair) -> Iterator[Client]:
    with tls_client(proxy.address, authority.client(ada)) as client:
        yield client


def told(origin: Origin) -> dict[str, list[bytes]]:
    """What the newest request told the origin about the client, in whatever spelling."""
    found: dict[str, list[bytes]] = {}
    for name, value in origin.requests[-1].fields:
        meant = re.sub("[^a-z0-9]", "-", name.decode().lower())
        if meant.startswith("x-auth-") or meant in ("x-api-key", "authorization", "cookie"):
            found.setdefault(meant, []).append(value)
    return found


SPOOFED = [
    "X-Auth-User: root",
    "x-auth-user: root",
    "X_Auth_User: root",
    "X-Auth_User: root",
    "X-Auth-Roles: admin",
    "x_auth-roles: admin",
    "X-AUTH-SCOPES: all",
    "X.Auth.User: root",
    "Connection: X-Auth-User, X-Auth-Roles",
]


@pytest.mark.parametrize("want", ["key", "any"])
def test_key_is_told_upstream_and_no_client_can_say_it_itself(
    client: Client, origin: Origin, want: str
) -> None:
    expected = {"x-auth-user": [b"acme"], "x-auth-roles": [b"reader"], "x-auth-scopes": [b"orders.read"]}
    for _ in range(2):  # the second comes from the cache of heads
        assert client.ask(get("/orders/1", f"X-Want: {want}", KEY, *SPOOFED)).status == 200
        assert told(origin) == expected
    assert client.ask(post("/orders/1", b"x", f"X-Want: {want}", KEY, *SPOOFED)).status == 200
    assert told(origin) == expected
    head = get("/orders/1", f"X-Want: {want}", KEY, "Transfer-Encoding: chunked", method="POST")
    trailers = b"".join(
        f"{line}\r\n".encode() for line in [*SPOOFED, "X-Other: 1"] if "Connection" not in line
    )
    assert client.ask(head + b"1\r\nx\r\n0\r\n" + trailers + b"\r\n").status == 200
    assert told(origin) == expected
    assert origin.requests[-1].trailers == [b"X-Other: 1"]


def test_route_that_asks_nobody_passes_nobodys_claims_on(client: Client, origin: Origin) -> None:
    assert client.ask(get("/orders/1", *SPOOFED)).status == 200
    assert told(origin) == {}


def test_key_in_query_or_cookie_goes_no_further(client: Client, origin: Origin) -> None:
    assert client.ask(get("/a?x=%2f&key=k3y&y", "X-Want: key", "Cookie: a=b; key=k3y")).status == 200
    assert origin.requests[-1].target == "/a?x=%2f&y"
    assert told(origin)["cookie"] == [b"a=b"]
    assert client.ask(get("/a?key=k3y", "X-Want: key", "X-API-Key: other")).status == 400


def test_refusal_says_how_to_get_in_and_who_refused(proxy: Proxy, client: Client, origin: Origin) -> None:
    before = len(origin.requests)
    answer = client.ask(get("/refused", "X-Want: key", "X-API-Key: wrong"))
    assert (answer.status, answer.get("www-authenticate")) == (401, b'ApiKey realm="restricted"')
    assert record_of(proxy, "/refused")["answered_by"] == "api_key"
    assert len(origin.requests) == before


def test_certificate_says_who_the_client_is(client: Client, client_of_ada: Client, origin: Origin) -> None:
    for _ in range(2):
        assert client_of_ada.ask(get("/", "X-Want: mtls", *SPOOFED)).status == 200
        assert told(origin) == {"x-auth-user": [b"ada"], "x-auth-roles": [b"admin"]}
    assert client.ask(get("/", "X-Want: mtls", *SPOOFED)).status == 403
    fields = ["X-Client-Cert-Subject: CN=ada,O=Acme", "X_Client_Cert_Subject: CN=ada,O=Acme"]
    assert client.ask(get("/", "X-Want: mtls", *fields)).status == 403


@pytest.mark.parametrize(
    ("subject", "names"),
    [("/O=Acme/OU=x/CN=ada", ""), ("/O=Evil/CN=ada,O=Acme", ""), ("/CN=x", "URI:spiffe://a.test/a/b")],
)
def test_certificate_of_nobody_is_refused(
    proxy: Proxy, authority: Authority, subject: str, names: str
) -> None:
    pair = authority.issue("odd", subject=subject, names=names or "DNS:odd.test")
    with tls_client(proxy.address, authority.client(pair)) as client:
        assert client.ask(get("/", "X-Want: mtls")).status == 403


def test_anonymous_is_offered_every_way_and_others_are_refused(client: Client, client_of_ada: Client) -> None:
    assert client.ask(get("/public/a", "X-Want: any")).status == 200
    answer = client.ask(get("/admin", "X-Want: any"))
    offered = [value for name, value in answer.fields if name.lower() == b"www-authenticate"]
    assert (answer.status, len(offered)) == (401, 2)
    assert offered[0].startswith(b"ApiKey ") and offered[1].startswith(b"Basic ")
    answer = client.ask(get("/admin", "X-Want: any", KEY))
    assert (answer.status, answer.get("www-authenticate")) == (403, None)
    assert client_of_ada.ask(get("/admin", "X-Want: any")).status == 200
    assert client_of_ada.ask(get("/admin", "X-Want: any", KEY)).status == 403  # the inner one counts


@pytest.mark.parametrize(
    "target",
    [
        "//admin",
        "/orders/../admin",
        "/orders/%2e%2e/admin",
        "/orders/..%2fadmin",
        "/orders%2F..%2Fadmin",
        "/orders/..;x/admin",
        "/orders/..%5cadmin",
        "/%61dmin/users",
        "/admin;a=b",
        "/admin%00",
        "/orders/..//admin",
    ],
)
def test_no_spelling_of_a_path_gets_past_a_rule(client: Client, origin: Origin, target: str) -> None:
    before = len(origin.requests)
    assert client.ask(get(target, "X-Want: any", KEY)).status in (400, 403)
    assert len(origin.requests) == before
    assert client.ask(get("/orders/a", "X-Want: any", KEY)).status == 200


def test_other_method_behind_a_post_has_to_be_allowed(client: Client) -> None:
    assert client.ask(get("/public/a", "X-Want: any", "X-HTTP-Method-Override: DELETE")).status == 401
    assert client.ask(get("/public/a", "X-Want: any", "x_http_method: DELETE")).status == 401
    assert client.ask(get("/public/a", "X-Want: any")).status == 200


def test_faults_of_all_are_told_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("ada:secret\n")
    middleware = {
        "stack": ["api_key", "basic_auth", "mtls_auth", "rbac"],
        "api_key": {"keys": {"acme": "k3y"}},
        "basic_auth": {"file": str(tmp_path / "users")},
        "mtls_auth": {"identities": "CN=**"},
        "rbac": {"rules": {"/a": "admin"}},
    }
    settings: Config = {"middleware": middleware, "routing": {"upstream_hosts": "http://127.0.0.1:1"}}
    (tmp_path / "pyrox.ini").write_text(as_ini(settings, tmp_path))
    command = [sys.executable, "-m", "pyrox", "--check", "-c", str(tmp_path / "pyrox.ini")]
    check = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert check.returncode == 2
    told = check.stderr
    for part in (
        "[[api_key]] keys: acme: has an item that is no SHA-256",
        "[[basic_auth]] file: ",
        "users: line 1: 'ada': plain text or a weak hash; make it anew with: htpasswd -B FILE USER",
        "[[mtls_auth]] identities: 'CN=**' is not PATTERN -> NAME",
        "[[rbac]] rules: /a: 'admin' is none of role:NAME, scope:NAME, user:NAME",
    ):
        assert part in told
    assert "k3y" not in told and "ada:secret" not in told
