"""``jwt_auth`` with the keys of a JWKS that a service publishes, over sockets and through the proxy."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import Key, OctKey

from pyrox.http.message import Response
from pyrox.middleware.jwt_auth import JwtAuth
from pyrox.testing import ClientResponse, TestClient
from tests.integration.kit import get, record_of, response, start_tls
from tests.support.authority import Authority
from tests.support.messages import WireRequest
from tests.support.origin import OK, Origin, expect_request, hang, reset, send, serve
from tests.support.proxy import running_proxy
from tests.support.tokens import SECRET, bearer, jwks_of, key_for, sign
from tests.support.wire import Client


class Issuer:
    """Publishes keys; what and how may change at any time."""

    def __init__(self, *keys: Key) -> None:
        self.jwks: Any = jwks_of(*keys)
        self.status = "200 OK"

    def __call__(self, request: WireRequest) -> bytes:
        body = self.jwks if isinstance(self.jwks, bytes) else json.dumps(self.jwks).encode()
        return response(body, "Content-Type: application/jwk-set+json", status=self.status)


class Protected:
    """A client of something that ``jwt_auth`` protects, with a clock that the test sets."""

    def __init__(self, origin: Origin, **options: Any) -> None:
        self.middleware = JwtAuth(
            lambda request: Response(200, "welcome"),
            **{"jwks_url": f"{origin.url}/jwks", "cache_ttl": 0.0, **options},
        )
        self.client = TestClient(self.middleware, upstream=Response(200, "welcome"))
        sets = self.middleware._verifier._keys._sets  # type: ignore[attr-defined]
        for part in (sets, sets._answers, sets._refusals):
            part._clock = lambda: self.now
        self.now = 1000.0

    def ask(self, key: Key, **header: Any) -> ClientResponse:
        return self.client.get("/", headers=bearer(sign(key=key, **header)))


OLD, NEW = key_for("RS256", "old"), key_for("RS256", "new")


def test_keys_are_fetched_once_and_again_when_their_time_is_over() -> None:
    with Origin(serve(Issuer(OLD))) as origin:
        protected = Protected(origin, jwks_ttl=300.0)
        assert [protected.ask(OLD).status for _ in range(5)] == [200] * 5
        [request] = origin.requests
        assert (request.method, request.target) == ("GET", "/jwks")
        protected.now += 299.0
        protected.ask(OLD)
        assert len(origin.requests) == 1
        protected.now += 1.0
        assert protected.ask(OLD).status == 200
        assert len(origin.requests) == 2


def test_new_key_is_found_at_once_and_the_old_one_is_gone() -> None:
    issuer = Issuer(OLD)
    with Origin(serve(issuer)) as origin:
        protected = Protected(origin)
        assert protected.ask(OLD).status == 200
        issuer.jwks = jwks_of(NEW)
        protected.now += 10.0
        assert protected.ask(NEW).status == 200
        assert protected.ask(OLD).text == "the token is refused: no known key has signed it\n"


def test_unknown_key_ids_cause_a_fetch_only_so_often() -> None:
    with Origin(serve(Issuer(OLD))) as origin:
        protected = Protected(origin, jwks_min_interval=10.0)
        for number in range(20):
            assert protected.ask(OLD, kid=f"made-up-{number}").status == 401
        assert len(origin.requests) == 1
        protected.now += 10.0
        for number in range(20):
            assert protected.ask(OLD, kid=f"made-up-{number}").status == 401
        assert protected.ask(OLD).status == 200
        assert len(origin.requests) == 2


def test_keys_are_used_on_while_the_issuer_is_down_but_not_forever() -> None:
    issuer = Issuer(OLD)
    with Origin(serve(issuer)) as origin:
        protected = Protected(origin, jwks_ttl=100.0, jwks_max_stale=50.0)
        assert protected.ask(OLD).status == 200
        issuer.status = "500 Internal Server Error"
        protected.now += 149.0
        assert [protected.ask(OLD).status for _ in range(3)] == [200] * 3
        assert len(origin.requests) == 2
        protected.now += 1.0
        answer = protected.ask(OLD)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        issuer.status = "200 OK"
        protected.now += 1.0
        assert protected.ask(OLD).status == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda issuer: setattr(issuer, "status", "404 Not Found"),
        lambda issuer: setattr(issuer, "status", "302 Found"),
        lambda issuer: setattr(issuer, "jwks", b"<html>"),
        lambda issuer: setattr(issuer, "jwks", b"[" * 100_000),
        lambda issuer: setattr(issuer, "jwks", {"keys": {}}),
        lambda issuer: setattr(issuer, "jwks", {"keys": []}),
        lambda issuer: setattr(issuer, "jwks", {"keys": [{}] * 101}),
        lambda issuer: setattr(issuer, "jwks", jwks_of(OctKey.import_key(SECRET, {"kid": "old"}))),
        lambda issuer: setattr(issuer, "jwks", jwks_of(OLD, alg="HS256")),
        lambda issuer: setattr(issuer, "jwks", {**jwks_of(OLD), "x": "y" * 300_000}),
    ],
)
def test_what_is_no_jwks_of_use_is_a_503_and_nobody_gets_in(change: Callable[[Issuer], None]) -> None:
    issuer = Issuer(OLD)
    change(issuer)
    with Origin(serve(issuer)) as origin:
        protected = Protected(origin)
        assert [protected.ask(OLD).status for _ in range(3)] == [503] * 3
        assert len(origin.requests) == 1


def test_token_of_an_algorithm_that_is_not_allowed_causes_no_fetch() -> None:
    with Origin(serve(Issuer(OLD))) as origin:
        protected = Protected(origin)
        assert protected.client.get("/", headers=bearer(sign(algorithm="ES256"))).status == 401
        assert origin.requests == []


def test_jwks_comes_over_tls_that_ca_file_vouches_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("id", names="IP:127.0.0.1").options.values())
    with Origin([start_tls(context), *serve(Issuer(OLD))]) as origin:
        url = f"https://{origin.address}/jwks"
        assert Protected(origin, jwks_url=url, jwks_ca_file=authority.ca_file).ask(OLD).status == 200


# --- through the proxy


def ask(client: Client, target: str, token: str | None = None, *fields: str) -> Any:
    authorization = [] if token is None else [f"Authorization: Bearer {token}"]
    return client.ask(get(target, *authorization, *fields))


def config_for(origin: Origin, jwks_url: str, **options: Any) -> dict[str, Any]:
    return {
        "routing": {"upstream_hosts": origin.url},
        "logging": {"access_log_format": "json"},
        "middleware": {"stack": ["jwt_auth"], "jwt_auth": {"jwks_url": jwks_url, **options}},
    }


def test_proxy_lets_in_by_token_and_tells_upstream_who_it_is() -> None:
    with Origin(serve(OK)) as origin, Origin(serve(Issuer(OLD))) as issuer:
        config = config_for(origin, f"{issuer.url}/jwks", claim_headers={"X-Email": "email"})
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            spoofed = ["X-Auth-User: root", "x_auth_user: root", "X-AUTH-ROLES: root", "X-Email: root"]
            good = sign({"email": "a\r\nX: y", "roles": ["r"]}, key=OLD)
            for _ in range(3):
                assert ask(client, "/", good, *spoofed).body == b"ok"
            told = [(name.lower(), value) for name, value in origin.requests[-1].fields]
            assert [pair for pair in told if pair[0].startswith((b"x-auth", b"x_auth", b"x-email"))] == [
                (b"x-auth-user", b"ada"),
                (b"x-auth-roles", b"r"),
                (b"x-email", b"a%0D%0AX: y"),
            ]
            assert len(issuer.requests) == 1
            refused = ask(client, "/refused", sign({"exp": 1}, key=OLD))
            assert (refused.status, refused.get("www-authenticate")) == (
                401,
                b'Bearer realm="restricted", error="invalid_token", '
                b'error_description="the token is refused: it has expired"',
            )
            assert record_of(proxy, "/refused")["answered_by"] == "jwt_auth"


def test_proxy_starts_without_its_issuer_and_answers_503_until_it_is_there() -> None:
    broken = [expect_request(), reset()]
    with Origin(serve(OK)) as origin, Origin(broken, broken, serve(Issuer(OLD))) as issuer:
        with running_proxy(config_for(origin, issuer.url)) as proxy, Client(proxy.address) as client:
            answer = ask(client, "/down", token := sign(key=OLD))
            assert (answer.status, answer.get("retry-after"), origin.requests) == (503, b"1", [])
            record = record_of(proxy, "/down")
            assert (record["answered_by"], record["error"]) == ("jwt_auth", "destination_unavailable")
            proxy.wait_for_log(
                f"the keys of jwt_auth could not be fetched: {issuer.url}: the connection broke"
            )
            proxy.wait_until(lambda: ask(client, "/", token).status == 200, "keys")
            assert "Traceback" not in proxy.error_log()


def test_slow_issuer_stalls_only_those_who_need_its_keys_and_is_asked_once() -> None:
    slow = [expect_request(), hang(), send(Issuer(OLD)(None))]  # type: ignore[arg-type]
    with Origin(serve(OK)) as origin, Origin(slow) as issuer:
        config = config_for(origin, f"{issuer.url}/jwks", jwks_timeout=30, optional=True)
        with running_proxy(config) as proxy:
            waiting = [Client(proxy.address) for _ in range(5)]
            for number, client in enumerate(waiting):
                client.send(get(f"/{number}", f"Authorization: Bearer {sign(key=OLD)}"))
            issuer.wait_for_requests(1)
            with Client(proxy.address) as other:
                assert [ask(other, "/anonymous").status for _ in range(20)] == [200] * 20
            assert all(client.is_silent() for client in waiting)
            issuer.release()
            assert [client.read_response().status for client in waiting] == [200] * 5
            assert len(issuer.requests) == 1
            for client in waiting:
                client.close()


def test_proxy_fetches_keys_over_tls_that_ca_file_vouches_for(tmp_path: Path) -> None:
    """In a worker TLS is gevent's, which a context made at the wrong time would not be."""
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("id", names="IP:127.0.0.1").options.values())
    slow = [start_tls(context), expect_request(), hang(), send(Issuer(OLD)(None))]  # type: ignore[arg-type]
    with Origin(serve(OK)) as origin, Origin(slow) as issuer:
        options = {"jwks_ca_file": str(authority.ca_file), "jwks_timeout": 30, "optional": True}
        config = config_for(origin, f"https://{issuer.address}/jwks", **options)
        with running_proxy(config) as proxy, Client(proxy.address) as client, Client(proxy.address) as other:
            client.send(get("/", f"Authorization: Bearer {sign(key=OLD)}"))
            issuer.wait_for_requests(1)
            assert [ask(other, "/anonymous").status for _ in range(10)] == [200] * 10
            issuer.release()
            assert client.read_response().status == 200
