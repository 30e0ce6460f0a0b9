"""Sessions that any worker resumes, whichever has begun them."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kit import get
from tests.support.authority import Authority, Pair
from tests.support.config import Config
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

# What answers by itself, and says in which process.
PROCESS = """
import os
from pyrox import Middleware, Response

class Process(Middleware):
    def __call__(self, request):
        certificate = request.client.certificate
        return Response(200, f"{os.getpid()} {certificate.subject if certificate else '-'}")
"""
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "tells_process.py").write_text(PROCESS)
    return folder


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("server", names="DNS:localhost")


def config(server: Pair, **options: object) -> Config:
    return {
        "ssl": {**server.options, **options},
        "middleware": {"stack": "process,", "process": {"class": "tells_process.Process"}},
    }


@pytest.fixture(scope="module")
def workers(server: Pair, authority: Authority, plugins: Path) -> Iterator[Proxy]:
    """A proxy with three workers and three certificates."""
    more = {name: authority.issue(name, names=f"DNS:{name}").options for name in ("a.test", "b.test")}
    with running_proxy(config(server, **more), workers=3, python_path=[plugins]) as proxy:
        proxy.worker_pids(3)
        yield proxy


def visit(
    proxy: Proxy, context: ssl.SSLContext, session: ssl.SSLSession | None = None, name: str = "localhost"
) -> tuple[str, bool, ssl.SSLSession]:
    """One request on a connection of its own; returns the answer, whether it was resumed, the new session."""
    with Client(proxy.address) as client:
        client.socket = connection = context.wrap_socket(client.socket, server_hostname=name, session=session)
        answer = client.ask(get()).body.decode()
        assert connection.session is not None
        return answer, bool(connection.session_reused), connection.session


def trusting(authority: Authority, version: ssl.TLSVersion, pair: Pair | None = None) -> ssl.SSLContext:
    context = authority.client(pair)
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["localhost", "b.test"])
def test_every_worker_resumes_the_sessions_of_every_other(
    workers: Proxy, authority: Authority, version: ssl.TLSVersion, name: str
) -> None:
    context = trusting(authority, version)
    first, resumed, session = visit(workers, context, name=name)
    assert not resumed
    seen = {first}
    for _ in range(300):
        answer, resumed, session = visit(workers, context, session, name)
        assert resumed
        seen.add(answer)
        if len(seen) == 3:
            return
    raise AssertionError(f"only {len(seen)} workers were met")


def test_one_ticket_can_be_used_again_and_again(workers: Proxy, authority: Authority) -> None:
    context = trusting(authority, ssl.TLSVersion.TLSv1_3)
    _, _, session = visit(workers, context)
    assert all(visit(workers, context, session)[1] for _ in range(20))


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_resumes_from_its_file(workers: Proxy, version: str, tmp_path: Path) -> None:
    file, verdicts = tmp_path / "session", []
    for options in (["-sess_out", file], *[["-sess_in", file, "-sess_out", file]] * 12):
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{workers.port}",
            version,
            "-ign_eof",
            *options,
        ]
        request = get("/", "Connection: close")
        done = subprocess.run(command, input=request, capture_output=True, timeout=30, check=False)
        found = re.search(rb"^(New|Reused), TLS", done.stdout, re.MULTILINE)
        assert found, done.stderr
        verdicts.append(found[1])
    assert verdicts == [b"New"] + [b"Reused"] * 12


def test_s_client_reconnects_with_its_session(workers: Proxy) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{workers.port}", "-tls1_2", "-reconnect"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    assert done.stdout.count(b"\nReused, TLSv1.2") == 5


def test_ticket_that_nobody_made_means_a_full_handshake(
    workers: Proxy, authority: Authority, server: Pair, plugins: Path
) -> None:
    context = trusting(authority, ssl.TLSVersion.TLSv1_3)
    with running_proxy(config(server), python_path=[plugins]) as other:
        _, _, foreign = visit(other, context)
    _, resumed, _ = visit(workers, context, foreign)
    assert not resumed


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_session_still_says_who_the_client_is(
    authority: Authority, server: Pair, plugins: Path, version: ssl.TLSVersion
) -> None:
    ada = authority.issue("ada", subject="/CN=ada")
    options = {"client_certificates": "required", "client_ca_file": str(authority.ca_file)}
    with running_proxy(config(server, **options), python_path=[plugins]) as proxy:
        context = trusting(authority, version, ada)
        first, resumed, session = visit(proxy, context)
        assert (first.partition(" ")[2], resumed) == ("CN=ada", False)
        again, resumed, _ = visit(proxy, context, session)
        assert (again, resumed) == (first, True)


@pytest.mark.parametrize("version", VERSIONS)
def test_session_without_a_certificate_does_not_get_past_a_reload_that_demands_one(
    authority: Authority, server: Pair, plugins: Path, version: ssl.TLSVersion
) -> None:
    with running_proxy(config(server), python_path=[plugins]) as proxy:
        context = trusting(authority, version)
        _, _, session = visit(proxy, context)
        before = proxy.worker_pids(1)
        file = proxy.folder / "pyrox.ini"
        demand = f"[ssl]\nclient_certificates = required\nclient_ca_file = {authority.ca_file}"
        file.write_text(file.read_text().replace("[ssl]", demand))
        proxy.signal(signal.SIGHUP)
        proxy.wait_until(lambda: not set(proxy.worker_pids(1)) & set(before), "a new worker")
        with pytest.raises((ssl.SSLError, ConnectionError, PeerClosed)):
            visit(proxy, context, session)
