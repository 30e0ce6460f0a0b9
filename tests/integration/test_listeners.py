"""Where Pyrox listens, and where it connects to: IPv6, several addresses, unix sockets, nginx."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Certificates
from tests.integration.kit import get, pattern, post, records_of
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import running_proxy
from tests.support.wire import Client, connect

JSON_LOG = {"access_log_format": "json"}


def test_ipv6_bind_and_ipv6_upstream(target: str) -> None:
    with Origin(serve(OK)) as origin, running_proxy(_to(origin), binds=["[::1]:0"]) as proxy:
        [address] = proxy.addresses()
        assert address[0] == "::1"
        with Client(address) as client:
            assert client.ask(get(target)).status == 200
        assert origin.requests[0].get("x-forwarded-for") == b"::1"
        with running_proxy(_to(f"http://[::1]:{address[1]}")) as second, Client(second.address) as client:
            assert client.ask(get(target)).status == 200


def test_every_one_of_several_binds_is_served(target: str) -> None:
    with Origin(serve(OK)) as origin:
        with running_proxy(_to(origin), binds=["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"]) as proxy:
            addresses = proxy.addresses()
            assert len(set(addresses)) == 3
            for address in addresses * 2:
                with Client(address) as client:
                    assert client.ask(get(target)).status == 200


def test_start_says_https_where_tls_is_on(certificates: Certificates) -> None:
    ssl = {"cert_file": str(certificates.cert_file), "key_file": str(certificates.key_file)}
    for config, scheme in (({"ssl": ssl}, "https"), ({}, "http")):
        with running_proxy(config, binds=["127.0.0.1:0"]) as proxy:
            [(host, port)] = proxy.addresses()
            assert f"listening at {scheme}://{host}:{port}, 1 worker" in proxy.error_log()


def test_unix_socket_bind_and_unix_socket_upstream(target: str) -> None:
    with Origin(serve(OK)) as origin, running_proxy(_to(origin), binds=["unix:{folder}/front.sock"]) as proxy:
        [path] = proxy.addresses()
        assert isinstance(path, str)
        with Client(path) as client:
            assert client.ask(get(target)).status == 200
        proxy.wait_until(lambda: len(proxy.access_log()) == 1, "the access log")
        with running_proxy(_to(f"unix:{path}")) as second, Client(second.address) as client:
            body = b"".join(pattern(1 << 20))
            assert client.ask(post(target, body)).status == 200
            assert client.ask(get(target)).status == 200
            assert origin.requests[1].body == body
        assert proxy.terminate() == 0
        assert not Path(path).exists()


@pytest.mark.parametrize(("trusted", "told"), [("unix", b"203.0.113.9, unknown"), ("", b"unknown")])
def test_what_a_peer_at_a_unix_socket_says_of_its_client_counts_when_it_is_trusted(
    trusted: str, told: bytes, target: str
) -> None:
    with Origin(serve(OK)) as origin:
        config = {**_to(origin), "http": {"trusted_proxies": trusted}, "logging": JSON_LOG}
        with running_proxy(config, binds=["127.0.0.1:0", "unix:{folder}/front.sock"]) as proxy:
            address, path = proxy.addresses()
            fields = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")
            for where in (path, address):
                with Client(where) as client:
                    assert client.ask(get(target, *fields)).status == 200
            by_socket, by_address = origin.requests
            proto = b"https" if trusted else b"http"
            assert (by_socket.get("x-forwarded-for"), by_socket.get("x-forwarded-proto")) == (told, proto)
            assert by_address.get("x-forwarded-for") == b"127.0.0.1"
            proxy.address = address  # for what asks it to write its log
            clients = [record["client"] for record in records_of(proxy, target, 2)]
            assert clients == ["203.0.113.9" if trusted else "unix", "127.0.0.1"]


def test_unix_socket_upstream_that_nobody_serves_is_a_502(tmp_path: Path, target: str) -> None:
    with running_proxy(_to(f"unix:{tmp_path}/nobody.sock")) as proxy, Client(proxy.address) as client:
        answer = client.ask(get(target))
        assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=connection_refused")


def test_unix_socket_upstream_whose_backlog_is_full_is_no_success(tmp_path: Path, target: str) -> None:
    """connect() on it says EAGAIN, and that is not the start of a connection."""
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(path)
        full.listen(0)
        filling = connect(path)
        with running_proxy(_to(f"unix:{path}")) as proxy, Client(proxy.address) as client:
            answer = client.ask(post(target, b"pay"))
            assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=connection_refused")
        filling.close()


def test_servers_are_taken_in_turn(target: str) -> None:
    with Origin(serve(OK)) as one, Origin(serve(OK)) as two, Origin(serve(OK)) as three:
        config = {"routing": {"upstream_hosts": [one.url, two.url, three.url]}}
        with running_proxy(config) as proxy, Client(proxy.address) as client:
            for number in range(9):
                assert client.ask(get(f"/{number}")).status == 200
        seen = [[request.target for request in origin.requests] for origin in (one, two, three)]
        first = seen.index(["/0", "/3", "/6"])  # each worker begins somewhere else
        assert seen[first:] + seen[:first] == [["/0", "/3", "/6"], ["/1", "/4", "/7"], ["/2", "/5", "/8"]]
        assert [len(origin.connections) for origin in (one, two, three)] == [1, 1, 1]


def test_name_that_does_not_resolve_is_a_502_that_says_so(target: str) -> None:
    config = {**_to("http://no-such-host.invalid:80"), "logging": {"access_log_format": "json"}}
    with running_proxy(config) as proxy, Client(proxy.address) as client:
        answer = client.ask(get(target))
        assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=dns_error")
        assert client.ask(get(target)).status == 502
        assert [record["error"] for record in records_of(proxy, target, 2)] == ["dns_error"] * 2


def test_name_that_can_be_none_is_a_502_without_a_traceback(client: Client, target: str) -> None:
    answer = client.ask(get(target, f"X-Origin: http://{'a' * 64}.test"))
    assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=dns_error")


BIG = b"".join(pattern(3 << 20))
NGINX = """
daemon off; user {user}; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {folder}/body; client_max_body_size 2m; sendfile on;
    proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    keepalive_requests 10;
    server {{
        listen {address};
        root {folder};
        location /where {{ return 200 "$request_method $request_uri $http_host $http_x_forwarded_for"; }}
        location /big {{ gzip off; }}
        location /put {{ return 201; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real nginx."""
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    (folder / "big").write_bytes(BIG)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # nginx takes over a listener that it inherits, as it does from its predecessor in an upgrade.
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        (folder / "nginx.conf").write_text(
            NGINX.format(folder=folder, address=address, user=getpass.getuser())
        )
        command = [
            program,
            "-p",
            str(folder),
            "-c",
            str(folder / "nginx.conf"),
            "-e",
            str(folder / "error.log"),
        ]
        environment = {**os.environ, "NGINX": f"{listener.fileno()};"}
        process = subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()])
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_nginx_gets_requests_and_its_answers_come_back(nginx: str) -> None:
    with running_proxy(_to(nginx)) as proxy, Client(proxy.address) as client:
        answer = client.ask(get("/where?a=b"))
        assert answer.body == b"GET /where?a=b a.test 127.0.0.1"
        assert answer.get("via") == b"1.1 pyrox"
        assert client.ask(get("/big")).body == BIG
        assert client.ask(get("/big", "Range: bytes=5-9")).body == BIG[5:10]
        head = client.ask(get("/big", method="HEAD"), "HEAD")
        assert (head.get("content-length"), head.body) == (b"3145728", b"")
        etag = (head.get("etag") or b"").decode()
        assert client.ask(get("/big", f"If-None-Match: {etag}")).status == 304
        assert client.ask(get("/missing")).status == 404
        assert client.ask(post("/put", b"x" * 100_000)).status == 201


def test_nginx_that_ends_connections_after_ten_requests_costs_nobody_an_answer(nginx: str) -> None:
    with running_proxy(_to(nginx)) as proxy, Client(proxy.address) as client:
        assert {client.ask(get("/where")).status for _ in range(55)} == {200}
        assert {client.ask(post("/put", b"x")).status for _ in range(55)} == {201}


def test_nginx_refuses_a_large_upload_early_and_the_client_hears_it(nginx: str) -> None:
    with running_proxy(_to(nginx)) as proxy, Client(proxy.address) as client:
        client.send(get("/put", f"Content-Length: {5 << 20}", method="POST"))
        client.send_pieces(pattern(5 << 20))
        assert client.read_response().status == 413


def test_curl_shows_the_exchange_with_nginx(nginx: str) -> None:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    with running_proxy(_to(nginx)) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/where"
        done = subprocess.run([program, "-sSv", url, url], capture_output=True, timeout=30, check=True)
    assert done.stderr.count(b"< HTTP/1.1 200 OK") == 2
    assert b"Re-using existing connection" in done.stderr or b"re-using" in done.stderr.lower()
    assert done.stdout.count(b"GET /where") == 2


def _to(upstream: Origin | str) -> dict[str, dict[str, str]]:
    return {"routing": {"upstream_hosts": upstream if isinstance(upstream, str) else upstream.url}}


def test_slow_event_loop_is_warned_of() -> None:
    with Origin(serve(OK)) as origin:
        settings = {"routing": {"upstream_hosts": origin.url}}
        with running_proxy(settings, env={"GEVENT_BACKEND": "poll"}) as proxy:
            proxy.wait_for_log("unset GEVENT_LOOP and GEVENT_BACKEND")
            with Client(proxy.address) as client:
                assert client.ask(get()).status == 200
