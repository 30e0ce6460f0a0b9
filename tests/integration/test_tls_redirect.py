"""The listener that sends clients of plain HTTP to https, and asks no upstream."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.kit import get, post, tls_client
from tests.support.authority import Authority, Pair
from tests.support.config import Config
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Address, Client


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("server", names="DNS:localhost")


def config(server: Pair, **options: object) -> Config:
    return {
        "ssl": {**server.options, "redirect_bind": "127.0.0.1:0", **options},
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "logging": {"access_log_format": "json", "verbosity": "INFO"},
        "core": {"graceful_timeout": 5},
    }


@pytest.fixture(scope="module")
def proxy(server: Pair) -> Iterator[Proxy]:
    with running_proxy(config(server), binds=["127.0.0.1:0"], workers=2) as proxy:
        proxy.address = proxy.addresses()[0]
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(redirecting(proxy)) as client:
        yield client


def redirecting(proxy: Proxy) -> Address:
    return proxy.addresses()[1]


def request(target: str, host: str | None, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", *([f"Host: {host}"] if host is not None else []), "", ""]
    return "\r\n".join(lines).encode()


def test_the_two_listeners_are_told_apart(proxy: Proxy, authority: Authority) -> None:
    tls, plain = proxy.addresses()
    assert (
        f"listening at https://127.0.0.1:{tls[1]}, http://127.0.0.1:{plain[1]}, 2 workers"
        in proxy.error_log()
    )
    with tls_client(tls, authority.client()) as client:
        assert client.ask(get()).status == 502  # it goes upstream, where nobody is


@pytest.mark.parametrize(
    ("target", "host", "location"),
    [
        ("/", "a.test", "https://a.test/"),
        ("/a/b?c=d&e=%2F", "a.test", "https://a.test/a/b?c=d&e=%2F"),
        ("/a", "a.test:8080", "https://a.test/a"),
        ("/a", "a.test:", "https://a.test/a"),
        ("/a", "A.Test", "https://A.Test/a"),
        ("/a", "127.0.0.1:80", "https://127.0.0.1/a"),
        ("/a", "[::1]", "https://[::1]/a"),
        ("/a", "[::1]:80", "https://[::1]/a"),
        ("//evil.test/a", "a.test", "https://a.test//evil.test/a"),
        ("/\\evil.test", "a.test", "https://a.test/\\evil.test"),
        ("http://b.test/a?b", "a.test", "https://b.test/a?b"),  # RFC 9112 3.2.2: this is what is asked for
    ],
)
def test_location_is_the_same_url_under_https(client: Client, target: str, host: str, location: str) -> None:
    answer = client.ask(request(target, host))
    assert (answer.status, answer.get("location")) == (301, location.encode())
    assert client.ask(request(target, host)).status == 301  # on the same connection


NO_HOSTS = (
    *("", ".", "-", "[::1", "[evil]", "[::1%25eth0]", "%65vil.test", "a'\"<b>", "\x7f", "a.test\tb"),
    *("@evil.test", "a.test@evil.test", "a.test/evil.test", "a.test\\evil.test", "a.test,evil.test"),
    *("a.test evil.test", "a.test#", "a.test?", "a.test:x", "a.test:80:90"),
)


@pytest.mark.parametrize("host", NO_HOSTS)
def test_host_that_is_none_is_refused(client: Client, host: str) -> None:
    answer = client.ask(request("/", host))
    assert (answer.status, answer.get("location")) == (400, None)


@pytest.mark.parametrize(
    "raw",
    [
        request("/", None),
        request("/", None, version="1.0"),
        b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: evil.test\r\n\r\n",
        b"GET http://a.test@evil.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET evil.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\nLocation: b\r\n\r\n",
    ],
)
def test_request_without_one_clear_host_is_refused(client: Client, raw: bytes) -> None:
    answer = client.ask(raw)
    assert (answer.status, answer.get("location")) == (400, None)


def test_field_of_a_client_does_not_choose_the_host(client: Client) -> None:
    answer = client.ask(
        get("/", "X-Forwarded-Host: evil.test", "Forwarded: host=evil.test", "X-Forwarded-Proto: https")
    )
    assert answer.get("location") == b"https://a.test/"


def test_http_1_0_with_a_host_is_redirected(client: Client) -> None:
    answer = client.ask(request("/a", "a.test", version="1.0"))
    assert (answer.status, answer.get("location")) == (301, b"https://a.test/a")


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308), ("OPTIONS", 308)],
)
def test_method_stays_what_it_is(client: Client, method: str, status: int) -> None:
    answer = client.ask(request("/a", "a.test", method), method)
    assert (answer.status, answer.get("location")) == (status, b"https://a.test/a")


def test_asterisk_becomes_the_root(client: Client) -> None:
    assert client.ask(request("*", "a.test", "OPTIONS")).get("location") == b"https://a.test/"


def test_body_is_not_asked_for(client: Client) -> None:
    answer = client.ask(post("/a", b"x" * 1000))
    assert (answer.status, answer.get("location")) == (308, b"https://a.test/a")
    assert client.ask(get("/b")).get("location") == b"https://a.test/b"


def test_answer_is_in_the_access_log(proxy: Proxy, client: Client, target: str) -> None:
    client.ask(get(target))
    with Client(redirecting(proxy)) as other:
        other.ask(get("/flush", "Referer: " + "x" * 9000))
    proxy.wait_until(lambda: any(target in line for line in proxy.access_log()), "its line")
    [line] = [line for line in proxy.access_log() if target in line]
    assert '"status":301' in line
    assert '"answered_by":"pyrox"' in line


def test_port_of_the_tls_listener_is_an_option(server: Pair, authority: Authority) -> None:
    with Origin(serve(OK)) as origin:
        settings = {**config(server, redirect_port=8443), "routing": {"upstream_hosts": origin.url}}
        with running_proxy(settings, binds=["127.0.0.1:0"]) as proxy:
            with Client(redirecting(proxy)) as client:
                assert client.ask(get("/a")).get("location") == b"https://a.test:8443/a"
                client.send(request("/a", "[::1]:80"))
                assert client.read_response().get("location") == b"https://[::1]:8443/a"
            assert origin.requests == []
            with tls_client(proxy.addresses()[0], authority.client()) as client:
                assert client.ask(get()).status == 200


def test_curl_follows_it_to_the_page(server: Pair, authority: Authority) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with Origin(serve(OK)) as origin:
        settings = {**config(server), "routing": {"upstream_hosts": origin.url}}
        with running_proxy(settings, binds=["127.0.0.1:0"]) as proxy:
            tls, plain = (address[1] for address in proxy.addresses())
            command = ["curl", "-sS", "-L", "--cacert", str(authority.ca_file)]
            command += ["--connect-to", f"localhost:443:127.0.0.1:{tls}"]
            command += ["--connect-to", f"localhost:80:127.0.0.1:{plain}", "http://localhost/page"]
            done = subprocess.run(command, capture_output=True, timeout=30, check=True)
            assert done.stdout == b"ok"
            [asked] = origin.requests
            assert asked.get("x-forwarded-proto") == b"https"


def test_listener_survives_a_reload(server: Pair, authority: Authority) -> None:
    with Origin(serve(OK)) as origin:
        settings = {**config(server), "routing": {"upstream_hosts": origin.url}}
        with running_proxy(settings, binds=["127.0.0.1:0"]) as proxy:
            tls, plain = proxy.addresses()
            before = set(proxy.worker_pids(1))
            file = proxy.folder / "pyrox.ini"
            file.write_text(file.read_text().replace("[ssl]", "[ssl]\nredirect_port = 444"))
            proxy.signal(signal.SIGHUP)
            proxy.wait_until(lambda: not before & set(proxy.worker_pids()), "a new worker")
            with Client(plain) as client:
                assert client.ask(get("/a")).get("location") == b"https://a.test:444/a"
            with tls_client(tls, authority.client()) as client:
                assert client.ask(get()).status == 200
