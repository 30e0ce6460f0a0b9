"""Filters as they were written for Pyrox 0.4, one module of ``filters/`` each, in the running proxy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compat.kit import chunked, request_line_and, scene
from tests.integration.kit import get, post, response, response_head
from tests.support.origin import Origin, serve
from tests.support.wire import Client

MIB = 1 << 20


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


@pytest.mark.parametrize(
    "request_", [get("/"), get("/", "X-Auth-Token: wrong"), post("/", b"body"), get("/", "X-Auth-Token:")]
)
def test_header_token_keeps_out_who_does_not(request_: bytes) -> None:
    with scene("auth", "", TOKENS) as stage:
        for _ in range(2):  # one and the same response object
            assert stage.ask(request_).status == 401
            assert stage.sent_down == UNAUTHORIZED
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


@pytest.mark.parametrize(
    ("method", "target", "roles", "allowed"),
    [
        ("GET", "/admin", "admin", True),
        ("DELETE", "/admin/users", "x, admin ,y", True),
        ("GET", "/admin", "reader", False),
        ("GET", "/admin", None, False),
        ("GET", "/reports/1?full", "reader", True),
        ("DELETE", "/reports/1", "reader", False),
        ("PUT", "/reports/1", "admin", False),
        ("GET", "/reports/all", None, True),
        ("GET", "/", None, True),
    ],
)
def test_role_access(tmp_path: Path, method: str, target: str, roles: str | None, allowed: bool) -> None:
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    aliases = {"roles": "role_access.RoleAccess", "roles.rules": str(tmp_path / "rules.json")}
    fields = [] if roles is None else [f"X-Roles: {roles}"]
    with scene("roles", "", aliases) as stage:
        answer = stage.ask(get(target, *fields, method=method))
        if allowed:
            assert answer.status == 200
        else:
            assert stage.sent_down == (
                b"HTTP/1.1 403 Forbidden\r\nX-Reason: role\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
            )
            assert stage.origin.connections == []
        stage.ask_plain()
    assert (
        f"WARNING {method} {target.partition('?')[0]} is not for" in stage.proxy.error_log()
    ) is not allowed


def test_role_access_adds_up_several_lines() -> None:
    rules = Path(__file__).with_name("filters") / "rules.json"
    with scene("roles", "", {"roles": "role_access.RoleAccess", "roles.rules": str(rules)}) as stage:
        assert stage.ask(get("/admin", "X-Roles: reader", "X-Roles: admin")).status == 200
        assert stage.ask(get("/admin", "X-Roles: reader", "X-Roles: staff")).status == 403
        stage.ask_plain()


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


def test_files_that_were_served_are_closed(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"<h1>hello</h1>")
    aliases = {"files": "web_server.StaticFiles", "files.root": str(tmp_path)}
    with scene("files", "", aliases) as stage:
        stage.ask(get("/static/index.html"))
        before = stage.proxy.fd_count()
        for _ in range(20):
            stage.ask(get("/static/index.html"))
            stage.ask(get("/static/index.html", method="HEAD"), "HEAD")
        assert stage.proxy.fd_count() == before
        stage.ask_plain()


def test_static_file_for_a_client_of_http_10(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"<h1>hello</h1>")
    aliases = {"files": "web_server.StaticFiles", "files.root": str(tmp_path)}
    with scene("files", "", aliases) as stage:
        answer = stage.ask(get("/static/index.html", version="1.0"))
        assert (answer.body, answer.framing, answer.ended) == (b"<h1>hello</h1>", "close", "boundary")


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


# --- rewriter.py: bodies of both sides ---

REWRITER = {
    "rewriter": "rewriter.BodyRewriter",
    "rewriter.public": "www.example.com",
    "rewriter.internal": "app-7.internal",
}


def test_rewriter_changes_both_bodies() -> None:
    answer = response(b'{"next": "http://app-7.internal/2"}', "Date: today", "Content-Type: text/json")
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        got = stage.ask(post("/a", b"see www.example.com and www.example.com"))
        assert got.body == b'{"next": "http://www.example.com/2"}'
        [sent] = stage.origin.requests
        assert sent.body == b"see app-7.internal and app-7.internal"
        assert stage.sent_up.startswith(
            request_line_and("Transfer-Encoding: chunked", target="/a", method="POST")
        )
        assert stage.sent_down.startswith(
            b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Type: text/json\r\nVia: 1.1 pyrox\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        stage.ask_plain()


def test_rewriter_sees_a_text_that_the_network_has_cut() -> None:
    head = response_head("Transfer-Encoding: chunked")
    answer = head + chunked(b"app-", b"7.internal app-7", b".inter", b"national app-7.int")
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        request = get("/a", "Transfer-Encoding: chunked", method="PUT")
        got = stage.ask(request + chunked(*(bytes([byte]) for byte in b"to www.example.com, www.")))
        assert got.body == b"www.example.com app-7.international app-7.int"
        assert stage.origin.requests[0].body == b"to app-7.internal, www."
        stage.ask_plain()


def test_rewriter_passes_long_bodies_in_time() -> None:
    text = b"www.example.com, " * (4 * MIB // 17)
    answer = response(text.replace(b"www.example.com", b"app-7.internal"))
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        assert stage.ask(post("/a", text)).body == text
        assert stage.origin.requests[0].body == text.replace(b"www.example.com", b"app-7.internal")
        stage.ask_plain()


def test_rewriter_for_a_client_of_http_10() -> None:
    answer = response(b"app-7.internal")
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        got = stage.ask(get("/a", "Connection: keep-alive", version="1.0"))
        assert (got.body, got.framing, got.ended) == (b"www.example.com", "close", "boundary")


@pytest.mark.parametrize(
    ("answer", "method", "status"),
    [
        (response_head("Content-Length: 100"), "HEAD", 200),
        (response_head(status="204 No Content"), "GET", 204),
        (response_head('ETag: "1"', status="304 Not Modified"), "GET", 304),
        (response(b""), "GET", 200),
    ],
)
def test_rewriter_of_no_body_at_all(answer: bytes, method: str, status: int) -> None:
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        got = stage.ask(get("/a", method=method), method)
        assert (got.status, got.body) == (status, b"")
        stage.ask_plain()


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


# --- request_id.py: local_data along the whole exchange ---


def test_request_id_comes_back_with_the_response() -> None:
    aliases = {"give": "request_id.GiveId", "give_back": "request_id.ReturnId"}
    with scene("give", "give_back", aliases) as stage:
        for number in (1, 2):
            expected = b"req-%d" % number
            answer = stage.ask(get("/a", "X-Request-Id: mine"))
            assert stage.origin.requests[-1].get_all("x-request-id") == [expected]
            assert answer.get_all("x-request-id") == [expected] * 2
            assert answer.body == b"plain\n-- " + expected
        answer = stage.ask(post("/a", b"body", "Expect: nothing"))
        assert answer.status == 200 and answer.body.endswith(b"-- req-3")
        with Client(stage.proxy.address) as other:
            assert other.ask(get("/")).body == b"plain\n-- req-4"


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


# --- json_check.py: a body held back ---

CHECK = {"check": "json_check.JsonCheck"}


def test_json_goes_upstream_in_one_piece_when_it_is_whole() -> None:
    with scene("check", "", CHECK) as stage:
        request = get("/a", "Content-Type: application/json", "Transfer-Encoding: chunked", method="PUT")
        assert stage.ask(request + chunked(b'{"a":', b" [1,", b" 2]}")).body == b"plain"
        assert stage.sent_up.endswith(b"chunked\r\n\r\n" + chunked(b'{"a": [1, 2]}'))
        stage.ask_plain()


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_invalid_json_is_answered_and_nothing_goes_upstream(cut: int) -> None:
    text = b'{"a": [1, 2}'
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    with scene("check", "", CHECK) as stage:
        request = get("/a", "Content-Type: application/json", "Transfer-Encoding: chunked", method="PUT")
        answer = stage.ask(request + chunked(*pieces))
        assert answer.status == 400
        assert answer.body.startswith(b"no JSON: Expecting ',' delimiter")
        assert stage.origin.connections == []
        stage.ask_plain()
        assert stage.ask(post("/a", b"not JSON, not checked")).status == 200
        assert stage.origin.requests[-1].body == b"not JSON, not checked"


def test_json_of_a_megabyte_is_held_back_whole() -> None:
    text = json.dumps(["x" * 1000] * 1000).encode()
    with scene("check", "", CHECK) as stage:
        answer = stage.ask(post("/a", text[:-1], "Content-Type: application/json"))
        assert answer.status == 400
        assert stage.origin.connections == []
        assert stage.ask(post("/a", text, "Content-Type: application/json")).status == 200
        assert stage.origin.requests[-1].body == text
        stage.ask_plain()


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
        **REWRITER,
        **HEADS,
        **CHECK,
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
