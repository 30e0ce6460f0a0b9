"""What the built-in middleware do to heads: fields, pages, origins, choices, limits, in a running proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS, Certificates
from tests.integration.kit import (
    CHUNKED_HEAD,
    get,
    nothing_left_behind,
    post,
    record_of,
    response,
    response_head,
    tls_client,
    via,
)
from tests.support.config import Config, Value
from tests.support.origin import (
    OK,
    Origin,
    expect_close,
    expect_head,
    expect_request,
    hang,
    send,
    send_chunk,
    serve,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
PAGE = "https://app.test"


def config_of(pages: Path) -> Config:
    sections: dict[str, dict[str, Value]] = {
        "cors": {"origins": [PAGE, "https://*.app.test"], "methods": ["PUT"], "credentials": True},
        "error_pages": {"upstream": ["500-599"], "pages": {"404": str(pages / "404.html")}},
        "security_headers": {},
        "headers": {
            "request_rename": ["X-Old: X-New"],
            "request_set": ["X-Client: {client.address}", "X-Tls: {tls.version}/{tls.cipher}"],
            "response_set": ["X-Seen: {request.id} {response.status} {server}"],
        },
        "negotiate": {
            "media_types": ["application/json", "text/csv"],
            "consumes": ["application/json"],
            "versions": ["1", "2"],
            "vendor": "acme",
            "prefix": {"2": "/v2"},
        },
        "body_limit": {"request": 1000, "response": 1000},
    }
    for name, options in sections.items():
        options["when"] = f"PathPrefix(`/{name}`)"
    return {
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "logging": {"access_log_format": "json"},
        "middleware": {
            "stack": ["census", "request_id", *sections, "by_field"],
            "census": {"class": "routing.Census"},
            "by_field": {"class": "routing.RouteByField"},
            **sections,
        },
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "404.html").write_text("<p>{status} {detail} {request_id}</p>\n")
    return folder


@pytest.fixture(scope="module")
def proxy(pages: Path) -> Iterator[Proxy]:
    with running_proxy(config_of(pages), python_path=[PLUGINS]) as proxy:
        with nothing_left_behind(proxy):
            yield proxy


# --- cors


def preflight(origin: str, target: str = "/cors") -> bytes:
    fields = (f"Origin: {origin}", "Access-Control-Request-Method: PUT")
    return get(target, *fields, method="OPTIONS")


def test_preflight_is_answered_without_upstream(proxy: Proxy, client: Client) -> None:
    answer = client.ask(preflight(PAGE, "/cors/preflight"))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.get("access-control-allow-origin") == PAGE.encode()
    assert answer.get("access-control-allow-methods") == b"GET, HEAD, POST, PUT"
    assert client.ask(preflight("https://app.test.evil")).status == 403
    assert record_of(proxy, "/cors/preflight")["answered_by"] == "cors"


@pytest.mark.parametrize(
    "origin", ["null", "https://app.test.evil", "https://evilapp.test", "http://app.test"]
)
def test_stranger_cannot_read_and_upstream_has_no_say(client: Client, origin: str) -> None:
    fields = (f"Access-Control-Allow-Origin: {origin}", "Access-Control-Allow-Credentials: true")
    with Origin(serve(response(b"ok", *fields))) as upstream:
        answer = client.ask(get("/cors", f"Origin: {origin}", via(upstream)))
        assert (answer.status, answer.body, answer.get("vary")) == (200, b"ok", b"Origin")
        assert answer.get("access-control-allow-origin") is None
        assert answer.get("access-control-allow-credentials") is None


def test_error_of_the_proxy_may_be_read_by_the_page(client: Client) -> None:
    answer = client.ask(get("/cors", "Origin: https://pr-1.app.test"))
    assert (answer.status, answer.get("access-control-allow-origin")) == (502, b"https://pr-1.app.test")
    assert answer.get_all("vary") == [b"Origin"]


# --- error_pages


def test_error_of_the_proxy_has_a_page(proxy: Proxy, client: Client) -> None:
    answer = client.ask(get("/error_pages", BROWSER))
    assert (answer.status, answer.get("content-type")) == (502, b"text/html; charset=utf-8")
    assert b"<h1>502 Bad Gateway</h1>" in answer.body
    assert answer.get("proxy-status") == b"pyrox; error=connection_refused"
    identifier = answer.get("x-request-id")
    assert identifier and identifier in answer.body
    assert record_of(proxy, "/error_pages")["error"] == "connection_refused"
    head = client.ask(get("/error_pages?head", BROWSER, method="HEAD"), "HEAD")
    assert (head.status, head.body, head.get("content-length") is not None) == (502, b"", True)


def test_upstream_s_own_error_is_replaced_and_its_connection_kept(client: Client) -> None:
    theirs = response(b"Traceback: secret", "ETag: x", "Retry-After: 7", status="503 Service Unavailable")
    with Origin(serve(theirs, OK)) as upstream:
        answer = client.ask(get("/error_pages", "Accept: application/json", via(upstream)))
        assert (answer.status, answer.get("retry-after"), answer.get("etag")) == (503, b"7", None)
        assert json.loads(answer.body)["title"] == "Service Unavailable"
        assert client.ask(get("/error_pages", via(upstream))).body == b"ok"
        assert len(upstream.wait_for_connections(1)) == 1


def test_upstream_s_own_endless_error_is_replaced_at_once(client: Client) -> None:
    script = [
        expect_request(),
        send(response_head("Transfer-Encoding: chunked", status="500 X")),
        expect_close(),
    ]
    with Origin(script) as upstream:
        answer = client.ask(get("/error_pages", BROWSER, via(upstream)))
        assert (answer.status, answer.is_complete) == (500, True)
        assert b"<h1>500 Internal Server Error</h1>" in answer.body
        upstream.wait_for_end()  # nobody reads the rest


def test_other_errors_of_upstream_stay(client: Client) -> None:
    with Origin(serve(response(b"mine", status="404 Not Found"))) as upstream:
        assert client.ask(get("/error_pages", BROWSER, via(upstream))).body == b"mine"


# --- fields


def test_placeholders_are_filled_in(client: Client) -> None:
    with Origin(serve(OK)) as upstream:
        fields = ("X-Client: 6.6.6.6", "x-client: 7.7.7.7", "X-Tls: TLSv9/x", "X-New: spoofed", "X-Old: 1")
        answer = client.ask(get("/headers", *fields, via(upstream)))
        [seen] = upstream.wait_for_requests(1)
        assert seen.get_all("x-client") == [b"127.0.0.1"]
        assert seen.get_all("x-tls") == []
        assert (seen.get_all("x-new"), seen.get("x-old")) == ([b"1"], None)
        identifier = answer.get("x-request-id")
        assert answer.get("x-seen") == b"%b 200 %b" % (identifier, upstream.url.encode())


@pytest.mark.parametrize("value", ["a\x00b", "a\rb", "a\nX-Admin: 1", "a\r\n\tb"])
def test_what_would_end_a_field_does_not_get_in(client: Client, value: str) -> None:
    with Origin(serve(OK)) as upstream:
        answer = client.ask(get("/headers", f"X-Old: {value}", via(upstream)))
        assert answer.status == 400
        assert upstream.requests == []


def test_over_tls_they_say_so(pages: Path, certificates: Certificates) -> None:
    tls: dict[str, Value] = {"cert_file": str(certificates.cert_file), "key_file": str(certificates.key_file)}
    with (
        running_proxy({**config_of(pages), "ssl": tls}, python_path=[PLUGINS]) as proxy,
        Origin(serve(OK)) as up,
    ):
        with tls_client(proxy.address, certificates.client()) as client:
            answer = client.ask(get("/security_headers", via(up)))
            assert answer.get("strict-transport-security") == b"max-age=31536000; includeSubDomains"
            client.ask(get("/headers", via(up)))
        version, _, cipher = (up.wait_for_requests(2)[1].get("x-tls") or b"").partition(b"/")
        assert version in (b"TLSv1.2", b"TLSv1.3") and cipher.startswith((b"TLS_", b"ECDHE"))


def test_without_tls_they_do_not(client: Client) -> None:
    with Origin(serve(response(b"ok", "Server: x/1", "Strict-Transport-Security: max-age=9"))) as upstream:
        answer = client.ask(get("/security_headers", "X-Forwarded-Proto: https", via(upstream)))
        assert answer.get("strict-transport-security") is None
        assert (answer.get("server"), answer.get("x-content-type-options")) == (None, b"nosniff")


# --- negotiate


def test_version_becomes_a_prefix_and_the_rest_is_refused(client: Client) -> None:
    with Origin(serve(OK)) as upstream:
        answer = client.ask(get("/negotiate", "Accept: application/vnd.acme.v2+json", via(upstream)))
        assert (answer.status, answer.get("vary")) == (200, b"Accept")
        assert upstream.wait_for_requests(1)[0].start_line == b"GET /v2/negotiate HTTP/1.1"
        answer = client.ask(get("/negotiate", "Accept: image/png", via(upstream)))
        assert (answer.status, answer.get("vary")) == (406, b"Accept")
        assert answer.body.startswith(b"this is served as application/json, text/csv, ")
        answer = client.ask(post("/negotiate", b"x", "Content-Type: text/plain", via(upstream)))
        assert (answer.status, answer.get("accept")) == (415, b"application/json")
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("name", ["Accept", "Accept-Language", "Accept-Encoding", "Origin", "Cookie"])
def test_flood_in_a_field_is_answered(client: Client, name: str) -> None:
    with Origin(serve(OK)) as upstream:
        for flood in ("a/b;q=0.1," * 2000, '"' * 20000, "a-" * 10000, ", " * 10000):
            for target in ("/negotiate", "/cors", "/error_pages", "/headers"):
                assert client.ask(get(target, f"{name}: {flood}", via(upstream))).status in (200, 406)


# --- body_limit


def test_declared_request_is_refused_before_its_body(client: Client) -> None:
    with Origin(serve(OK)) as upstream:
        client.send(get("/body_limit", "Content-Length: 1001", via(upstream), method="POST"))
        assert client.read_response().status == 413
        assert upstream.connections == []


def test_declared_request_within_the_limit_goes_on_as_it_came(client: Client) -> None:
    with Origin(serve(OK)) as upstream:
        client.send(get("/body_limit", "Content-Length: 1000", via(upstream), method="POST"))
        client.send_pieces([b"x" * 400, b"x" * 600])
        assert client.read_response().status == 200
        assert upstream.requests[0].get("content-length") == b"1000"


def test_streamed_request_is_refused_when_it_has_become_too_long(client: Client) -> None:
    with Origin([expect_head(), expect_close()]) as upstream:
        client.send(get("/body_limit", "Transfer-Encoding: chunked", via(upstream), method="POST"))
        client.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n")
        answer = client.read_response()
        assert (answer.status, answer.body) == (413, b"the body may have 1000 bytes at most\n")
        assert not upstream.wait_for_end().received.endswith(b"0\r\n\r\n")


def test_declared_response_is_502(proxy: Proxy, client: Client) -> None:
    with Origin([expect_request(), send(response(b"x" * 1001)), expect_close()]) as upstream:
        answer = client.ask(get("/body_limit?declared", via(upstream)))
        assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=http_response_body_size")
    assert record_of(proxy, "/body_limit?declared")["status"] == 502
    with Origin(serve(response(b"x" * 1000))) as upstream:
        assert client.ask(get("/body_limit", via(upstream))).get("content-length") == b"1000"


def test_streamed_response_is_broken_off(client: Client) -> None:
    script = [expect_request(), send(CHUNKED_HEAD), send_chunk(b"x" * 900), send_chunk(b"x" * 101), hang()]
    with Origin(script) as upstream:
        client.send(get("/body_limit", via(upstream)))
        answer = client.read_response()
        assert (answer.status, answer.is_complete) == (200, False)
        assert len(answer.body) <= 1000
        upstream.release()
