"""Filters as they were written for Pyrox 0.4, one module of ``filters/`` each, in the running proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.kit import Scene, chunked, request_line_and, scene
from tests.integration.kit import get, post, response, response_head
from tests.support.origin import Origin, serve
from tests.support.wire import Client

# --- header_token.py: a factory function behind the alias ---

TOKENS = {
    "auth": "header_token.new_filter",
    "auth.tokens": "s3cret:acme, letmein:initech",
    "auth.realm": "The API",
}
UNAUTHORIZED = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Token realm="The API"\r\nDate: now\r\n'
    b"Content-Length: 0\r\n\r\n"
)


def test_header_token_lets_in_who_knows_one() -> None:
    with scene("auth", "", TOKENS) as stage:
        answer = stage.ask(get("/a", "X-Auth-Token: letmein", "Accept: */*"))
        assert (answer.status, answer.body) == (200, b"plain")
        assert stage.sent_up == (
            b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nVia: 1.1 pyrox\r\n"
            b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n"
            b"X-Tenant: initech\r\n\r\n"
        )
        stage.ask_plain("/plain", "x-auth-token: s3cret")
        assert b"\r\nX-Tenant: acme\r\n" in stage.sent_up


def test_header_token_keeps_out_who_does_not() -> None:
    with scene("auth", "", TOKENS) as stage:
        for fields in ([], ["X-Auth-Token: wrong"], ["X-Auth-Token:"], ["X-Auth: s3cret"]):
            for request in (get("/", *fields), post("/", b"body", *fields)):
                assert stage.ask(request).status == 401
                assert stage.sent_down == UNAUTHORIZED  # each time, of one and the same object
        assert stage.origin.connections == []
        stage.ask_plain("/plain", "X-Auth-Token: s3cret")


def test_tenant_that_a_client_claims_itself_is_replaced() -> None:
    options = {**TOKENS, "auth.header": "X-Key", "auth.strip": "no"}
    with scene("auth", "", options) as stage:
        stage.ask(get("/a", "X-Tenant: bank", "X-Key: s3cret", "x-tenant: nasa"))
        assert stage.origin.requests[0].get_all("x-tenant") == [b"acme"]
        assert stage.origin.requests[0].get_all("x-key") == [b"s3cret"]
        stage.ask_plain("/plain", "X-Key: s3cret")


# --- role_access.py: rules by route from a JSON file ---

RULES = {
    r"^/admin": {"*": ["admin"]},
    r"^/reports/\d+$": {"GET": ["reader", "admin"], "DELETE": ["admin"]},
}


FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nX-Reason: role\r\nDate: now\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    rules = tmp_path_factory.mktemp("rules") / "rules.json"
    rules.write_text(json.dumps(RULES))
    with scene("roles", "", {"roles": "role_access.RoleAccess", "roles.rules": str(rules)}) as stage:
        yield stage


@pytest.mark.parametrize(
    ("method", "target", "roles"),
    [
        ("GET", "/admin", ["admin"]),
        ("DELETE", "/admin/users", ["x, admin ,y"]),
        ("GET", "/admin", ["reader", "admin"]),
        ("GET", "/reports/1?full", ["reader"]),
        ("GET", "/reports/all", []),
        ("GET", "/", []),
    ],
)
def test_role_has_access(guarded: Scene, method: str, target: str, roles: list[str]) -> None:
    assert guarded.ask(get(target, *(f"X-Roles: {role}" for role in roles), method=method)).status == 200
    assert guarded.sent_up.startswith(f"{method} {target} HTTP/1.1\r\n".encode())
    guarded.ask_plain()


@pytest.mark.parametrize(
    ("method", "target", "roles"),
    [
        ("GET", "/admin", ["reader"]),
        ("GET", "/admin", ["reader", "staff"]),
        ("GET", "/admin?as=admin", []),
        ("DELETE", "/reports/1", ["reader"]),
        ("PUT", "/reports/1", ["admin"]),
    ],
)
def test_role_has_no_access(guarded: Scene, method: str, target: str, roles: list[str]) -> None:
    before = len(guarded.proxy.error_log())
    guarded.ask(get(target, *(f"X-Roles: {role}" for role in roles), method=method))
    assert (guarded.sent_up, guarded.sent_down) == (b"", FORBIDDEN)
    refusal = f"WARNING {method} {target.partition('?')[0]} is not for {sorted(roles)}\n"
    assert refusal in guarded.proxy.error_log()[before:]
    guarded.ask_plain()


# --- web_server.py: reply() with an open file ---


def test_static_files_are_served_from_disk(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"<h1>hello</h1>")
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 4 * 1024 * 10)
    (tmp_path / "empty.txt").write_bytes(b"")
    aliases = {"files": "web_server.StaticFiles", "files.root": str(tmp_path)}
    with scene("files", "", aliases) as stage:
        page = stage.ask(get("/static/index.html"))
        assert (page.status, page.body, page.get("content-type")) == (200, b"<h1>hello</h1>", b"text/html")
        big = stage.ask(get("/static/big.bin"))
        assert big.body == bytes(range(256)) * 4 * 1024 * 10
        assert big.framing == "chunked"
        assert stage.ask(get("/static/empty.txt")).body == b""
        missing = stage.ask(get("/static/../../etc/passwd"))
        assert (missing.status, missing.body) == (404, b"no /static/../../etc/passwd here\n")
        assert stage.ask(get("/static/index.html", method="HEAD"), "HEAD").body == b""
        assert stage.ask(post("/static/index.html", b"body")).body == b"<h1>hello</h1>"
        assert stage.origin.connections == []
        stage.ask_plain()
        with Client(stage.proxy.address) as old_client:
            answer = old_client.ask(get("/static/index.html", version="1.0"))
            assert (answer.body, answer.framing, answer.ended) == (b"<h1>hello</h1>", "close", "boundary")


def test_files_that_were_served_are_closed(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"<h1>hello</h1>")
    aliases = {"files": "web_server.StaticFiles", "files.root": str(tmp_path)}
    with scene("files", "", aliases) as stage:
        stage.ask(get("/static/index.html"))
        before = stage.proxy.fd_count()
        for _ in range(20):
            stage.ask(get("/static/index.html"))
            stage.ask(get("/static/index.html", method="HEAD"), "HEAD")
        stage.proxy.wait_until(lambda: stage.proxy.fd_count() == before, f"return to {before} descriptors")
        stage.ask_plain()


def test_stock_web_server_in_front_of_an_upstream(tmp_path: Path) -> None:
    """The one that comes with Pyrox, made to let through what it does not have."""
    (tmp_path / "index.html").write_bytes(b"<h1>hello</h1>")
    aliases = {
        "files": "pyrox.stock_filters.httpd.WebServer",
        "files.root": str(tmp_path),
        "staff": "maintenance.Staff",
        "staff.secret": "me",
    }
    with scene("staff, files", "", aliases) as stage:
        assert stage.ask(get("/")).body == b"<h1>hello</h1>"
        assert stage.ask(get("/x")).status == 404
        assert stage.origin.connections == []
        stage.ask_plain("/plain", "X-Staff: me")


# --- content_router.py: route() ---


def test_content_router_sends_each_kind_to_its_service() -> None:
    with Origin(serve(response(b"json"))) as for_json, Origin(serve(response(b"xml"))) as for_xml:
        aliases = {
            "router": "content_router.ContentTypeRouter",
            "router.json": for_json.address,
            "router.xml": for_xml.url,
        }
        with scene("router", "", aliases) as stage:
            for content_type, body in [
                ("application/json; charset=utf-8", b"json"),
                ("TEXT/XML", b"xml"),
                ("application/json", b"json"),
                ("application/xml", b"xml"),
            ]:
                answer = stage.ask(post("/a", b"body", f"Content-Type: {content_type}"))
                assert (answer.status, answer.body) == (200, body)
            assert stage.origin.connections == []
            stage.ask(post("/a", b"body", "Content-Type: text/plain"))
            assert stage.sent_down == (
                b"HTTP/1.1 415 Unsupported Media Type\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
            )
            stage.ask_plain()
        for origin in (for_json, for_xml):
            assert [(one.method, one.body) for one in origin.requests] == [("POST", b"body")] * 2
            assert origin.requests[0].get("host") == b"a.test"


# --- response_head.py: (self, response, request) ---

HEADS = {"heads": "response_head.ResponseHead", "heads.internal": "app-7.internal:8000"}


def test_response_head_is_rewritten_by_what_the_request_said() -> None:
    answer = response_head(
        "Server: acme/1.0",
        "Set-Cookie: a=1; Path=/",
        "Location: http://app-7.internal:8000/2",
        "Date: today",
        "set-cookie: b=2",
        "Content-Length: 0",
        status="302 Found",
    )
    with scene("", "heads", HEADS, answers={"/a?b": answer}) as stage:
        stage.ask(get("/a?b"))
        assert stage.sent_up == request_line_and(target="/a?b")
        assert stage.sent_down == (
            b"HTTP/1.1 302 Found\r\n"
            b"Set-Cookie: a=1; Path=/; Domain=a.test\r\nSet-Cookie: b=2; Domain=a.test\r\n"
            b"Location: http://a.test/2\r\nDate: today\r\nVia: 1.1 pyrox\r\nX-Asked: GET /a?b\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        stage.ask_plain()


def test_status_and_phrase_are_rewritten() -> None:
    lost = response(b"lost", "Date: today", status="404 Not Found")
    with scene("", "heads", HEADS, answers={"/a": lost}) as stage:
        assert stage.ask(get("/a")).body == b"lost"
        assert stage.sent_down == (
            b"HTTP/1.1 410 Gone for ever\r\nDate: today\r\nVia: 1.1 pyrox\r\nX-Asked: GET /a\r\n"
            b"Content-Length: 4\r\n\r\nlost"
        )
        assert stage.ask(post("/a", b"body")).start_line == b"HTTP/1.1 404 Not Found"
        stage.ask_plain()


# --- maintenance.py: consume(), and reply() with an iterable ---


def test_maintenance_closes_to_all_but_the_staff() -> None:
    aliases = {
        "staff": "maintenance.Staff",
        "staff.secret": "open sesame",
        "closed": "maintenance.Closed",
    }
    with scene("staff, closed", "", aliases) as stage:
        for _ in range(2):
            stage.ask(get("/x"))
            assert stage.sent_down == (
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3600\r\nContent-Type: text/html\r\n"
                b"Date: now\r\nTransfer-Encoding: chunked\r\n\r\n"
            ) + chunked(b"<h1>Closed</h1>", b"<p>You asked for ", b"/x")
        assert stage.origin.connections == []
        stage.ask_plain("/plain", "X-Staff: open sesame")
        assert stage.sent_up == request_line_and(target="/plain")
        assert stage.ask(get("/x", "X-Staff: guess")).status == 503
        stage.ask_plain("/plain", "x-staff: open sesame")


# --- quota.py: one instance for a worker ---


def test_quota_is_kept_by_one_instance_for_all_connections() -> None:
    lifetime = {"filter_lifetime": "worker", "use_singletons": True}
    with scene("quota", "quota", {"quota": "quota.Quota", "quota.limit": "2"}, pipeline=lifetime) as stage:
        assert stage.ask(get("/a", "X-Key: ada")).get("x-left") == b"1"
        with Client(stage.proxy.address) as other:
            assert other.ask(get("/a", "X-Key: ada")).get("x-left") == b"0"
        for _ in range(2):
            stage.ask(get("/a", "X-Key: ada"))
            assert stage.sent_down == (
                b"HTTP/1.1 429 Too Many Requests\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
            )
        stage.ask_plain("/plain", "X-Key: bob")


# --- and all of them in a row ---


def test_filters_of_many_authors_in_one_pipeline(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    aliases = {
        **TOKENS,
        **HEADS,
        "check": "json_check.JsonCheck",
        "rewriter": "rewriter.BodyRewriter",
        "rewriter.public": "www.example.com",
        "rewriter.internal": "app-7.internal",
        "roles": "role_access.RoleAccess",
        "roles.rules": str(tmp_path / "rules.json"),
        "give": "request_id.GiveId",
        "give_back": "request_id.ReturnId",
    }
    page = response(b"app-7.internal says hello", "Date: today", "Server: acme", "Set-Cookie: a=1")
    upstream, downstream = "auth, roles, give, check, rewriter", "heads, rewriter, give_back"
    with scene(upstream, downstream, aliases, answers={"/admin": page}) as stage:
        credentials = ["X-Auth-Token: s3cret", "X-Roles: admin", "Content-Type: application/json"]
        assert stage.ask(post("/admin", b"[1]")).status == 401
        assert stage.ask(post("/admin", b"[1]", credentials[0])).status == 403
        assert stage.ask(post("/admin", b"[1", *credentials)).status == 400
        assert stage.origin.connections == []
        answer = stage.ask(post("/admin", b'["www.example.com"]', *credentials))
        assert answer.body == b"www.example.com says hello\n-- req-2"
        assert answer.get_all("set-cookie") == [b"a=1; Domain=a.test"]
        [sent] = stage.origin.requests
        assert (sent.body, sent.get("x-tenant")) == (b'["app-7.internal"]', b"acme")
        assert stage.ask(get("/plain", "X-Auth-Token: s3cret")).body == b"plain\n-- req-3"
