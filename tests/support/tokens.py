"""JSON Web Tokens and keys for tests, made by a library that Pyrox does not use (joserfc)."""

from __future__ import annotations

import base64
import json
import time
from functools import cache
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

SECRET = "0123456789abcdef" * 4
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "ES256K": "secp256k1"}


@cache
def key_for(algorithm: str, name: str = "k1") -> Key:
    """A private key for ``algorithm``; the same one for the same ``name``, which is its ``kid``."""
    parameters = {"kid": name}
    if algorithm.startswith("HS"):
        return OctKey.import_key(SECRET, parameters)
    if algorithm in CURVES:
        return ECKey.generate_key(CURVES[algorithm], parameters)
    if algorithm == "EdDSA":  # RFC 9864 calls it Ed25519 by now; issuers do not yet
        return OKPKey.generate_key("Ed25519", parameters)
    return RSAKey.generate_key(2048, parameters)


def public_pem(key: Key) -> bytes:
    pem: bytes = key.as_pem(private=False)  # type: ignore[attr-defined]
    return pem


def jwks_of(*keys: Key, **members: Any) -> dict[str, Any]:
    """A JWKS of the public keys; ``members`` are added to each."""
    return {"keys": [{**key.as_dict(private=isinstance(key, OctKey)), **members} for key in keys]}


def sign(
    claims: dict[str, Any] | None = None, algorithm: str = "RS256", key: Key | None = None, **header: Any
) -> str:
    """Sign a token that is good for ten minutes and names ``ada``, unless ``claims`` say otherwise.

    A claim of None is left out; ``header`` members are added to the token's.
    """
    key = key or key_for(algorithm)
    defaults = {"sub": "ada", "exp": int(time.time()) + 600}
    body = {name: value for name, value in {**defaults, **(claims or {})}.items() if value is not None}
    members = {"alg": algorithm, **({"kid": key.kid} if key.kid else {}), **header}
    members = {name: value for name, value in members.items() if value is not None}
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jws.serialize_compact(members, json.dumps(body).encode(), key, registry=registry)


def forge(header: Any, claims: Any, signature: bytes = b"") -> str:
    """Put a token together from parts that no library would."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in [*parts, signature])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
