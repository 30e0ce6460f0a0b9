"""OpenStack Identity, versions 3 and 2.0, as far as it takes to ask whose a token is.

Both work alike: with its own name and password Pyrox gets a token of its own, and with that it may ask about
the tokens of others. What comes back is told upstream in the fields that OpenStack's services, and those
behind Repose, look at.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote

from pyrox.middleware.service import ServiceAnswer, ServiceClient, ServiceError
from pyrox.middleware.single_flight import Fetched, SingleFlightCache

_MARGIN = 60.0  # seconds before its expiry that the token of our own is replaced
_RENEWAL = 5.0  # seconds at least between two sign-ins: wrong passwords lock accounts
_RETRY_AFTER = 5  # seconds, when a service that is asked too often does not say
_OVER_LIMIT = (413, 429)

_is_seconds = re.compile("[0-9]{1,6}").fullmatch


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom Pyrox signs in as; ``project`` is None for a token without a scope."""

    user: str
    password: str
    user_domain: str
    project: str | None
    project_domain: str


@dataclass(frozen=True, slots=True)
class TokenData:
    """What is known of a valid token: ``fields`` by name, and its end in seconds since 1970."""

    name: str
    roles: tuple[str, ...]
    fields: dict[str, str]
    expires_at: float


class Version(Protocol):
    """One version of the API: how to say it, and what it says."""

    def sign_in(self, client: ServiceClient, credentials: Credentials) -> ServiceAnswer: ...

    def own_token(self, answer: ServiceAnswer) -> tuple[str, float]:
        """Return the token of a sign-in, and its end."""

    def validate(self, client: ServiceClient, own: str, token: str) -> ServiceAnswer: ...

    def parse(self, document: Any) -> TokenData: ...


class V3:
    """Identity v3: ``/v3/auth/tokens``."""

    def sign_in(self, client: ServiceClient, credentials: Credentials) -> ServiceAnswer:
        user = {
            "name": credentials.user,
            "password": credentials.password,
            "domain": {"name": credentials.user_domain},
        }
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if credentials.project is not None:
            domain = {"name": credentials.project_domain}
            auth["scope"] = {"project": {"name": credentials.project, "domain": domain}}
        return client.post_json("/v3/auth/tokens?nocatalog", {"auth": auth})

    def own_token(self, answer: ServiceAnswer) -> tuple[str, float]:
        token = answer.headers.get("x-subject-token", "")
        return token, _time_of(_text(answer.json(), "token", "expires_at"))

    def validate(self, client: ServiceClient, own: str, token: str) -> ServiceAnswer:
        headers = [("X-Auth-Token", own), ("X-Subject-Token", token), ("Accept", "application/json")]
        return client.get("/v3/auth/tokens?nocatalog", headers)

    def parse(self, document: Any) -> TokenData:
        token = document["token"]
        fields = {
            "X-Authorization": "Proxy",
            "X-User-Domain-Id": _text(token, "user", "domain", "id"),
            "X-User-Domain-Name": _text(token, "user", "domain", "name"),
            "X-Project-Domain-Id": _text(token, "project", "domain", "id"),
            "X-Project-Domain-Name": _text(token, "project", "domain", "name"),
            "X-Domain-Id": _text(token, "domain", "id"),
            "X-Domain-Name": _text(token, "domain", "name"),
            **_scope(token.get("project")),
        }
        return _data(token["user"], token.get("roles"), fields, _text(token, "expires_at"))


class V2:
    """Identity v2.0: ``/v2.0/tokens``."""

    def sign_in(self, client: ServiceClient, credentials: Credentials) -> ServiceAnswer:
        named = {"username": credentials.user, "password": credentials.password}
        scope = {} if credentials.project is None else {"tenantName": credentials.project}
        return client.post_json("/v2.0/tokens", {"auth": {"passwordCredentials": named, **scope}})

    def own_token(self, answer: ServiceAnswer) -> tuple[str, float]:
        document = answer.json()
        return _text(document, "access", "token", "id"), _time_of(
            _text(document, "access", "token", "expires")
        )

    def validate(self, client: ServiceClient, own: str, token: str) -> ServiceAnswer:
        headers = [("X-Auth-Token", own), ("Accept", "application/json")]
        return client.get(f"/v2.0/tokens/{quote(token, safe='')}", headers)

    def parse(self, document: Any) -> TokenData:
        token, user = document["access"]["token"], document["access"]["user"]
        tenant = token.get("tenant")
        fields = {
            "X-Authorization": f"Proxy {_text(tenant, 'id')}".rstrip(),
            "X-Domain-Id": _text(user, "RAX-AUTH:domainId"),
            **_scope(tenant),
        }
        return _data(user, user.get("roles"), fields, _text(token, "expires"))


# All fields that either version may set; no client can send them.
FIELDS = (
    "X-Authorization",
    "X-Identity-Status",
    "X-User-Id",
    "X-User-Name",
    "X-User-Domain-Id",
    "X-User-Domain-Name",
    "X-Project-Id",
    "X-Project-Name",
    "X-Project-Domain-Id",
    "X-Project-Domain-Name",
    "X-Tenant-Id",
    "X-Tenant-Name",
    "X-Domain-Id",
    "X-Domain-Name",
    "X-Roles",
    "X-Default-Region",
    "X-Token-Expires",
    "X-Impersonator-Id",
    "X-Impersonator-Name",
)


def _scope(project: Any) -> dict[str, str]:
    """A project of v3 was called a tenant in v2; services ask for either."""
    project_id, name = _text(project, "id"), _text(project, "name")
    return {
        "X-Project-Id": project_id,
        "X-Project-Name": name,
        "X-Tenant-Id": project_id,
        "X-Tenant-Name": name,
    }


def _data(user: Any, roles: Any, fields: dict[str, str], expires: str) -> TokenData:
    user_id, name = _text(user, "id"), _text(user, "name")
    if not user_id and not name:
        raise ValueError("it names no user")
    more = {
        "X-Identity-Status": "Confirmed",
        "X-User-Id": user_id,
        "X-User-Name": name,
        "X-Default-Region": _text(user, "RAX-AUTH:defaultRegion"),
        "X-Token-Expires": expires,
        "X-Impersonator-Id": _text(user, "RAX-AUTH:impersonator", "id"),
        "X-Impersonator-Name": _text(user, "RAX-AUTH:impersonator", "name"),
    }
    names = tuple(_text(role, "name") for role in roles or ())
    return TokenData(name or user_id, tuple(filter(None, names)), {**fields, **more}, _time_of(expires))


def _text(value: Any, *path: str) -> str:
    """Return the text at that path; empty when there is none, or something else."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def _time_of(text: str) -> float:
    """Parse ``2030-01-01T00:00:00.000000Z``; raises ``ValueError``."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class IdentityService:
    """Asks whose a token is, and signs in for that when it has to."""

    def __init__(self, client: ServiceClient, version: Version, credentials: Credentials) -> None:
        self._client, self._version, self._credentials = client, version, credentials
        self._own: SingleFlightCache[None, str] = SingleFlightCache(1, failure_ttl=_RENEWAL)

    def ask(self, token: str) -> TokenData | None:
        """Return what is known of ``token``; None when it is not valid.

        Raises ``ServiceError``: 502 for a service that cannot be used, 504 for one that is late, 503 for one
        that is asked too often.
        """
        try:
            return self._ask(token)
        except ServiceError as error:
            raise _as_repose(error) from error

    def _ask(self, token: str) -> TokenData | None:
        answer = self._validate(self._own.get(None, self._sign_in), token)
        if answer.status == 401:  # about our own token, not the client's
            answer = self._validate(self._own.get(None, self._sign_in, _RENEWAL), token)
        if answer.status == 404:
            return None
        if answer.status not in (200, 203):
            raise self._unusable(f"it answered {answer.status} when asked about a token")
        return self._parse(answer)

    def _validate(self, own: str, token: str) -> ServiceAnswer:
        return self._check_limit(self._version.validate(self._client, own, token))

    def _parse(self, answer: ServiceAnswer) -> TokenData | None:
        try:
            data = self._version.parse(answer.json())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._unusable(f"what it says of a token cannot be understood: {error!r}") from error
        return data if data.expires_at > time.time() else None

    def _sign_in(self) -> Fetched[str]:
        answer = self._check_limit(self._version.sign_in(self._client, self._credentials))
        if answer.status not in (200, 201, 203):
            hint = "; look at user and password" if answer.status in (401, 403) else ""
            raise self._unusable(f"it answered {answer.status} to the sign-in{hint}")
        try:
            token, expires_at = self._version.own_token(answer)
        except (ValueError, TypeError, KeyError) as error:
            raise self._unusable(f"its answer to the sign-in cannot be understood: {error!r}") from error
        if not token:
            raise self._unusable("its answer to the sign-in holds no token")
        return Fetched(token, max(expires_at - time.time() - _MARGIN, _RENEWAL))

    def _check_limit(self, answer: ServiceAnswer) -> ServiceAnswer:
        if answer.status in _OVER_LIMIT:
            seconds = _seconds_of(answer.headers.get("retry-after", ""))
            detail = f"{self._client.name}: it is asked too often ({answer.status})"
            raise ServiceError(detail, retry_after=seconds)
        return answer

    def _unusable(self, what: str) -> ServiceError:
        return ServiceError(f"{self._client.name}: {what}")


def _as_repose(error: ServiceError) -> ServiceError:
    """Give an error the status that Repose has for it: 502, 504 for a time-out, 503 for too many requests."""
    status = 504 if error.trouble == "timeout" else 503 if error.retry_after else 502
    return ServiceError(error.detail, error.trouble, status=status, retry_after=error.retry_after)


def _seconds_of(retry_after: str) -> int:
    """Parse Retry-After (RFC 9110 10.2.3), at least 1."""
    if _is_seconds(retry_after):
        return max(int(retry_after), 1)
    try:
        return max(int(parsedate_to_datetime(retry_after).timestamp() - time.time()), 1)
    except ValueError:
        return _RETRY_AFTER
