"""``Handshake``: what the two ends of a TLS connection have agreed on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Handshake:
    """``version`` is ``"TLSv1.3"`` or the like, ``cipher`` the suite's name: ``"TLS_AES_256_GCM_SHA384"``."""

    version: str
    cipher: str
