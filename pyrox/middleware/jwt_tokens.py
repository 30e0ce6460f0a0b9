"""JSON Web Tokens (RFC 7519), verified: the step from the text that a client sent to claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyrox.middleware.extras import require
from pyrox.middleware.jwt_keys import KeySource, VerificationKey


class TokenRefused(Exception):
    """A token is not good; says why, in words that the client may read (RFC 6750 3.1)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must be.

    ``issuers`` and ``audiences``: empty when it need not name one; ``leeway``: seconds that the clocks may
    differ; ``required``: claims that must be there.
    """

    algorithms: frozenset[str]
    issuers: Sequence[str]
    audiences: Sequence[str]
    leeway: float
    required: Sequence[str]


class TokenVerifier:
    """Verifies tokens by the keys of ``keys`` and by ``rules``."""

    def __init__(self, keys: KeySource, rules: Rules) -> None:
        self._jwt = require("jwt", "jwt")
        self._keys = keys
        self._rules = rules
        self._refusals = self._texts()

    def verify(self, token: str) -> Mapping[str, Any]:
        """Return the claims of ``token``.

        Raises ``TokenRefused``, and ``ServiceError`` when there are no keys to verify it with.
        """
        keys = self._keys_for(token)
        refused: Exception | None = None
        for key in keys:
            try:
                return self._decode(token, key)
            except self._jwt.InvalidSignatureError as error:
                refused = error
            except (self._jwt.PyJWTError, ValueError, RecursionError) as error:
                raise TokenRefused(self._say(error)) from error
        raise TokenRefused("the signature is wrong" if keys else "no known key has signed it") from refused

    def _keys_for(self, token: str) -> Sequence[VerificationKey]:
        """Return the keys to try; nothing of the token's header is believed but which of ours it wants."""
        try:
            header = self._jwt.get_unverified_header(token)
        except (self._jwt.PyJWTError, ValueError, RecursionError) as error:
            raise TokenRefused("it is no signed JSON Web Token") from error
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._rules.algorithms:
            raise TokenRefused("its algorithm is not allowed")
        if "crit" in header:  # RFC 7515 4.1.11: what is critical has to be understood, and nothing is
            raise TokenRefused("it has a critical extension")
        return self._keys.find(header.get("kid"), algorithm)

    def _decode(self, token: str, key: VerificationKey) -> Mapping[str, Any]:
        rules = self._rules
        claims: Mapping[str, Any] = self._jwt.decode(
            token,
            key.material,
            algorithms=list(key.algorithms),
            audience=list(rules.audiences) or None,
            issuer=list(rules.issuers) or None,
            leeway=rules.leeway,
            options={"require": list(rules.required)},
        )
        return claims

    def _say(self, error: Exception) -> str:
        if isinstance(error, self._jwt.MissingRequiredClaimError):
            return f"the claim {error.claim} is missing"
        return self._refusals.get(type(error), "it is malformed")

    def _texts(self) -> dict[type[Exception], str]:
        jwt = self._jwt
        return {
            jwt.ExpiredSignatureError: "it has expired",
            jwt.ImmatureSignatureError: "it is not valid yet",
            jwt.InvalidIssuedAtError: "it is not valid yet",
            jwt.InvalidAudienceError: "it is meant for someone else",
            jwt.InvalidIssuerError: "its issuer is not trusted",
            jwt.InvalidAlgorithmError: "its algorithm is not allowed",
        }


def claim_of(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim called ``path``, or the one at that path of nested ones (``a.b``); None for none."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def words_of(value: Any) -> frozenset[str]:
    """Return a claim that lists something as a set: a list of str, or a str with blanks (RFC 8693 4.2)."""
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list):
        return frozenset(item for item in value if isinstance(item, str) and item)
    return frozenset()
