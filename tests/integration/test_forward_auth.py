"""``forward_auth`` through the proxy: nginx says who may pass, and a service in every kind of trouble."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, post, record_of, records_of, response
from tests.integration.test_proxy_protocol_peers import nginx
from tests.support.origin import OK, Origin, OriginConnection, expect_request, hang, send, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

# The login page for who has no cookie, 403 for who may not write, and the names of those who may.
NGINX = """
http {{
    access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    map $cookie_session $user {{ default ""; "of-ada" ada; "of-bob" bob; }}
    map "$user $http_x_forwarded_method" $verdict {{
        default pass; "~^ " login; "~^bob (PUT|POST|DELETE)$" forbid;
    }}
    map $http_x_forwarded_uri $asked_for {{
        default "$http_x_forwarded_proto://$http_x_forwarded_host$http_x_forwarded_uri";
    }}
    server {{
        listen {address};
        location = /verify {{
            if ($verdict = login) {{
                return 302 "https://login.example/?rd=$asked_for";
            }}
            if ($verdict = forbid) {{ return 403 "not $user\n"; }}
            add_header Remote-User $user;
            add_header Set-Cookie "session=of-$user; Max-Age=60";
            return 204;
        }}
    }}
}}
"""


def config_for(origin: Origin, url: str, **options: Any) -> dict[str, Any]:
    return {
        "routing": {"upstream_hosts": origin.url},
        "logging": {"access_log_format": "json"},
        "middleware": {"stack": ["forward_auth"], "forward_auth": {"url": url, **options}},
    }


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Origin]]:
    folder: Path = tmp_path_factory.mktemp("nginx")
    with nginx(folder, NGINX) as (host, port), Origin(serve(OK), timeout=60) as origin:
        url = f"http://{host}:{port}/verify"
        options = {"copy_headers": ["Remote-User"], "response_headers": ["Set-Cookie"]}
        with running_proxy(config_for(origin, url, **options)) as proxy:
            yield proxy, origin


def test_who_is_known_passes_and_upstream_knows_who_it_is(guarded: tuple[Proxy, Origin]) -> None:
    proxy, origin = guarded
    with Client(proxy.address) as client:
        for name in (b"ada", b"bob"):
            spoofed = ("Remote-User: root", "remote_user: root", "REMOTE-USER: root")
            answer = client.ask(get("/x", f"Cookie: session=of-{name.decode()}", *spoofed))
            assert (answer.status, answer.body) == (200, b"ok")
            assert answer.get("set-cookie") == b"session=of-%b; Max-Age=60" % name
            assert origin.requests[-1].get_all("remote-user") == [name]
            assert origin.requests[-1].get("remote_user") is None
    assert {record["answered_by"] for record in records_of(proxy, "/x", 2)} == {"upstream"}


def test_who_is_not_known_gets_the_answer_of_the_service(guarded: tuple[Proxy, Origin]) -> None:
    proxy, origin = guarded
    before = len(origin.requests)
    with Client(proxy.address) as client:
        answer = client.ask(get("/private?a=b"))
        assert (answer.status, answer.get("location")) == (
            302,
            b"https://login.example/?rd=http://a.test/private?a=b",
        )
        refused = client.ask(post("/write", b"body", "Cookie: session=of-bob"))
        assert (refused.status, refused.body) == (403, b"not bob\n")
        assert client.ask(post("/write", b"body", "Cookie: session=of-ada")).status == 200
    assert len(origin.requests) == before + 1
    assert record_of(proxy, "/private?a=b")["answered_by"] == "forward_auth"


def test_method_cannot_be_forged(guarded: tuple[Proxy, Origin]) -> None:
    proxy, _ = guarded
    with Client(proxy.address) as client:
        forged = ("X-Forwarded-Method: GET", "x_forwarded_method: GET", "X-HTTP-Method-Override: GET")
        assert client.ask(post("/write", b"x", "Cookie: session=of-bob", *forged)).status == 403


def test_head_of_a_refused_request_has_no_body(guarded: tuple[Proxy, Origin]) -> None:
    proxy, _ = guarded
    with Client(proxy.address) as client:
        answer = client.ask(get("/", method="HEAD"), method="HEAD")
        assert (answer.status, answer.body) == (302, b"")
        assert client.ask(get("/", "Cookie: session=of-ada")).status == 200


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ([expect_request(), hang()], 503),
        ([expect_request(), send(response(b"x" * 70_000)), hang()], 502),
        ([expect_request(), send(b"220 mail.example ESMTP\r\n"), hang()], 502),
        ([expect_request(), send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), hang()], 502),
        ([expect_request()], 503),
    ],
    ids=["silent", "too much", "no HTTP", "101", "closes"],
)
def test_service_in_trouble_is_an_error_that_the_log_explains(script: Any, status: int) -> None:
    with Origin(serve(OK)) as origin, Origin(script) as service:
        config = config_for(origin, service.url, timeout=0.5)
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            answer = client.ask(get("/trouble"))
            assert (answer.status, origin.requests) == (status, [])
            assert answer.get("retry-after") == (b"1" if status == 503 else None)
            assert service.url.encode() not in answer.body
            record = record_of(proxy, "/trouble")
            assert (record["answered_by"], record["status"]) == ("forward_auth", status)
            proxy.wait_for_log(f"<Request GET /trouble>: {service.url}: ")
            assert "Traceback" not in proxy.error_log()


def test_head_that_trickles_in_is_a_timeout_and_keeps_no_connection_from_others() -> None:
    ended = threading.Event()

    def trickle(connection: OriginConnection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not ended.wait(0.01):
            connection.send(b"x")

    with Origin(serve(OK)) as origin, Origin([expect_request(), trickle], serve(OK)) as service:
        config = config_for(origin, service.url, timeout=0.5, connections=1)
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            assert client.ask(get("/trickling")).status == 503
            proxy.wait_for_log(f"{service.url}: no answer within 0.5 s")
            assert client.ask(get("/again")).status == 200
            ended.set()


def test_look_up_that_does_not_end_is_a_timeout() -> None:
    with Origin(serve(OK)) as origin:
        config = config_for(origin, "http://slow.test/verify", timeout=0.5)
        config["middleware"] = {
            **config["middleware"],
            "stack": ["slow_names", "forward_auth"],
            "slow_names": {"class": "slow_names.SlowNames"},
        }
        with running_proxy(config, python_path=[PLUGINS]) as proxy, Client(proxy.address) as client:
            assert client.ask(get("/slow")).status == 503
            proxy.wait_for_log("http://slow.test: no answer within 0.5 s")


def test_slow_service_delays_only_those_it_is_asked_about() -> None:
    def answer(request: Any) -> bytes:
        return response(b"", status="204 No Content")

    slow = [expect_request(), hang(), send(answer(None))]
    with Origin(serve(OK)) as origin, Origin(slow, serve(answer)) as service:
        config = config_for(origin, service.url, timeout=30)
        with running_proxy(config) as proxy, Client(proxy.address) as first, Client(proxy.address) as other:
            first.send(get("/slow"))
            service.wait_for_requests(1)
            assert [other.ask(get("/fast")).status for _ in range(20)] == [200] * 20
            assert first.is_silent()
            service.release()
            assert first.read_response().status == 200
            assert len(service.connections) == 2  # the fast ones share one
