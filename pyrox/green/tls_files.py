"""``CertificateFiles``: certificates and keys on disk, watched by the master and handed to its workers.

Only the master may be able to read a private key: workers have given up its rights. So the master looks
whether files have changed, tries what is new, and writes it into a piece of memory without a name that it
shares with its workers. What cannot be used never gets there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from pyrox.config_tls import pair_problems
from pyrox.settings import Settings

log = logging.getLogger("pyrox")

Pem = tuple[bytes, bytes]  # the chain and the key, as they were in their files

LISTENER, UPSTREAM = "[ssl]", "[upstream]"  # labels of the pairs; those of sections follow from LISTENER
_DIGEST_SIZE = hashlib.sha256().digest_size


def label_of(name: str) -> str:
    """Return the label of the pair in the section ``[[name]]`` of [ssl]."""
    return f"{LISTENER} [[{name}]]"


class CertificateFiles:
    """The pairs of certificate and key that ``settings`` name, as they were when they were last good.

    ``pems`` has them by label. Raises ``OSError`` when one cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._paths = _paths(settings)
        self._seen = self._pending = self._look()  # first, so that what changes now is new later
        self.pems = {label: _read(*paths) for label, paths in self._paths.items()}
        # Closed with the last reference to this: a master makes one for each reload.
        self._memory = FileIO(os.memfd_create("pyrox-certificates"), "w+")
        self._digest = bytes(_DIGEST_SIZE)

    def reread(self) -> bool:
        """In the master: take what has changed on disk since the last call; returns whether it is usable.

        Something has changed when it is different from what is in use and the same twice in a row: a
        certificate and its key are rarely replaced in the same instant.
        """
        found = self._look()
        is_settled, self._pending = found == self._pending, found
        if found == self._seen or not is_settled:
            return False
        changed = [label for label in self._paths if found[label] != self._seen[label]]
        self._seen = found
        taken = [label for label in changed if self._take(label)]
        return bool(taken)

    def _take(self, label: str) -> bool:
        paths = self._paths[label]
        problems = list(pair_problems(*paths))
        for key, reason in problems:
            log.error("%s %s: %s; the certificate from before stays in use", label, key, reason)
        if problems:
            return False
        try:
            self.pems[label] = _read(*paths)
        except OSError as error:  # gone since the look at it
            log.error("%s: %s; the certificate from before stays in use", label, error)
            return False
        log.info("%s: %r is new and used from now on", label, paths[0])
        return True

    def publish(self) -> None:
        """In the master: let the workers have the pairs."""
        texts = {label: [part.decode("latin-1") for part in pem] for label, pem in self.pems.items()}
        content = json.dumps(texts).encode()
        self._digest = hashlib.sha256(content).digest()
        os.truncate(self._memory.fileno(), 0)
        os.pwrite(self._memory.fileno(), self._digest + content, 0)

    def receive(self) -> bool:
        """In a worker: take what the master has published since the last call; returns whether it has."""
        descriptor = self._memory.fileno()
        digest = os.pread(descriptor, _DIGEST_SIZE, 0)
        if digest in (self._digest, b"") or not any(digest):
            return False
        content = os.pread(descriptor, os.fstat(descriptor).st_size, _DIGEST_SIZE)
        if hashlib.sha256(content).digest() != digest:
            return False  # it is being written; next time it will be whole
        self._digest = digest
        for label, (chain, key) in json.loads(content).items():
            self.pems[label] = chain.encode("latin-1"), key.encode("latin-1")
        return True

    def _look(self) -> dict[str, list[object]]:
        return {label: [_signature(path) for path in paths] for label, paths in self._paths.items()}


def _paths(settings: Settings) -> dict[str, tuple[str, str]]:
    pairs = {LISTENER: (settings.ssl.cert_file, settings.ssl.key_file)}
    for name, pair in settings.ssl.certificates.items():
        pairs[label_of(name)] = pair.cert_file, pair.key_file
    pairs[UPSTREAM] = settings.upstream.cert_file, settings.upstream.key_file
    return {label: (cert, key) for label, (cert, key) in pairs.items() if cert and key}


def _signature(path: str) -> object:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read(cert_file: str, key_file: str) -> Pem:
    with open(cert_file, "rb") as chain, open(key_file, "rb") as key:
        return chain.read(), key.read()


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """Give ``content`` a path for as long as the block lasts: OpenSSL's readers want one."""
    with open(os.memfd_create("pyrox-pem"), "wb", buffering=0) as memory:
        memory.write(content)
        yield f"/proc/self/fd/{memory.fileno()}"
