"""``jwt_auth``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from stock import Row

SECRET = "0123456789abcdef" * 4
CLAIMS = {"sub": "ada", "iss": "https://id.example", "roles": ["editor"], "scope": "read write"}


def rows(folder: Path) -> list[Row]:
    claims = {**CLAIMS, "exp": int(time.time()) + 86400}
    secret = f"secret = {SECRET}"
    known = f"Authorization: Bearer {jwt.encode(claims, SECRET, 'HS256')}"
    rows = [
        Row("jwt_auth, token known", f"algorithms = HS256\n{secret}", known),
        Row("jwt_auth, optional and nobody", f"algorithms = HS256\n{secret}\noptional = yes"),
    ]
    keys = {
        "HS256": SECRET,
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
    }
    for algorithm, key in keys.items():
        token = jwt.encode(claims, key, algorithm)
        where = secret if algorithm == "HS256" else f"key_files = {_public(folder / algorithm, key)}"
        options = f"algorithms = {algorithm}\n{where}\ncache_ttl = 0"
        rows.append(
            Row(f"jwt_auth, {algorithm} verified", options, f"Authorization: Bearer {token}", calls=200)
        )
    return rows


def _public(path: Path, key: Any) -> Path:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(encoding, form))
    return path
