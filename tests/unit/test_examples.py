"""Each example does what it says, from its own configuration file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrox.http.message import Request, Response
from pyrox.testing import TestClient, Upstream
from pyrox.upstreams.resolver import ResolveError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, upstream: Upstream | None = None) -> TestClient:
    return TestClient.from_config(EXAMPLES / f"{name}.ini", upstream=upstream)


def test_each_example_has_its_configuration() -> None:
    modules = {path.stem for path in EXAMPLES.glob("*.py")}
    assert modules == {path.stem for path in EXAMPLES.glob("*.ini")}
    assert len(modules) >= 5


# --- api_key ---


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "guess"}, {"X-API-Key": ""}])
def test_api_key_keeps_strangers_out(headers: dict[str, str]) -> None:
    client = run("api_key")
    answer = client.get("/", headers=headers)
    assert (answer.status, answer.text) == (401, "who are you?\n")
    assert answer.headers["www-authenticate"] == "ApiKey"
    assert answer.made_by == "api_key"
    assert client.upstream_requests == []


@pytest.mark.parametrize(("key", "tenant"), [("s3cret", "acme"), ("0ther-s3cret", "initech")])
def test_api_key_tells_the_upstream_who_it_is_but_not_the_key(key: str, tenant: str) -> None:
    client = run("api_key")
    answer = client.get("/", headers={"X-API-Key": key, "X-Tenant": "somebody else"})
    seen = client.upstream_requests[-1].headers
    assert answer.status == 200
    assert answer.headers["x-served-by"] == "pyrox"
    assert seen.get_all("x-tenant") == [tenant]
    assert "x-api-key" not in seen


@pytest.mark.parametrize(("keys", "reason"), [({}, "nobody"), ({"acme": "k", "initech": ""}, "everybody")])
def test_api_key_refuses_keys_that_would_let_in_nobody_or_everybody(
    keys: dict[str, str], reason: str
) -> None:
    run("api_key")
    from api_key import RequireKey  # found through plugin_paths

    with pytest.raises(ValueError, match=reason):
        TestClient((RequireKey, {"keys": keys}))


# --- json_body ---


def test_json_body_is_changed_in_both_directions() -> None:
    client = run("json_body", Response.json_of({"user": {"token": "t", "name": "Ada"}}))
    answer = client.post("/", json={"users": [{"name": "Ada", "password": "x"}]})
    assert client.upstream_requests[-1].json() == {"users": [{"name": "Ada", "password": "***"}]}
    assert answer.json() == {"user": {"token": "***", "name": "Ada"}}


def test_json_body_refuses_what_is_no_json_and_what_is_too_long() -> None:
    client = run("json_body")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post("/", body="{", headers=headers).status == 400
    assert client.post("/", body="[" * 60000, headers=headers).status == 400
    assert client.post("/", body=json.dumps("x" * 65536), headers=headers).status == 413
    assert client.upstream_requests == []


def test_json_body_leaves_other_bodies_alone() -> None:
    client = run("json_body", Response(200, b"password", {"Content-Type": "text/plain"}))
    answer = client.post("/", body=b"password", headers={"Accept-Encoding": "gzip"})
    assert answer.body == client.upstream_requests[-1].body == b"password"
    assert "accept-encoding" not in client.upstream_requests[-1].headers


# --- streaming_filter ---


def replaced(*chunks: bytes, content_type: str = "text/plain", encoding: str = "") -> bytes:
    headers = {"Content-Type": content_type}
    if encoding:
        headers["Content-Encoding"] = encoding
    return run("streaming_filter", lambda _: Response(200, iter(chunks), headers)).get("/").body


def test_streaming_filter_replaces_wherever_the_chunks_are_cut() -> None:
    page, changed = b"<h1>It works.</h1> It", b"<h1>It works, and this was changed on its way.</h1> It"
    assert all(replaced(page[:cut], page[cut:]) == changed for cut in range(len(page)))
    assert replaced(*(page[n : n + 1] for n in range(len(page)))) == changed


def test_streaming_filter_leaves_what_is_no_text_alone() -> None:
    assert replaced(b"It works.", content_type="application/octet-stream") == b"It works."
    assert replaced(b"It works.", encoding="gzip") == b"It works."


# --- routing ---


@pytest.mark.parametrize(
    ("target", "route", "sent"),
    [
        ("/api", "http://127.0.0.1:8081", "/"),
        ("/api/users?id=1", "http://127.0.0.1:8081", "/users?id=1"),
        ("/api?x", "http://127.0.0.1:8081", "/?x"),
        ("/apis", None, "/apis"),
        ("/", None, "/"),
    ],
)
def test_routing_sends_a_path_to_its_server(target: str, route: str | None, sent: str) -> None:
    client = run("routing")
    assert client.get(target).status == 200
    assert client.upstream_requests[-1].route == route
    assert client.upstream_requests[-1].target == sent


def test_routing_checks_its_destinations_at_start_up() -> None:
    from routing import RouteByPath  # found through plugin_paths

    with pytest.raises(ValueError, match="ftp://x"):
        TestClient((RouteByPath, {"routes": {"/": "ftp://x"}}))


# --- timing ---


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    run("timing")
    clock = Clock()
    monkeypatch.setattr("timing.monotonic", clock)
    return clock


def slow_upstream(clock: Clock, head: float, body: float) -> Upstream:
    def pieces() -> Iterator[bytes]:
        clock.now += body
        yield b"done"

    def upstream(request: Request) -> Response:
        clock.now += head
        return Response(200, pieces())

    return upstream


def test_timing_tells_the_time_to_the_head_and_logs_the_time_to_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    answer = run("timing", slow_upstream(clock, head=0.25, body=0.5)).get("/report")
    assert answer.headers["server-timing"] == "upstream;dur=250.0"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "GET /report took 0.750 s (200)"


def test_timing_does_not_log_what_was_quick(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    run("timing", slow_upstream(clock, head=0.125, body=0.25)).get("/")
    assert caplog.records == []


# --- resolver ---


def test_resolver_finds_servers_and_says_why_it_does_not(tmp_path: Path) -> None:
    run("resolver")
    from resolver import JsonServers  # found through plugin_paths

    path = tmp_path / "servers.json"
    one = JsonServers("shop", path, every=1.0)
    with pytest.raises(ResolveError, match="No such file"):
        one.resolve()
    path.write_text('{"shop": [{"host": "10.0.0.1", "port": 80}, {"host": "10.0.0.2", "port": 81}]}')
    resolution = one.resolve()
    assert [str(found.server) for found in resolution.servers] == ["http://10.0.0.1:80", "http://10.0.0.2:81"]
    for text in ("{", "{}", '{"shop": [{"host": "10.0.0.1"}]}', '{"shop": [{"host": "a b", "port": 1}]}'):
        path.write_text(text)
        with pytest.raises(ResolveError):
            one.resolve()
    with pytest.raises(ValueError, match="every: must be more than 0"):
        JsonServers("shop", path, every=0)


# --- wsgi_app ---


def test_wsgi_app_stands_as_a_server() -> None:
    client = run("wsgi_app")
    client.get("/whoami/x")
    assert client.upstream_requests[-1].route == "wsgi:wsgi_app:whoami"
    client.get("/")
    assert client.upstream_requests[-1].route == "shop"


def test_wsgi_app_escapes_what_it_shows() -> None:
    run("wsgi_app")
    import wsgi_app  # found through plugin_paths

    heads: list[str] = []
    environ = {"SCRIPT_NAME": "/whoami", "PATH_INFO": "/<b>"}
    page = b"".join(wsgi_app.whoami(environ, lambda status, headers: heads.append(status)))
    assert (heads, b"&lt;b&gt;" in page, b"<b>" in page) == (["200 OK"], True, False)
    assert wsgi_app.sorry(environ, lambda status, headers: heads.append(status))
    assert heads[1].startswith("503 ")


# --- legacy_tenant and tenant ---


@pytest.mark.parametrize("name", ["legacy_tenant", "tenant"])
def test_tenant_is_the_same_as_a_filter_and_as_a_middleware(name: str) -> None:
    client = run(name, Response(200, b"one\r\ntwo\r\n", {"X-Tenant": "of the upstream"}))
    answer = client.get("/t/acme/users?id=1", headers={"X-Tenant": "initech"})
    seen = client.upstream_requests[-1]
    assert (seen.target, seen.headers.get_all("x-tenant")) == ("/users?id=1", ["acme"])
    assert answer.headers.get_all("x-tenant") == ["of the upstream", "acme"]
    assert (answer.status, answer.body) == (200, b"one\ntwo\n")


@pytest.mark.parametrize("name", ["legacy_tenant", "tenant"])
def test_who_names_no_tenant_gets_a_404(name: str) -> None:
    client = run(name)
    assert (client.get("/users").status, client.upstream_requests) == (404, [])


def test_manual_of_migration_shows_the_examples_as_they_are() -> None:
    manual = (EXAMPLES.parent / "docs" / "migrating.md").read_text()
    for name in ("legacy_tenant", "tenant"):
        code = (EXAMPLES / f"{name}.py").read_text().partition('"""\n\n')[2].strip()
        assert f"```python\n{code}\n```" in manual
