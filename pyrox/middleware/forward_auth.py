"""``forward_auth``: ask another service, for each request, whether it may pass."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyrox.http.accept import add_vary
from pyrox.http.error_response import answer_headers
from pyrox.http.field_names import CONNECTION_FIELDS, PROTECTED_FIELDS, normal_name, normal_names
from pyrox.http.headers import Field, Headers, make_field
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.identity import Identity, identify
from pyrox.middleware.service import ServiceAnswer, ServiceClient, ServiceError, check_seconds
from pyrox.middleware.single_flight import ExpiringDict

_SENT_BY_DEFAULT = (
    "Authorization",
    "Cookie",
    "Accept",
    "Accept-Language",
    "User-Agent",
    "X-Requested-With",
)
# As the engine has judged them, so that the service can believe them; and what is told of the request line.
_CLAIMS = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"))
_REQUEST_LINE = frozenset((b"x-forwarded-method", b"x-forwarded-uri"))
# With request_headers = *: what is about the body or one connection, or would make it another answer.
_NEVER_SENT = CONNECTION_FIELDS | frozenset(
    b"host accept-encoding content-encoding content-type expect max-forwards range via if-match "
    b"if-modified-since if-none-match if-range if-unmodified-since".split()
)
_CREDENTIALS = frozenset((b"authorization", b"cookie"))
# Clients may send it as well: it is replaced where this middleware stands, and kept from nobody elsewhere.
_SHARED = frozenset((b"authorization",))
_MAX_REMEMBERED = 1000


class ForwardAuth(Middleware):
    """Asks a service whether a request may pass, as Traefik's ForwardAuth and Caddy's forward_auth do.

    It gets a GET without the body, with X-Forwarded-Method, -Proto, -Host, -Uri and -For. Any 2xx lets the
    request pass; whatever else it answers is the answer to the client. When it cannot be asked it is a 503,
    when it answers nonsense a 502.

    * ``url``: where to ask.
    * ``request_headers``: the fields of the request that the service sees; ``*`` for all. Default
      Authorization, Cookie, Accept, Accept-Language, User-Agent and X-Requested-With.
    * ``copy_headers``: fields of a 2xx that go upstream with the request, in place of what the client sent
      there. Default none.
    * ``response_headers``: fields of a 2xx that are added to the response, such as Set-Cookie. Default none.
    * ``user_from``, ``roles_from``: the fields of a 2xx that say who it is, and its roles between commas,
      for other middleware. Default none.
    * ``timeout``, ``connect_timeout``: seconds for the answer, and for a connection. Default 5 and 2.
    * ``max_answer``: the longest body of an answer, in bytes. Default 65536.
    * ``ca_file``: who vouches for an https service. Default: the system's.
    * ``connections``: how many requests may ask at once; the others wait. Default 100.
    * ``cache_ttl``: for how many seconds a 2xx counts for requests that the service could not tell from the
      first one. Default 0, for not at all; never for one with Cache-Control: no-store or no-cache, or with
      a Set-Cookie that is passed on.
    """

    def __init__(
        self,
        app: App,
        url: str,
        request_headers: Sequence[str] = _SENT_BY_DEFAULT,
        copy_headers: Sequence[str] = (),
        response_headers: Sequence[str] = (),
        user_from: str | None = None,
        roles_from: str | None = None,
        timeout: float = 5.0,
        connect_timeout: float = 2.0,
        max_answer: int = 65536,
        ca_file: Path | None = None,
        connections: int = 100,
        cache_ttl: float = 0.0,
    ) -> None:
        super().__init__(app)
        self._service = ServiceClient(
            url,
            connect_timeout=connect_timeout,
            timeout=timeout,
            max_answer=max_answer,
            ca_file=ca_file,
            connections=connections,
        )
        self._sent = None if "*" in request_headers else _keys("request_headers", request_headers)
        self._copied = _keys("copy_headers", copy_headers)
        self._added = _keys("response_headers", response_headers)
        if roles_from and not user_from:
            raise ValueError("roles_from: has no use without user_from, which says whose roles they are")
        self._user_from, self._roles_from = user_from, roles_from
        varies_by = sorted(_CREDENTIALS if self._sent is None else _CREDENTIALS & self._sent)
        self._varies_by = [name.decode().title() for name in varies_by]
        check_seconds(cache_ttl=cache_ttl)
        self._cache_ttl = cache_ttl
        self._answers: ExpiringDict[bytes, ServiceAnswer] = ExpiringDict(_MAX_REMEMBERED)

    @classmethod
    def reserved_fields(cls, options: Mapping[str, Any]) -> Iterable[str]:
        names = options.get("copy_headers") or ()
        return [name for name in names if name.lower().encode("ascii", "replace") not in _SHARED]

    def __call__(self, request: Request) -> Response:
        fields = self._question(request)
        answer = self._ask(fields) if not self._cache_ttl else self._remembered_or_asked(fields)
        if not 200 <= answer.status <= 299:
            return self._pass_on(answer)
        self._admit(request, answer)
        added = [field for field in answer.headers.fields if field[0] in self._added]
        try:
            response = self.app(request)
        except Exception as error:
            answer_headers(error).fields += added
            raise
        response.headers.fields += added
        add_vary(response.headers, *self._varies_by)
        return response

    def _question(self, request: Request) -> list[tuple[str, str]]:
        """Return the fields of the request to the service."""
        told = [("X-Forwarded-Method", request.method), ("X-Forwarded-Uri", request.target)]
        fields = (field for field in request.headers.fields if self._is_sent(field[0]))
        return told + [(name.decode("latin-1"), value.decode("latin-1")) for _, name, value in fields]

    def _is_sent(self, key: bytes) -> bool:
        if key in _CLAIMS:
            return True
        normal = normal_name(key)  # what a service in CGI, WSGI or PHP would take it for
        if normal in _CLAIMS or normal in _REQUEST_LINE:
            return False
        return key not in _NEVER_SENT if self._sent is None else key in self._sent

    def _ask(self, fields: list[tuple[str, str]]) -> ServiceAnswer:
        try:
            answer = self._service.get(headers=fields)
            if not 200 <= answer.status <= 599:
                raise ServiceError(f"{self._service.name}: it answered {answer.status}, which is no status")
        except ServiceError as error:
            error.status = 502 if error.trouble == "invalid" else 503
            raise
        return answer

    def _remembered_or_asked(self, fields: list[tuple[str, str]]) -> ServiceAnswer:
        # Everything that the service is told, so that nobody gets in by an answer to another question.
        key = hashlib.sha256("\n".join(f"{name}: {value}" for name, value in fields).encode()).digest()
        answer = self._answers.get(key)
        if answer is None:
            # Each asks for itself, also who asks the same at the same time: a redirect to a login begins a
            # session, and that of two strangers behind one address must not be the same one.
            answer = self._ask(fields)
            if self._may_be_remembered(answer):
                kept = ServiceAnswer(answer.status, answer.headers, b"")
                self._answers.put(key, kept, time.monotonic() + self._cache_ttl)
        return answer

    def _may_be_remembered(self, answer: ServiceAnswer) -> bool:
        control = ",".join(answer.headers.get_all("cache-control")).lower()
        starts_session = b"set-cookie" in self._added and "set-cookie" in answer.headers
        is_kept_out = "no-store" in control or "no-cache" in control or starts_session
        return 200 <= answer.status <= 299 and not is_kept_out

    def _pass_on(self, answer: ServiceAnswer) -> Response:
        """Make the service's answer that of the client."""
        response = Response(answer.status, answer.body)
        fields = answer.headers.fields
        response.headers = Headers.from_fields([f for f in fields if f[0] not in CONNECTION_FIELDS])
        return response

    def _admit(self, request: Request, answer: ServiceAnswer) -> None:
        """Let upstream and other middleware know what the service said of the request."""
        if self._copied:
            copied = self._copied
            kept: list[Field] = [
                field for field in request.headers.fields if field[0].replace(b"_", b"-") not in copied
            ]
            request.headers.fields = kept + [f for f in answer.headers.fields if f[0] in copied]
        name = answer.headers.get(self._user_from) if self._user_from else None
        if name:
            roles = answer.headers.get(self._roles_from, "") if self._roles_from else ""
            words = frozenset(role for word in roles.split(",") if (role := word.strip()))
            identify(request, Identity(name, "forward_auth", words))


def _keys(option: str, names: Sequence[str]) -> frozenset[bytes]:
    """Return ``names`` in lower case; raises ``ValueError`` for one that this option cannot have."""
    for name in names:
        try:
            key, _, _ = make_field(name, "")
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from None
        if key in CONNECTION_FIELDS:
            raise ValueError(f"{option}: {name} speaks of one connection only; it is not passed on")
        if option == "copy_headers" and (key in PROTECTED_FIELDS - _SHARED or b"_" in key):
            raise ValueError(f"{option}: {name} has another meaning; let the service use one as Remote-User")
    return normal_names(names)
