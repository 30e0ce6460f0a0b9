"""``jwt_auth``: who sends a request, by a JSON Web Token."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pyrox.errors import HTTPError
from pyrox.http.message import Request
from pyrox.middleware.authentication import (
    ROLES_HEADER,
    SCOPES_HEADER,
    USER_HEADER,
    Authentication,
    make_challenge,
)
from pyrox.middleware.base import App
from pyrox.middleware.identity import Identity, IdentityFields
from pyrox.middleware.jwt_keys import Jwks, key_source
from pyrox.middleware.jwt_tokens import Rules, TokenRefused, TokenVerifier, claim_of, words_of
from pyrox.middleware.service import check_seconds
from pyrox.middleware.single_flight import ExpiringDict
from pyrox.middleware.token_sources import TokenSource, parse_sources

_CLAIM_OPTION = "claim_headers"

_is_scope = re.compile(r"[!#-\[\]-~]+").fullmatch  # RFC 6749 3.3: others cannot stand in a challenge


class JwtAuth(Authentication):
    """Lets in who has a valid JSON Web Token (RFC 7519, RFC 6750); 401 otherwise.

    One of ``key_files``, ``secret`` and ``jwks_url`` says where the keys are.

    * ``algorithms``: those that are accepted, never ``none``; HMAC (``HS256`` ...) not together with others.
      Default ``RS256``.
    * ``key_files``: public keys or certificates in PEM, JWKs or JWKSs; read at start-up.
    * ``secret``: the secret of HMAC, as ``${NAME}`` from the environment.
    * ``jwks_url``: where the issuer publishes its keys. Fetched with the first token, by one request at a
      time; while there are none, the answer is 503.
    * ``jwks_ttl``, ``jwks_max_stale``: seconds until they are fetched again, and for how many more they are
      used when that fails. Default 300 and 3600.
    * ``jwks_min_interval``: seconds between two fetches because of an unknown key id. Default 10.
    * ``jwks_timeout``, ``jwks_ca_file``: seconds for a fetch, default 5; who vouches for an https address.
    * ``issuer``, ``audience``: the values of ``iss`` and ``aud`` that are accepted. Without ``audience``
      a token that names one is refused. Default none.
    * ``leeway``: seconds that the clocks may differ. Default 10.
    * ``require_exp``: refuse a token that never expires. Default ``yes``.
    * ``required_claims``, ``required_scopes``: claims that must be there; scopes without which it is a 403.
    * ``token_from``: where the token is, first found first taken: ``bearer``, ``header:NAME``,
      ``cookie:NAME``. Default ``bearer``.
    * ``strip``: do not send the token upstream. Default ``no``.
    * ``name_claim``, ``roles_claim``, ``scopes_claim``: where the identity is; ``a.b`` is b in a. Default
      ``sub``, ``roles``, ``scope``.
    * ``user_header``, ``roles_header``, ``scopes_header``: the fields that tell upstream. Default
      ``X-Auth-User``, ``X-Auth-Roles``, ``X-Auth-Scopes``.
    * ``claim_headers``: a subsection with more of them, ``Field = claim``.
    * ``optional``: let requests without a token pass, as nobody. Default ``no``.
    * ``realm``: what is protected, for WWW-Authenticate. Default ``restricted``.
    * ``max_token``: the longest token that is looked at, in bytes. Default 8192.
    * ``cache_size``, ``cache_ttl``: how many verified tokens are remembered, and for how many seconds at
      most; never beyond their expiry. Default 10000 and 60; 0 for not at all.
    """

    def __init__(
        self,
        app: App,
        algorithms: Sequence[str] = ("RS256",),
        key_files: Sequence[Path] = (),
        secret: str | None = None,
        jwks_url: str | None = None,
        jwks_ttl: float = 300.0,
        jwks_max_stale: float = 3600.0,
        jwks_min_interval: float = 10.0,
        jwks_timeout: float = 5.0,
        jwks_ca_file: Path | None = None,
        issuer: Sequence[str] = (),
        audience: Sequence[str] = (),
        leeway: float = 10.0,
        require_exp: bool = True,
        required_claims: Sequence[str] = (),
        required_scopes: Sequence[str] = (),
        token_from: Sequence[str] = ("bearer",),
        strip: bool = False,
        name_claim: str = "sub",
        roles_claim: str = "roles",
        scopes_claim: str = "scope",
        user_header: str | None = USER_HEADER,
        roles_header: str | None = ROLES_HEADER,
        scopes_header: str | None = SCOPES_HEADER,
        claim_headers: Mapping[str, str] | None = None,
        optional: bool = False,
        realm: str = "restricted",
        max_token: int = 8192,
        cache_size: int = 10_000,
        cache_ttl: float = 60.0,
    ) -> None:
        self._sources = parse_sources("token_from", token_from)
        self._claims = {_option_of(name): claim for name, claim in (claim_headers or {}).items()}
        headers = {"user_header": user_header, "roles_header": roles_header, "scopes_header": scopes_header}
        fields = IdentityFields(**headers, **{_option_of(name): name for name in claim_headers or ()})
        challenge = make_challenge("Bearer", realm=realm)
        varies_by = ", ".join(dict.fromkeys(source.field for source in self._sources))
        super().__init__(app, challenge, optional, fields, varies_by)
        jwks = Jwks(jwks_url, jwks_ttl, jwks_max_stale, jwks_min_interval, jwks_timeout, jwks_ca_file)
        keys = key_source(algorithms, key_files, secret, jwks)
        check_seconds(leeway=leeway, cache_ttl=cache_ttl)
        required = [*(["exp"] if require_exp else []), *required_claims]
        self._verifier = TokenVerifier(keys, Rules(frozenset(algorithms), issuer, audience, leeway, required))
        self._realm, self._strip, self._max_token, self._leeway = realm, strip, max_token, leeway
        self._where = name_claim, roles_claim, scopes_claim
        self._required_scopes = frozenset(map(_check_scope, required_scopes))
        self._cache_ttl = cache_ttl if cache_size > 0 else 0.0
        self._verified: ExpiringDict[bytes, Identity] = ExpiringDict(cache_size, time.time)

    @classmethod
    def reserved_fields(cls, options: Mapping[str, Any]) -> Iterable[str]:
        return [*super().reserved_fields(options), *(options.get(_CLAIM_OPTION) or ())]

    def authenticate(self, request: Request) -> Identity | None:
        source, token = self._find(request)
        if source is None:
            return None
        identity = self._identity_of(request, token)
        if not self._required_scopes <= identity.scopes:
            raise self._insufficient()
        if self._strip:
            source.strip(request.headers)
        return identity

    def _find(self, request: Request) -> tuple[TokenSource | None, bytes]:
        for source in self._sources:
            token = source.find(request)
            if token is not None:
                return source, token
        return None, b""

    def _identity_of(self, request: Request, token: bytes) -> Identity:
        if len(token) > self._max_token:
            raise self._refuse(request, f"the token is longer than {self._max_token} bytes")
        # By its hash, so that no heap dump holds tokens, and memory does not depend on their length.
        key = hashlib.sha256(token).digest()
        identity = self._verified.get(key)
        if identity is None:
            try:
                claims = self._verifier.verify(token.decode("latin-1"))
                identity = self._identify(claims)
            except TokenRefused as refused:
                raise self._refuse(request, f"the token is refused: {refused}") from refused
            self._remember(key, identity)
        return identity

    def _identify(self, claims: Mapping[str, Any]) -> Identity:
        name, roles, scopes = (claim_of(claims, path) for path in self._where)
        if not isinstance(name, str) or not name:
            raise TokenRefused(f"the claim {self._where[0]} names nobody")
        read_only = MappingProxyType(dict(claims))
        return Identity(name, "jwt_auth", words_of(roles), words_of(scopes), read_only)

    def _remember(self, key: bytes, identity: Identity) -> None:
        if self._cache_ttl > 0:
            until = time.time() + self._cache_ttl
            expiry = identity.claims.get("exp")
            # As PyJWT reads it, in whole seconds.
            self._verified.put(
                key, identity, until if expiry is None else min(until, int(expiry) + self._leeway)
            )

    def told(self, identity: Identity) -> Mapping[str, str | Iterable[str]]:
        told = dict(super().told(identity))
        for option, path in self._claims.items():
            told[option] = _as_text(claim_of(identity.claims, path))
        return told

    def _refuse(self, request: Request, why: str) -> HTTPError:
        challenge = make_challenge(
            "Bearer", realm=self._realm, error="invalid_token", error_description=_quotable(why)
        )
        return self.unauthorized(request, why, challenge)

    def _insufficient(self) -> HTTPError:
        scope = " ".join(sorted(self._required_scopes))
        challenge = make_challenge("Bearer", realm=self._realm, error="insufficient_scope", scope=scope)
        return HTTPError(403, f"the token lacks one of: {scope}", {"WWW-Authenticate": challenge})


def _check_scope(scope: str) -> str:
    if not _is_scope(scope):
        raise ValueError(
            f"required_scopes: {scope!r} is no scope; it has printable ASCII without blanks, quotes and"
            " backslashes, and commas stand between several"
        )
    return scope


def _option_of(header: str) -> str:
    return f"{_CLAIM_OPTION}.{header}"


def _quotable(text: str) -> str:
    """What RFC 6750 3 lets stand in error_description."""
    return text.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "/")


def _as_text(value: Any) -> str | list[str]:
    """A claim as ``IdentityFields`` takes it: text, the items of a list, or anything else as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return json.dumps(value, separators=(",", ":"))
