"""Fixtures of the integration tests: one proxy that most of them share, certificates, a clean log."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kit import nothing_left_behind
from tests.integration.plan import Plan
from tests.support import proxy as proxies
from tests.support.authority import Authority
from tests.support.config import Config
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

PLUGINS = Path(__file__).parent / "plugins"

# Where the shared proxy sends what names no origin: nowhere, port 1 of the loopback refuses.
SHARED: Config = {
    "core": {"graceful_timeout": 5},
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"access_log_format": "json", "verbosity": "INFO"},
    "middleware": {
        "stack": "census, by_field",
        "census": {"class": "routing.Census"},
        "by_field": {"class": "routing.RouteByField"},
    },
}


@pytest.fixture(scope="session")
def shared_proxy() -> Iterator[Proxy]:
    """A proxy with default time-outs that sends each request where its X-Origin field says.

    When the last test is over, it must hold no descriptor, greenlet or stream more than at its start.
    """
    with running_proxy(SHARED, python_path=[PLUGINS]) as proxy:
        with nothing_left_behind(proxy):
            yield proxy


@pytest.fixture(scope="session")
def proxy(shared_proxy: Proxy) -> Proxy:
    """The proxy that a module is about: the shared one, unless the module has one of its own."""
    return shared_proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    """A connection to the module's proxy."""
    with Client(proxy.address) as client:
        yield client


@pytest.fixture(scope="module")
def plan() -> Plan:
    """What the module's requests find at its origins."""
    return Plan()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority of the module's own."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """A request target that no other test uses, to find its record in the access log."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return f"/{name}"


@pytest.fixture
def expected_tracebacks() -> None:
    """Ask for it in a test that provokes a traceback, and then count them."""


@pytest.fixture(autouse=True)
def no_traceback(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test may leave a traceback in the error log of any proxy it used."""
    before = {id(proxy): len(proxy.error_log()) for proxy in proxies.recent}
    yield
    if "expected_tracebacks" not in request.fixturenames:
        for proxy in proxies.recent:
            assert "Traceback" not in proxy.error_log()[before.get(id(proxy), 0) :]


class Certificates:
    """An authority and what it has signed; ``cert_file`` is for localhost and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run("req", "-x509", *_NEW_KEY, "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2")
        self.ca_file = folder / "ca.pem"
        self.cert_file, self.key_file = self._sign("server", "DNS:localhost,IP:127.0.0.1,IP:::1")
        self.other_cert_file, self.other_key_file = self._sign("other", "DNS:elsewhere.test")

    def server(self, name: str = "server") -> ssl.SSLContext:
        """A context for an origin that shows the certificate ``name``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def client(self) -> ssl.SSLContext:
        """A context for a client that believes the authority."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def _sign(self, name: str, names: str) -> tuple[Path, Path]:
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        self._run("req", *_NEW_KEY, f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        self._run(
            "x509", "-req", "-in", f"{name}.csr", *signing, "-extfile", f"{name}.ext", "-out", f"{name}.pem"
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so no certificate can be made")
    return Certificates(tmp_path_factory.mktemp("certificates"))
