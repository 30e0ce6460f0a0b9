"""The PROXY protocol with those who speak it: HAProxy and nginx, on both sides."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Certificates
from tests.integration.kit import get
from tests.support.config import Config
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import TIMEOUT, Address, Wire

CLIENT = "127.0.0.3"  # HAProxy and nginx come from 127.0.0.1, so this address can only have been told

HAPROXY = """
global
    maxconn 100
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind fd@{fd} {bind}
    {rule}
"""
NGINX = """
{load} daemon off; user {user}; worker_processes 1; pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
{block}
"""
NGINX_HTTP = """
http {{
    access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen {address} proxy_protocol;
        return 200 "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_port";
    }}
}}
"""
NGINX_STREAM = "stream {{ server {{ listen {address}; proxy_protocol on; proxy_pass {server}; }} }}"


@contextlib.contextmanager
def running(program: str, *arguments: str, listener: socket.socket, **environment: str) -> Iterator[Address]:
    """Run ``program``, which serves ``listener``; its address."""
    with listener:
        command = [program, *arguments]
        env = {**os.environ, **environment}
        process = subprocess.Popen(command, env=env, pass_fds=[listener.fileno()])
        address = listener.getsockname()
    try:
        yield address
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextlib.contextmanager
def haproxy(folder: Path, mode: str = "http", bind: str = "", rule: str = "") -> Iterator[Address]:
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("haproxy is not installed")
    listener = socket.create_server(("127.0.0.1", 0))
    file = folder / "haproxy.cfg"
    file.write_text(HAPROXY.format(mode=mode, fd=listener.fileno(), bind=bind, rule=rule))
    with running(program, "-db", "-q", "-f", str(file), listener=listener) as address:
        yield address


@contextlib.contextmanager
def nginx(folder: Path, block: str, load: str = "", **words: str) -> Iterator[Address]:
    program = _nginx()
    folder.chmod(0o755)
    listener = socket.create_server(("127.0.0.1", 0))
    place = f"127.0.0.1:{listener.getsockname()[1]}"
    block = block.format(folder=folder, address=place, **words)
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(load=load, folder=folder, user=getpass.getuser(), block=block))
    arguments = ["-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")]
    with running(program, *arguments, listener=listener, NGINX=f"{listener.fileno()};") as address:
        yield address


def _nginx() -> str:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    return program


class Stranger(Wire):
    """A client that is nobody else."""

    def __init__(self, address: Address) -> None:
        super().__init__(socket.create_connection(address, TIMEOUT, (CLIENT, 0)))  # type: ignore[arg-type]

    def __enter__(self) -> Stranger:
        return self

    def ask(self, request: bytes) -> bytes:
        self.send(request)
        response = self.read_final_response()
        assert response.status == 200
        return response.body

    @property
    def name(self) -> str:
        host, port = self.socket.getsockname()
        return f"{host}:{port}"


# --- before Pyrox


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(serve(OK)) as origin:
        yield origin


@pytest.fixture
def hearing(origin: Origin) -> Iterator[Proxy]:
    config: Config = {
        "routing": {"upstream_hosts": origin.url},
        "http": {"proxy_protocol_from": "127.0.0.1"},
        "logging": {"access_log_format": "json", "verbosity": "INFO"},
    }
    with running_proxy(config) as proxy:
        yield proxy


@pytest.mark.parametrize(
    "how",
    [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2-ssl-cn",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl,cert-cn",
    ],
)
def test_haproxy_names_its_client(
    hearing: Proxy, origin: Origin, target: str, tmp_path: Path, how: str
) -> None:
    rule = f"unique-id-format %pid-%rt\n    default_backend back\nbackend back\n    {_server(hearing, how)}"
    with haproxy(tmp_path, "tcp", "", rule) as address, Stranger(address) as client:
        assert [client.ask(get(target)) for _ in range(2)] == [b"ok"] * 2
    assert [request.get("x-forwarded-for") for request in origin.requests] == [CLIENT.encode()] * 2
    assert "PROXY protocol" not in hearing.error_log()


def test_haproxy_says_that_its_client_spoke_tls(
    hearing: Proxy, origin: Origin, target: str, tmp_path: Path, certificates: Certificates
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.cert_file.read_bytes() + certificates.key_file.read_bytes())
    rule = f"default_backend back\nbackend back\n    {_server(hearing, 'send-proxy-v2-ssl')}"
    with haproxy(tmp_path, "tcp", f"ssl crt {both}", rule) as address, Stranger(address) as client:
        client.socket = certificates.client().wrap_socket(client.socket, server_hostname="localhost")
        assert client.ask(get(target)) == b"ok"
    [request] = origin.requests
    assert request.get("x-forwarded-for") == CLIENT.encode()
    assert request.get("x-forwarded-proto") == b"https"


def test_haproxys_health_checks_are_its_own(
    hearing: Proxy, origin: Origin, target: str, tmp_path: Path
) -> None:
    server = _server(hearing, "send-proxy-v2 check-send-proxy check inter 100ms")
    check = f"option httpchk\n    http-check send meth GET uri {target} ver HTTP/1.1 hdr Host a.test"
    with haproxy(tmp_path, "http", "", f"default_backend back\nbackend back\n    {check}\n    {server}"):
        origin.wait_for_requests(2)
    assert "PROXY protocol" not in hearing.error_log()
    assert origin.requests[0].get("x-forwarded-for") == b"127.0.0.1"


def _server(proxy: Proxy, how: str) -> str:
    return f"server pyrox 127.0.0.1:{proxy.port} {how}"


def test_nginx_names_its_client(hearing: Proxy, origin: Origin, target: str, tmp_path: Path) -> None:
    program = _nginx()
    built = subprocess.run([program, "-V"], capture_output=True, text=True, check=True, timeout=30).stderr
    folder = re.search(r"--modules-path=(\S+)", built)
    module = Path(folder[1] if folder else "/") / "ngx_stream_module.so"
    if "--with-stream=dynamic" in built and not module.exists():
        pytest.skip("nginx's stream module is not installed")
    if "--with-stream" not in built:
        pytest.skip("nginx was built without its stream module")
    load = f"load_module {module};" if module.exists() else ""
    server = f"127.0.0.1:{hearing.port}"
    with nginx(tmp_path, NGINX_STREAM, load, server=server) as address, Stranger(address) as client:
        assert client.ask(get(target)) == b"ok"
    assert origin.requests[0].get("x-forwarded-for") == CLIENT.encode()


# --- behind Pyrox


@pytest.fixture(params=["v1", "v2"])
def upstream(request: pytest.FixtureRequest, certificates: Certificates) -> dict[str, str]:
    return {"proxy_protocol": request.param, "ca_file": str(certificates.ca_file)}


def test_haproxy_hears_the_clients_name(upstream: dict[str, str], tmp_path: Path) -> None:
    said = 'http-request return content-type text/plain lf-string "%[src]:%[src_port] %[dst_port]"'
    with haproxy(tmp_path, "http", "accept-proxy", said) as address:
        _check_names(f"http://127.0.0.1:{address[1]}", upstream)


def test_haproxy_hears_the_clients_name_before_tls(
    upstream: dict[str, str], tmp_path: Path, certificates: Certificates
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.cert_file.read_bytes() + certificates.key_file.read_bytes())
    said = 'http-request return content-type text/plain lf-string "%[src]:%[src_port] %[dst_port]"'
    with haproxy(tmp_path, "http", f"accept-proxy ssl crt {both}", said) as address:
        _check_names(f"https://127.0.0.1:{address[1]}", upstream)


def test_nginx_hears_the_clients_name(upstream: dict[str, str], tmp_path: Path) -> None:
    with nginx(tmp_path, NGINX_HTTP) as address:
        _check_names(f"http://127.0.0.1:{address[1]}", upstream)


def _check_names(url: str, upstream: dict[str, str]) -> None:
    """Ask twice as two clients, in turn; each must be told its own name."""
    with running_proxy({"routing": {"upstream_hosts": url}, "upstream": upstream}) as proxy:
        with Stranger(proxy.address) as one, Stranger(proxy.address) as two:
            for client in (one, two, one, two):
                assert client.ask(get()).decode() == f"{client.name} {proxy.port}"
