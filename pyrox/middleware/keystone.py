"""``keystone``: who sends a request, by a token of OpenStack Identity."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pyrox.errors import HTTPError
from pyrox.http.message import Request
from pyrox.middleware.authentication import Authentication, make_challenge
from pyrox.middleware.base import App
from pyrox.middleware.identity import Identity, IdentityFields
from pyrox.middleware.keystone_api import FIELDS, V2, V3, Credentials, IdentityService, Version
from pyrox.middleware.service import ServiceClient, check_seconds
from pyrox.middleware.single_flight import Fetched, SingleFlightCache
from pyrox.middleware.token_sources import HeaderToken

_VERSIONS: Mapping[str, Callable[[], Version]] = {"v3": V3, "v2": V2}

# What can stand in a field and, percent-encoded, in a path: only a path's own dots could mean another one.
_is_token = re.compile(r"(?!\.{1,2}$)[!-~]+").fullmatch


class Keystone(Authentication):
    """Lets in who has a valid token of OpenStack Identity (Keystone), in X-Auth-Token; 401 otherwise.

    Upstream is told in the fields that OpenStack's services know, and Repose sets: X-Identity-Status,
    X-Authorization, X-User-Id, X-User-Name, X-Project-Id, X-Project-Name, X-Tenant-Id, X-Tenant-Name,
    X-Roles, X-Token-Expires, X-Default-Region and more. No client can send them.

    * ``url``: the identity service, without ``/v3``.
    * ``user``, ``password``: who Pyrox is there; must be allowed to validate tokens.
    * ``user_domain``, ``project``, ``project_domain``: where that user is, and the project that it signs in
      to. Default ``Default``, none, ``Default``; version 2 has no domains.
    * ``version``: ``v3`` or ``v2``. Default ``v3``.
    * ``token_header``: the field that the token is in. Default ``X-Auth-Token``.
    * ``strip``: do not send the token upstream. Default ``no``.
    * ``optional``: let requests without a token pass, as nobody. Default ``no``.
    * ``public_url``: where clients are told to get a token. Default ``url``.
    * ``cache_ttl``: for how many seconds a valid token is not asked about again, never beyond its expiry; a
      token that is revoked counts on for so long. Default 300; 0 asks each time.
    * ``refused_ttl``: likewise for one that is not valid. Default 10.
    * ``cache_size``: how many are remembered, of either kind. Default 10000.
    * ``timeout``, ``connect_timeout``: seconds for an answer, and for a connection. Default 5 and 2.
    * ``ca_file``: who vouches for an https service. Default: the system's.
    * ``connections``: how many requests of a worker may ask at once; the others wait. Default 100.
    """

    def __init__(
        self,
        app: App,
        url: str,
        user: str,
        password: str,
        user_domain: str = "Default",
        project: str | None = None,
        project_domain: str = "Default",
        version: Literal["v3", "v2"] = "v3",
        token_header: str = "X-Auth-Token",
        strip: bool = False,
        optional: bool = False,
        public_url: str | None = None,
        cache_ttl: float = 300.0,
        refused_ttl: float = 10.0,
        cache_size: int = 10_000,
        timeout: float = 5.0,
        connect_timeout: float = 2.0,
        ca_file: Path | None = None,
        connections: int = 100,
    ) -> None:
        self._source = _token_source(token_header)
        client = ServiceClient(
            url, connect_timeout=connect_timeout, timeout=timeout, ca_file=ca_file, connections=connections
        )
        challenge = _challenge(public_url or url)
        fields = IdentityFields(**{name: name for name in FIELDS})
        super().__init__(app, challenge, optional, fields, token_header)
        credentials = Credentials(user, password, user_domain, project, project_domain)
        self._service = IdentityService(client, _VERSIONS[version](), credentials)
        check_seconds(cache_ttl=cache_ttl, refused_ttl=refused_ttl)
        self._strip, self._cache_ttl, self._refused_ttl = strip, cache_ttl, refused_ttl
        self._tokens: SingleFlightCache[bytes, Identity | None] = SingleFlightCache(cache_size)

    @classmethod
    def reserved_fields(cls, options: Mapping[str, Any]) -> Iterable[str]:
        return FIELDS

    def authenticate(self, request: Request) -> Identity | None:
        raw = self._source.find(request)
        if raw is None:
            return None
        token = raw.decode("latin-1")
        if not _is_token(token):
            raise self._refused(request)
        # By its hash, so that no heap dump holds tokens.
        key = hashlib.sha256(raw).digest()
        identity = self._tokens.get(key, lambda: self._fetch(token))
        if identity is None:
            raise self._refused(request)
        if self._strip:
            self._source.strip(request.headers)
        return identity

    def _fetch(self, token: str) -> Fetched[Identity | None]:
        data = self._service.ask(token)
        if data is None:
            return Fetched(None, self._refused_ttl, is_refusal=True)
        identity = Identity(
            data.name, "keystone", frozenset(data.roles), claims=MappingProxyType(data.fields)
        )
        return Fetched(identity, min(self._cache_ttl, max(data.expires_at - time.time(), 0.0)))

    def _refused(self, request: Request) -> HTTPError:
        return self.unauthorized(request, "the token is not valid")

    def told(self, identity: Identity) -> Mapping[str, str | Iterable[str]]:
        return {**identity.claims, "X-Roles": identity.roles}


def _challenge(url: str) -> str:
    try:
        return make_challenge("Keystone", uri=url)
    except ValueError as error:
        raise ValueError(f"public_url: {error}") from None


def _token_source(header: str) -> HeaderToken:
    if header.lower().replace("_", "-") in {name.lower() for name in FIELDS}:
        raise ValueError(f"token_header: {header} is a field that tells upstream who the client is")
    try:
        return HeaderToken(header)
    except ValueError as error:
        raise ValueError(f"token_header: {error}") from None
