"""``security_headers``: what browsers are asked to forbid, and what strangers need not know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pyrox.http.error_response import answer_headers
from pyrox.http.headers import Field, Headers, make_field
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware

_HSTS = b"strict-transport-security"
_YEAR = 31_536_000
_max_age = re.compile(r'(?:^|;)\s*max-age\s*=\s*"?([0-9]+)"?\s*(?:;|$)', re.IGNORECASE).search
_Origins = Literal["same-origin", "same-site", "cross-origin"]
# What names a program or its version to whoever asks, after the OWASP Secure Headers Project's list.
_TELL_TALES = (
    "Server",
    "X-Powered-By",
    "X-AspNet-Version",
    "X-AspNetMvc-Version",
    "X-Generator",
    "X-Runtime",
    "X-Backend-Server",
    "X-SourceFiles",
    "X-CF-Powered-By",
    "Powered-By",
)


class SecurityHeaders(Middleware):
    """Adds the fields that make browsers careful, and removes those that tell what runs here.

    The defaults are those of the OWASP Secure Headers Project as far as they break no site that works.
    Each option is a field's value; ``none`` leaves that field alone. What the upstream has set itself
    stays, because it knows its pages, unless ``replace`` says otherwise.

    * ``hsts``: Strict-Transport-Security, only for clients that came by TLS; what the upstream says of it
      without TLS is removed (RFC 6797 7.2). Default ``max-age=31536000; includeSubDomains``.
    * ``content_type_options``: X-Content-Type-Options. Default ``nosniff``.
    * ``frame_options``: X-Frame-Options, for old browsers. Default ``DENY``.
    * ``content_security_policy``: default ``frame-ancestors 'none'``; a site of one's own pages can have
      ``default-src 'self'; ...``.
    * ``report_only``: Content-Security-Policy-Report-Only. Default ``none``.
    * ``referrer_policy``: Referrer-Policy. Default ``no-referrer``.
    * ``cross_origin_opener``, ``cross_origin_resource``: Cross-Origin-Opener-Policy and
      Cross-Origin-Resource-Policy. Default ``same-origin`` both.
    * ``cross_origin_embedder``: Cross-Origin-Embedder-Policy. Default ``none``: ``require-corp`` breaks
      pages that embed anything from elsewhere.
    * ``permissions_policy``: Permissions-Policy. Default ``none``.
    * ``cross_domain_policies``: X-Permitted-Cross-Domain-Policies. Default ``none``, the value: write an
      empty one to leave the field alone.
    * ``remove``: fields that go. Default: Server, X-Powered-By and others that name programs.
    * ``replace``: whether what the upstream has set is replaced. Default ``no``.
    """

    def __init__(
        self,
        app: App,
        hsts: str | None = f"max-age={_YEAR}; includeSubDomains",
        content_type_options: Literal["nosniff"] | None = "nosniff",
        frame_options: Literal["DENY", "SAMEORIGIN"] | None = "DENY",
        content_security_policy: str | None = "frame-ancestors 'none'",
        report_only: str | None = None,
        referrer_policy: str | None = "no-referrer",
        cross_origin_opener: Literal["same-origin", "same-origin-allow-popups", "noopener-allow-popups"]
        | None = "same-origin",
        cross_origin_resource: _Origins | None = "same-origin",
        cross_origin_embedder: Literal["require-corp", "credentialless"] | None = None,
        permissions_policy: str | None = None,
        cross_domain_policies: str = "none",
        remove: Sequence[str] = _TELL_TALES,
        replace: bool = False,
    ) -> None:
        super().__init__(app)
        always = [
            _field(option, name, value)
            for option, name, value in (
                ("content_type_options", "X-Content-Type-Options", content_type_options),
                ("frame_options", "X-Frame-Options", frame_options),
                ("content_security_policy", "Content-Security-Policy", content_security_policy),
                ("report_only", "Content-Security-Policy-Report-Only", report_only),
                ("referrer_policy", "Referrer-Policy", referrer_policy),
                ("cross_origin_opener", "Cross-Origin-Opener-Policy", cross_origin_opener),
                ("cross_origin_resource", "Cross-Origin-Resource-Policy", cross_origin_resource),
                ("cross_origin_embedder", "Cross-Origin-Embedder-Policy", cross_origin_embedder),
                ("permissions_policy", "Permissions-Policy", permissions_policy),
                ("cross_domain_policies", "X-Permitted-Cross-Domain-Policies", cross_domain_policies),
            )
            if value
        ]
        removed = {_field("remove", name, "")[0] for name in remove}
        self._over_tls = _Edits([*always, *_hsts_field(hsts)], removed, replace)
        self._otherwise = _Edits(always, removed | {_HSTS}, replace)

    def __call__(self, request: Request) -> Response:
        edits = self._over_tls if request.scheme == "https" else self._otherwise
        try:
            response = self.app(request)
        except Exception as error:
            edits.apply(answer_headers(error))
            raise
        edits.apply(response.headers)
        return response


class _Edits:
    """What is done to every response."""

    __slots__ = ("_names", "_new", "_removed")

    def __init__(self, new: list[Field], removed: set[bytes], replace: bool) -> None:
        self._new = new
        self._names = frozenset(field[0] for field in new)
        self._removed = frozenset(removed | {field[0] for field in new} if replace else removed)

    def apply(self, headers: Headers) -> None:
        removed, fields = self._removed, headers.fields
        present = {field[0] for field in fields}
        if not removed.isdisjoint(present):
            headers.fields = fields = [field for field in fields if field[0] not in removed]
            present -= removed
        fields += self._new if self._names.isdisjoint(present) else self._missing(present)

    def _missing(self, present: set[bytes]) -> list[Field]:
        return [field for field in self._new if field[0] not in present]


def _field(option: str, name: str, value: str) -> Field:
    try:
        return make_field(name, value)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def _hsts_field(value: str | None) -> list[Field]:
    if not value:
        return []
    max_age = _max_age(value)
    if max_age is None:
        raise ValueError(f"hsts: {value!r} says no max-age; write max-age=SECONDS")
    words = [word.strip().lower() for word in value.split(";")]
    if "preload" in words and (int(max_age[1]) < _YEAR or "includesubdomains" not in words):
        raise ValueError(
            f"hsts: browsers preload only with includeSubDomains and a max-age of {_YEAR} or more"
        )
    return [_field("hsts", "Strict-Transport-Security", value)]
