"""``keystone`` against a fake of OpenStack Identity, over sockets and through the proxy."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyrox.http.message import Response
from pyrox.middleware import keystone_api
from pyrox.middleware.keystone import Keystone
from pyrox.middleware.single_flight import SingleFlightCache
from pyrox.testing import ClientResponse, TestClient
from tests.integration.kit import InThread, get, record_of
from tests.support.identity_service import PASSWORD, PROJECT, USER, IdentityService
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import running_proxy
from tests.support.wire import Client

SIGN_IN, ASK = "POST /v3/auth/tokens", "GET /v3/auth/tokens"


@pytest.fixture
def service() -> Iterator[IdentityService]:
    with IdentityService() as service:
        yield service


def keystone(service: IdentityService, **options: Any) -> Keystone:
    known = {"url": service.url, "user": USER, "password": PASSWORD, "project": PROJECT}
    return Keystone(lambda request: Response(200), **{**known, **options})


def client_of(service: IdentityService, **options: Any) -> TestClient:
    return TestClient(keystone(service, **options), upstream=Response(200, "welcome"))


def set_clock(cache: SingleFlightCache[Any, Any], now: float) -> None:
    for part in (cache, cache._answers, cache._refusals):
        part._clock = lambda: now


def ask(client: TestClient, token: str, **headers: str) -> ClientResponse:
    return client.get("/", headers={"X-Auth-Token": token, **headers})


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_upstream_is_told_who_it_is_as_by_repose(service: IdentityService, version: str) -> None:
    extensions = {"RAX-AUTH:defaultRegion": "DFW", "RAX-AUTH:impersonator": {"id": "9", "name": "root"}}
    token = service.issue("ada", roles=("member", "admin"), user=extensions)
    client = client_of(service, version=version)
    assert ask(client, token).text == "welcome"
    headers = client.upstream_requests[-1].headers
    told = {name: value for name, value in headers.items() if name in keystone_api.FIELDS}
    domains = {
        "X-User-Domain-Id": "default",
        "X-User-Domain-Name": "Default",
        "X-Project-Domain-Id": "default",
        "X-Project-Domain-Name": "Default",
    }
    assert told == {
        "X-Authorization": "Proxy" if version == "v3" else "Proxy p-1",
        "X-Identity-Status": "Confirmed",
        "X-User-Id": "id-of-ada",
        "X-User-Name": "ada",
        "X-Project-Id": "p-1",
        "X-Project-Name": "demo",
        "X-Tenant-Id": "p-1",
        "X-Tenant-Name": "demo",
        "X-Roles": "admin,member",
        "X-Default-Region": "DFW",
        "X-Token-Expires": service.tokens[token]["expires_at"],
        "X-Impersonator-Id": "9",
        "X-Impersonator-Name": "root",
        **(domains if version == "v3" else {}),
    }
    assert headers["x-auth-token"] == token
    identity = client.upstream_requests[-1].state["identity"]
    assert (identity.name, identity.roles, identity.verified_by) == ("ada", {"admin", "member"}, "keystone")


def test_token_of_a_domain_and_without_a_scope(service: IdentityService) -> None:
    client = client_of(service)
    domain = service.issue(project=None, domain={"id": "d-1", "name": "acme"})
    assert ask(client, domain).status == 200
    headers = client.upstream_requests[-1].headers
    assert (headers["x-domain-id"], headers["x-domain-name"]) == ("d-1", "acme")
    assert "x-project-id" not in headers
    unscoped = service.issue(project=None)
    del service.tokens[unscoped]["roles"]
    assert ask(client, unscoped).status == 200
    assert "x-roles" not in client.upstream_requests[-1].headers


def test_token_is_asked_about_once_while_it_is_remembered(service: IdentityService) -> None:
    client = client_of(service)
    ada, bob = service.issue("ada"), service.issue("bob")
    for token in (ada, bob, ada, bob):
        assert ask(client, token).status == 200
    assert service.asked == [SIGN_IN, ASK, ASK]
    assert client.upstream_requests[-1].headers["x-user-name"] == "bob"


def test_without_a_cache_revocation_counts_at_once(service: IdentityService) -> None:
    client = client_of(service, cache_ttl=0.0, refused_ttl=0.0)
    token = service.issue()
    said = service.tokens[token]
    assert ask(client, token).status == 200
    del service.tokens[token]
    assert ask(client, token).status == 401
    service.tokens[token] = said
    assert ask(client, token).status == 200
    assert service.count(ASK) == 3


def test_token_is_not_remembered_beyond_its_expiry(service: IdentityService) -> None:
    middleware = keystone(service)
    client, token = TestClient(middleware), service.issue(life=100.0)
    assert ask(client, token).status == 200
    now = time.monotonic()
    set_clock(middleware._tokens, now + 90.0)
    assert ask(client, token).status == 200
    assert service.count(ASK) == 1
    set_clock(middleware._tokens, now + 101.0)
    ask(client, token)
    assert service.count(ASK) == 2


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_token_that_is_not_valid_is_refused_and_not_asked_about_again(
    service: IdentityService, version: str
) -> None:
    client = client_of(service, version=version, public_url="https://id.example/v3")
    for _ in range(3):
        answer = ask(client, "made-up")
        assert (answer.status, answer.text) == (401, "the token is not valid\n")
        assert answer.headers["www-authenticate"] == 'Keystone uri="https://id.example/v3"'
    assert len(service.asked) == 2
    assert client.get("/").status == 401  # no token at all
    assert len(service.asked) == 2
    assert client.upstream_requests == []


def test_token_that_has_expired_is_refused_whatever_the_service_says(service: IdentityService) -> None:
    assert ask(client_of(service), service.issue(life=-1.0)).status == 401


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_token_of_pyrox_is_renewed_when_it_is_not_valid_any_more(
    service: IdentityService, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystone_api, "_RENEWAL", 0.0)
    client = client_of(service, version=version)
    assert ask(client, service.issue()).status == 200
    service.revoke_own()
    assert ask(client, service.issue()).status == 200
    sign_in, question = (
        ("POST /v3/auth/tokens", "/v3/auth") if version == "v3" else ("POST /v2.0/tokens", "/v2.0")
    )
    assert [asked for asked in service.asked if asked == sign_in] == [sign_in] * 2
    assert len([asked for asked in service.asked if asked.startswith(f"GET {question}")]) == 3


def test_token_of_pyrox_is_renewed_before_it_expires(service: IdentityService) -> None:
    service.own_life = 120.0
    middleware = keystone(service)
    client = TestClient(middleware)
    assert ask(client, service.issue()).status == 200
    set_clock(middleware._service._own, time.monotonic() + 61.0)
    assert ask(client, service.issue()).status == 200
    assert service.count(SIGN_IN) == 2


def test_wrong_password_is_a_502_and_not_tried_again_and_again(service: IdentityService) -> None:
    client = client_of(service, password="wrong")
    for _ in range(5):
        assert ask(client, service.issue()).status == 502
    assert service.asked == [SIGN_IN]


def test_user_that_may_not_validate_is_a_502(service: IdentityService) -> None:
    service.may_validate = False
    assert ask(client_of(service), service.issue()).status == 502


def test_token_of_pyrox_that_is_refused_again_at_once_is_a_502(service: IdentityService) -> None:
    client = client_of(service)
    assert ask(client, service.issue()).status == 200
    service.revoke_own()
    assert ask(client, service.issue()).status == 502
    assert service.count(SIGN_IN) == 1  # it has just signed in: locking its account would help nobody


TROUBLE: list[tuple[int, dict[str, str], bytes, int, str | None]] = [
    (500, {}, b"", 502, None),
    (503, {}, b"", 502, None),
    (400, {}, b"", 502, None),
    (302, {"Location": "/"}, b"", 502, None),
    (200, {}, b"<html>", 502, None),
    (200, {}, b"{}", 502, None),
    (200, {}, b"[]", 502, None),
    (200, {}, b"[" * 100_000, 502, None),
    (200, {}, json.dumps({"token": {"expires_at": "soon", "user": {"id": "1"}}}).encode(), 502, None),
    (200, {}, json.dumps({"token": {"expires_at": "2999-01-01T00:00:00Z", "user": {}}}).encode(), 502, None),
    (200, {}, json.dumps({"token": {"expires_at": "2999-01-01T00:00:00Z", "user": 7}}).encode(), 502, None),
    (200, {}, b"x" * 300_000, 502, None),
    (413, {"Retry-After": "17"}, b"", 503, "17"),
    (429, {"Retry-After": "0"}, b"", 503, "1"),
    (429, {"Retry-After": "a\x7f"}, b"", 502, None),
    (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, b"", 503, "1"),
    (429, {}, b"", 503, "5"),
]


@pytest.mark.parametrize(("status", "fields", "body", "expected", "retry_after"), TROUBLE)
def test_service_in_trouble_is_what_repose_makes_of_it(
    service: IdentityService,
    status: int,
    fields: dict[str, str],
    body: bytes,
    expected: int,
    retry_after: str | None,
) -> None:
    client = client_of(service)
    assert ask(client, service.issue()).status == 200
    service.answer = (status, fields, body)
    answer = ask(client, service.issue())
    assert (answer.status, answer.headers.get("retry-after")) == (expected, retry_after)
    assert len(client.upstream_requests) == 1


def test_late_service_is_a_504(service: IdentityService) -> None:
    service.gate.clear()
    assert ask(client_of(service, timeout=0.2), service.issue()).status == 504


def test_service_that_is_not_there_is_a_502() -> None:
    with IdentityService() as service:
        client = client_of(service)
    assert ask(client, "some-token").status == 502


def test_many_requests_with_one_token_ask_once(service: IdentityService) -> None:
    client = client_of(service)
    token = service.issue()
    service.gate.clear()
    calls = [InThread(ask, client, token) for _ in range(10)]
    assert service.arrived.wait(10)
    service.gate.set()
    assert [call.result().status for call in calls] == [200] * 10
    assert service.asked == [SIGN_IN, ASK]


@pytest.mark.parametrize("token", ["..", ".", "a b", "a\tb", "\xfc", "a\xa0b", ""])
@pytest.mark.parametrize("version", ["v3", "v2"])
def test_what_cannot_be_a_token_is_refused_without_asking(
    service: IdentityService, token: str, version: str
) -> None:
    assert ask(client_of(service, version=version), token).status == 401
    assert service.asked == []


@pytest.mark.parametrize("token", ["../../v3/users", "a/b", "a?b=c", "a#b", "%2e%2e", "a;b", "..%2f.."])
def test_token_cannot_leave_its_place_in_the_path(service: IdentityService, token: str) -> None:
    client = client_of(service, version="v2")
    assert ask(client, token).status == 401
    [_, asked] = service.asked
    assert asked.startswith("GET /v2.0/tokens/")
    assert asked.count("/") == 3


def test_two_tokens_are_a_bad_request(service: IdentityService) -> None:
    token = service.issue()
    headers = [("X-Auth-Token", token), ("X-Auth-Token", "other")]
    assert client_of(service).get("/", headers=headers).status == 400


def test_names_cannot_end_their_field(service: IdentityService) -> None:
    client = client_of(service)
    token = service.issue("a\r\nX-Roles: admin", roles=("r,admin", "\u20ac"))
    assert ask(client, token).status == 200
    headers = client.upstream_requests[-1].headers
    assert headers["x-user-name"] == "a%0D%0AX-Roles: admin"
    assert headers.get_all("x-roles") == ["r%2Cadmin,%E2%82%AC"]


def test_token_is_kept_from_upstream_when_asked(service: IdentityService) -> None:
    client = client_of(service, strip=True)
    assert ask(client, service.issue()).status == 200
    assert "x-auth-token" not in client.upstream_requests[-1].headers


# --- through the proxy


def test_proxy_lets_in_by_token_and_nobody_can_be_someone_else(service: IdentityService) -> None:
    with Origin(serve(OK)) as origin:
        config = {
            "routing": {"upstream_hosts": origin.url},
            "logging": {"access_log_format": "json"},
            "middleware": {
                "stack": ["keystone"],
                "keystone": {
                    "url": service.url,
                    "user": USER,
                    "password": "${OS_PASSWORD}",
                    "optional": True,
                },
            },
        }
        env = {"OS_PASSWORD": PASSWORD}
        with running_proxy(config, env=env) as proxy, Client(proxy.address) as client:
            spoofed = [
                f"{spelling}: root"
                for name in keystone_api.FIELDS
                for spelling in (name, name.replace("-", "_"))
            ]
            token = service.issue("ada", roles=("member",))
            assert client.ask(get("/in", f"X-Auth-Token: {token}", *spoofed)).body == b"ok"
            told = dict(origin.requests[-1].fields)
            assert b"root" not in told.values()
            assert (told[b"X-User-Name"], told[b"X-Roles"]) == (b"ada", b"member")
            assert client.ask(get("/nobody", *spoofed)).body == b"ok"
            assert b"root" not in dict(origin.requests[-1].fields).values()
            assert client.ask(get("/out", "X-Auth-Token: made-up", *spoofed)).status == 401
            assert record_of(proxy, "/out")["answered_by"] == "keystone"
            service.answer = (500, {}, b"")
            assert client.ask(get("/trouble", "X-Auth-Token: other")).status == 502
            proxy.wait_for_log(
                f"<Request GET /trouble>: {service.url}: it answered 500 when asked about a token"
            )


def test_slow_service_delays_only_those_whose_tokens_it_is_asked_about(service: IdentityService) -> None:
    with Origin(serve(OK)) as origin:
        options = {"url": service.url, "user": USER, "password": PASSWORD, "optional": True, "timeout": 30}
        config = {
            "routing": {"upstream_hosts": origin.url},
            "middleware": {"stack": ["keystone"], "keystone": options},
        }
        with running_proxy(config) as proxy, Client(proxy.address) as client, Client(proxy.address) as other:
            known = service.issue("known")
            assert client.ask(get("/", f"X-Auth-Token: {known}")).status == 200
            service.gate.clear()
            service.arrived.clear()
            client.send(get("/", f"X-Auth-Token: {service.issue()}"))
            assert service.arrived.wait(10)
            for _ in range(10):
                assert other.ask(get("/", f"X-Auth-Token: {known}")).status == 200
                assert other.ask(get("/")).status == 200
            assert client.is_silent()
            service.gate.set()
            assert client.read_response().status == 200
