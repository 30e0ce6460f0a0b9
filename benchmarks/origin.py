"""The origin behind all variants: one nginx worker with the same small answer, a 10 MiB file and a sink."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processes import Process, free_ports
from variants import HERE, Certificate, ConfigTemplate, Missing, executable

LARGE_BODY = 10 * 1024 * 1024  # bytes
SMALL_BODY = 254  # bytes of JSON


@dataclass(frozen=True)
class Origin:
    """The running origin; ``directory`` holds the 10 MiB file ``large``."""

    process: Process
    port: int
    directory: Path


def small_json() -> str:
    """Return a JSON document of exactly ``SMALL_BODY`` bytes."""
    head, tail = '{"id":4711,"name":"pyrox","tags":["proxy","http","gevent"],"text":"', '"}'
    return head + "x" * (SMALL_BODY - len(head) - len(tail)) + tail


def _required(name: str, package: str) -> str:
    try:
        return executable(name, package)
    except Missing as reason:
        raise SystemExit(f"cannot run: {reason}") from None


@contextlib.contextmanager
def running_origin(directory: Path) -> Iterator[Origin]:
    """Run the origin in ``directory``; without nginx the program ends."""
    (port,) = free_ports(1)
    directory.mkdir()
    directory.joinpath("large").write_bytes(bytes(range(256)) * (LARGE_BODY // 256))
    config = directory / "origin.conf"
    text = ConfigTemplate((HERE / "origin.conf").read_text())
    config.write_text(text.substitute(directory=directory, port=port, json=small_json()))
    nginx = _required("nginx", "Debian: nginx")
    command = [nginx, "-p", str(directory), "-e", "error.log", "-c", str(config)]
    with Process("origin", command, directory / "output.log") as process:
        process.wait_ready(port)
        yield Origin(process, port, directory)


def make_certificate(directory: Path) -> Certificate:
    """Make a self-signed P-256 certificate for this run with openssl."""
    pair = Certificate(directory / "cert.pem", directory / "key.pem")
    command = [
        _required("openssl", "Debian: openssl"), "req", "-x509", "-nodes", "-days", "2",
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", str(pair.key), "-out", str(pair.cert),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return pair
