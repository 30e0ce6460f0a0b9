"""The keys that ``jwt_auth`` verifies signatures with: from files, a secret, or the URL of a JWKS.

Which algorithms a key may verify is decided here, by the key's type and before any token is looked at: a
token's header can only pick among them. That a public key is used as an HMAC secret, the classic confusion,
is thus not a matter of checks at run time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pyrox.config_report import did_you_mean
from pyrox.middleware.extras import require
from pyrox.middleware.service import ServiceClient, ServiceError, check_seconds
from pyrox.middleware.single_flight import Fetched, SingleFlightCache

log = logging.getLogger(__name__)

_RSA_LEAST, _RSA_MOST = 2048, 8192  # bits; RFC 7518 3.3 and 3.5, and what verifies in reasonable time
_MAX_KEYS = 100  # in one set
_MAX_TRIES = 4  # keys that are tried for a token that names none

# The type of key that an algorithm takes (RFC 7518 6.1, RFC 8037), its curve included.
KEY_TYPES = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), "oct"),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    "ES256": "EC P-256",
    "ES384": "EC P-384",
    "ES512": "EC P-521",
    "ES256K": "EC secp256k1",
    "EdDSA": "OKP Ed25519",
}
_CURVES = {
    "secp256r1": "EC P-256",
    "secp384r1": "EC P-384",
    "secp521r1": "EC P-521",
    "secp256k1": "EC secp256k1",
    "ed25519": "OKP Ed25519",
}
# All of a JWK that verifying takes: what is private in it is not even read.
_PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y", "k")


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One key: its id if it has one, the allowed algorithms it may verify, and what PyJWT takes for it."""

    kid: str | None
    algorithms: frozenset[str]
    material: Any


class KeySource(Protocol):
    """Where keys come from."""

    def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys to try; none when there is no such key. Raises ``ServiceError``."""


class FixedKeys:
    """Keys that are known from the start."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = tuple(keys)

    def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys of that id; without one, those that could be meant, if they are few."""
        able = [key for key in self._keys if algorithm in key.algorithms]
        if kid is not None:
            return [key for key in able if key.kid == kid] or [key for key in able if key.kid is None]
        return able if len(able) <= _MAX_TRIES else ()


@dataclass(frozen=True, slots=True)
class Jwks:
    """The options of a JWKS; ``jwt_auth`` says what they mean."""

    url: str | None
    ttl: float
    max_stale: float
    min_interval: float
    timeout: float
    ca_file: Path | None


class RemoteKeys:
    """The keys of a JWKS (RFC 7517 section 5) that a service publishes, fetched when they are needed.

    Raises ``ValueError`` that names the option.
    """

    def __init__(self, url: str, jwks: Jwks, algorithms: Collection[str]) -> None:
        check_seconds(jwks_ttl=jwks.ttl, jwks_max_stale=jwks.max_stale, jwks_min_interval=jwks.min_interval)
        try:
            self._client = ServiceClient(url, timeout=jwks.timeout, ca_file=jwks.ca_file, connections=4)
        except ValueError as error:
            raise ValueError(f"jwks_{error}") from error
        self._algorithms = algorithms
        self._ttl, self._min_interval = jwks.ttl, jwks.min_interval
        self._sets: SingleFlightCache[None, FixedKeys] = SingleFlightCache(1, max_stale=jwks.max_stale)

    def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys of that id; an unknown one has the set fetched again, but only so often."""
        found = self._sets.get(None, self._fetch).find(kid, algorithm)
        if not found and kid is not None:
            found = self._sets.get(None, self._fetch, self._min_interval).find(kid, algorithm)
        return found

    def _fetch(self) -> Fetched[FixedKeys]:
        try:
            return Fetched(FixedKeys(self._fetch_keys()), self._ttl)
        except ServiceError as error:
            log.warning("the keys of jwt_auth could not be fetched: %s", error.detail)
            raise

    def _fetch_keys(self) -> list[VerificationKey]:
        where = self._client.name + self._client.path
        answer = self._client.get(headers=[("Accept", "application/jwk-set+json, application/json")])
        if answer.status != 200:
            raise ServiceError(f"{where}: it answered {answer.status}; redirects are not followed")
        try:
            keys = keys_of_jwks(answer.json(), self._algorithms)
        except ValueError as error:
            raise ServiceError(f"{where}: no JWKS: {error}") from None
        if not keys:
            raise ServiceError(f"{where}: no key in it verifies {', '.join(sorted(self._algorithms))}")
        return keys


def keys_of_jwks(document: Any, algorithms: Collection[str]) -> list[VerificationKey]:
    """Return the keys of a decoded JWKS, or of a single JWK, that may verify one of ``algorithms``.

    Keys for something else, of unknown types or too weak are passed over (RFC 7517 section 5). Raises
    ``ValueError`` for what is neither.
    """
    if isinstance(document, dict) and "kty" in document:
        document = {"keys": [document]}
    jwks = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(jwks, list):
        raise ValueError('it is no object with a list of "keys"')
    if len(jwks) > _MAX_KEYS:
        raise ValueError(f"it has {len(jwks)} keys; {_MAX_KEYS} are the most")
    keys = (_key_of_jwk(jwk, algorithms) for jwk in jwks if isinstance(jwk, dict))
    return [key for key in keys if key is not None]


def _key_of_jwk(jwk: Mapping[str, Any], algorithms: Collection[str]) -> VerificationKey | None:
    jwt = require("jwt", "jwt")
    fitting = _algorithms_of(jwk, algorithms)
    kid = jwk.get("kid")
    if not fitting or not isinstance(kid, str | None):
        return None
    public = {name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk}
    try:
        material = jwt.PyJWK(public, min(fitting)).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    strong = frozenset(name for name in fitting if not _weakness(material, name))
    return VerificationKey(kid, strong, material) if strong else None


def _algorithms_of(jwk: Mapping[str, Any], algorithms: Collection[str]) -> frozenset[str]:
    """Return those of ``algorithms`` that the key is made for, by its type and by what it says itself."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return frozenset()
    key_type = jwk.get("kty")
    if key_type in ("EC", "OKP"):
        key_type = f"{key_type} {jwk.get('crv')}"
    fitting = (name for name in algorithms if KEY_TYPES[name] == key_type)
    return frozenset(name for name in fitting if jwk.get("alg", name) == name)


def key_of_secret(secret: bytes, algorithms: Collection[str]) -> VerificationKey:
    """Return the key of an HMAC secret; raises ``ValueError`` when it is too short for an algorithm."""
    for name in algorithms:
        if weakness := _weakness(secret, name):
            raise ValueError(f"secret: {weakness} for {name}; take random ones (openssl rand -base64 48)")
    return VerificationKey(None, frozenset(algorithms), secret)


def read_keys(path: Path, algorithms: Collection[str]) -> list[VerificationKey]:
    """Read a file: a public key or certificate in PEM, a JWK, or a JWKS.

    Raises ``ValueError`` when it cannot be read, holds nothing of the kind, or no key for ``algorithms``.
    """
    try:
        content = path.read_bytes()
        if content.lstrip().startswith(b"{"):
            keys = keys_of_jwks(json.loads(content), algorithms)
        else:
            keys = [_key_of_pem(content, algorithms)]
    except OSError as error:
        raise ValueError(f"key_files: {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"key_files: {path}: {error}") from None
    if not keys:
        raise ValueError(f"key_files: {path}: no key in it verifies {', '.join(algorithms)}")
    return keys


def _key_of_pem(content: bytes, algorithms: Collection[str]) -> VerificationKey:
    material = _load_pem(content)
    # Only RSA keys have no curve, and Ed25519 is a type of its own to cryptography.
    curve = getattr(material, "curve", None)
    name = curve.name if curve is not None else type(material).__name__.lower().removesuffix("publickey")
    key_type = "RSA" if hasattr(material, "public_numbers") and curve is None else _CURVES.get(name, name)
    fitting = frozenset(name for name in algorithms if KEY_TYPES[name] == key_type)
    if not fitting:
        raise ValueError(f"its key is of type {key_type}, which verifies none of {', '.join(algorithms)}")
    if weakness := _weakness(material, min(fitting)):
        raise ValueError(weakness)
    return VerificationKey(None, fitting, material)


def _load_pem(content: bytes) -> Any:
    serialization = require("cryptography.hazmat.primitives.serialization", "jwt")
    if b"PRIVATE KEY-----" in content:
        raise ValueError("it holds a private key; verifying takes the public one (openssl pkey -pubout)")
    try:
        if b"-----BEGIN CERTIFICATE-----" in content:
            return require("cryptography.x509", "jwt").load_pem_x509_certificate(content).public_key()
        return serialization.load_pem_public_key(content)
    except Exception as error:  # cryptography raises errors of its own for what it does not support
        raise ValueError("it holds no public key or certificate in PEM, no JWK and no JWKS") from error


def _weakness(material: Any, algorithm: str) -> str:
    """Say why ``material`` must not verify ``algorithm``; empty when it may."""
    if isinstance(material, bytes):
        least = int(algorithm[2:]) // 8  # RFC 7518 3.2: as long as the hash
        return f"it has {len(material)} bytes, and {least} are the least" if len(material) < least else ""
    size = material.key_size if KEY_TYPES[algorithm] == "RSA" else _RSA_LEAST
    if _RSA_LEAST <= size <= _RSA_MOST:
        return ""
    return f"it is an RSA key of {size} bits; it must have {_RSA_LEAST} to {_RSA_MOST}"


def key_source(
    algorithms: Sequence[str], key_files: Sequence[Path], secret: str | None, jwks: Jwks
) -> KeySource:
    """Make what the options of ``jwt_auth`` say; raises ``ValueError`` that names the option."""
    _check_algorithms(algorithms)
    if sum(map(bool, (key_files, secret, jwks.url))) != 1:
        raise ValueError(
            "key_files: give exactly one of key_files, secret and jwks_url, for where the keys are"
        )
    is_hmac = KEY_TYPES[algorithms[0]] == "oct"
    if jwks.url:
        if is_hmac:
            raise ValueError("jwks_url: no secret is fetched; algorithms must be of public keys, as RS256 is")
        return RemoteKeys(jwks.url, jwks, algorithms)
    if not secret:
        return FixedKeys(key for path in key_files for key in read_keys(path, algorithms))
    if not is_hmac:
        raise ValueError(f"secret: {algorithms[0]} has public keys; give key_files, or HS256 as algorithms")
    return FixedKeys([key_of_secret(secret.encode(), algorithms)])


def _check_algorithms(algorithms: Sequence[str]) -> None:
    if not algorithms:
        raise ValueError(f"algorithms: it is empty; choose from {', '.join(KEY_TYPES)}")
    for name in algorithms:
        if name not in KEY_TYPES:
            hint = did_you_mean(name, KEY_TYPES)
            raise ValueError(f"algorithms: {name!r} is none of {', '.join(KEY_TYPES)}{hint}")
    if len({KEY_TYPES[name] == "oct" for name in algorithms}) > 1:
        raise ValueError(
            "algorithms: HMAC and public keys do not go together: who knows the public key could sign with it"
        )
