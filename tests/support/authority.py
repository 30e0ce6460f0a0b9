"""Certificates for tests, made with the ``openssl`` command::

authority = Authority(tmp_path)
pair = authority.issue("server", names="DNS:localhost,IP:127.0.0.1")
context.load_cert_chain(pair.cert, pair.key)
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_NEW_KEYS = {
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
    "rsa": ("-newkey", "rsa:2048"),
}


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and of its key."""

    cert: Path
    key: Path

    @property
    def options(self) -> dict[str, str]:
        """The two as options of a configuration."""
        return {"cert_file": str(self.cert), "key_file": str(self.key)}

    def serial(self) -> str:
        """The certificate's serial number in hexadecimal, whole octets as OpenSSL writes them."""
        output = subprocess.run(
            ["openssl", "x509", "-in", self.cert, "-noout", "-serial"], capture_output=True, check=True
        )
        return output.stdout.decode().strip().partition("=")[2]

    def copy_to(self, other: Pair) -> None:
        """Put these files in the place of the other's, each at once, as tools for certificates do."""
        for source, target in ((self.cert, other.cert), (self.key, other.key)):
            new = target.with_suffix(".new")
            shutil.copy(source, new)
            new.replace(target)


class Authority:
    """Signs what it is asked to; ``ca_file`` is its own certificate."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed, so no certificate can be made")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        subject = ("-subj", f"/CN={name}", "-days", "2")
        self._run("req", "-x509", *_NEW_KEYS["ec"], "-nodes", "-keyout", "ca.key", "-out", "ca.pem", *subject)

    def issue(
        self,
        name: str,
        *,
        names: str = "",
        subject: str = "",
        days: int = 2,
        key: str = "ec",
        more: str = "",
        serial: str = "",
    ) -> Pair:
        """Make a key and a certificate for it.

        ``names`` are alternative names as OpenSSL writes them (``DNS:a.test``), ``subject`` is its
        ``/CN=...``, ``days`` below 0 makes it expired, ``more`` are further lines of its extensions,
        ``serial`` is its number in hexadecimal digits, random when empty.
        """
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        extensions = self.folder / f"{name}.ext"
        lines = (f"subjectAltName={names}\n" if names else "") + more
        extensions.write_bytes(lines.encode(errors="surrogateescape"))  # names of any bytes
        request = ("-subj", subject or f"/CN={name}", "-utf8", "-nodes", "-out", f"{name}.csr")
        self._run("req", *_NEW_KEYS[key], "-keyout", pair.key.name, *request)
        number = ("-set_serial", f"0x{serial}") if serial else ("-CAcreateserial",)
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", *number, "-days", str(days))
        files = ("-in", f"{name}.csr", "-extfile", extensions.name, "-out", pair.cert.name)
        self._run("x509", "-req", *files, *signing)
        return pair

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """A context for a client that believes this authority, and shows ``pair`` when asked."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return context

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
