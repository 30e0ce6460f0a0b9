"""``basic_auth`` whose hashes end when the test lets them: in a thread that is blocked as C code would."""

from __future__ import annotations

import os
from pathlib import Path

from pyrox.middleware import htpasswd
from pyrox.middleware.base import App
from pyrox.middleware.basic_auth import BasicAuth


class Gated(BasicAuth):
    """Every hash is noted in ``begun``, then waits until somebody has the pipe ``gate`` open for writing.

    Whatever the file says, "secret" is the password of all.
    """

    def __init__(self, app: App, file: Path, begun: Path, gate: Path, hashes_at_once: int = 2) -> None:
        def verify(password: bytes, hashed: bytes) -> bool:
            descriptor = os.open(begun, os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, password + b"\n")
            os.close(descriptor)
            os.close(os.open(gate, os.O_RDONLY))
            return password.startswith(b"secret")

        htpasswd.verifier_of = lambda hashed: verify
        super().__init__(app, file, hashes_at_once=hashes_at_once, hashes_waiting=0, hashes_per_client=2)
