"""``mtls_auth``: clients that are known by their certificate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time

from pyrox.errors import HTTPError
from pyrox.http.certificate import ClientCertificate
from pyrox.http.message import Request
from pyrox.middleware.authentication import ROLES_HEADER, USER_HEADER, Authentication
from pyrox.middleware.base import App
from pyrox.middleware.identity import Identity, IdentityFields
from pyrox.settings import Settings

# What the names of a kind are made of; a ``*`` of a pattern stands within one such part.
_SEPARATORS = {"DNS": ".", "email": "@", "URI": "/", "IP": "", "DirName": ",+"}
_OF_SUBJECT = ",+"

Part = tuple[str, str | None]  # what stands before a star and what behind it, None without a star

_group = re.compile(r"\$(\$|[0-9]+)?")
_escaped = re.compile(r"(?:\\[0-9A-F]{2})+|\\.")


class MtlsAuth(Authentication):
    """Lets in whose certificate, verified by TLS, is known here; says who that is.

    The listener has to ask for certificates: ``client_certificates`` in ``[ssl]``.

    * ``identities``: ``PATTERN -> NAME`` items; the first that fits says who the client is. A pattern is a
      subject such as ``CN=*,O=Acme``, or a subject alternative name with its kind, such as
      ``URI:spiffe://a.example/ns/*/sa/*`` or ``DNS:*.a.example``. A ``*`` stands for one part: up to a comma
      or plus, a slash, a dot, an at sign; what it stood for is ``$1``, ``$2`` in the name. Without any, the
      name is the whole subject.
    * ``roles``: a subsection with lines ``role = name, name``; in a name, ``*`` stands for one or more
      characters.
    * ``optional``: let clients without a certificate pass. Default ``no``.
    * ``user_header``, ``roles_header``: the fields that tell upstream; empty for none. Default
      ``X-Auth-User`` and ``X-Auth-Roles``.
    """

    def __init__(
        self,
        app: App,
        identities: Sequence[str] = (),
        roles: Mapping[str, Sequence[str]] | None = None,
        optional: bool = False,
        user_header: str | None = USER_HEADER,
        roles_header: str | None = ROLES_HEADER,
    ) -> None:
        fields = IdentityFields(user_header=user_header, roles_header=roles_header)
        super().__init__(app, None, optional, fields)
        self._rules = [_parse_rule(item) for item in identities]
        self._roles = {
            role: [_parse_part("roles", name) for name in names] for role, names in (roles or {}).items()
        }

    @classmethod
    def unmet_need(cls, settings: Settings) -> str:
        if settings.ssl.client_certificates != "off":
            return ""
        return "no client is asked for a certificate; set [ssl] client_certificates to optional or required"

    def authenticate(self, request: Request) -> Identity | None:
        client = request.client
        certificate = client.certificate if client is not None else None
        if client is None or certificate is None:
            return None
        # A connection may live longer than the certificate that it began with.
        if certificate.not_after <= time():
            raise HTTPError(403, "the certificate has expired")
        if self not in client.state:
            client.state[self] = self._identify(certificate)
        identity: Identity | None = client.state[self]
        if identity is None:
            raise HTTPError(403, "the certificate is of nobody who is known here")
        return identity

    def _identify(self, certificate: ClientCertificate) -> Identity | None:
        name = self._name(certificate)
        if not name:
            return None
        roles = [role for role, parts in self._roles.items() if any(_fits(name, part) for part in parts)]
        claims = {
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "names": certificate.names,
            "serial": certificate.serial,
            "fingerprint": certificate.fingerprint,
        }
        return Identity(name, "mtls_auth", frozenset(roles), claims=claims)

    def _name(self, certificate: ClientCertificate) -> str | None:
        if not self._rules:
            return certificate.subject
        for rule in self._rules:
            for text in certificate.names if rule.is_alternative else (certificate.subject,):
                name = rule.name_of(text)
                if name:
                    return name
        return None


@dataclass(frozen=True, slots=True)
class _Rule:
    """``PATTERN -> NAME``, taken apart."""

    is_alternative: bool  # of a subject alternative name, not of the subject
    separators: str
    parts: tuple[Part, ...]
    name: str

    def name_of(self, text: str) -> str | None:
        """Return whom ``text`` names, None when it does not fit; takes time in proportion to its length."""
        parts = _split(_lower_dns(text), self.separators)
        if len(parts) != len(self.parts):
            return None
        stars: list[str] = []
        for part, (before, behind) in zip(parts, self.parts, strict=True):
            if not _fits(part, (before, behind)):
                return None
            if behind is not None:
                stars.append(_unescape(part[len(before) : len(part) - len(behind)]))
        return _group.sub(lambda found: "$" if found[1] == "$" else stars[int(found[1]) - 1], self.name)


def _parse_rule(item: str) -> _Rule:
    pattern, arrow, name = (part.strip() for part in item.partition("->"))
    if not arrow or not pattern or not name:
        raise ValueError(f"identities: {item!r} is not PATTERN -> NAME; one with a comma needs quotes")
    kind, colon, _ = pattern.partition(":")
    is_alternative = bool(colon) and "=" not in kind
    if is_alternative and kind not in _SEPARATORS:
        raise ValueError(f"identities: {kind!r} is none of {', '.join(_SEPARATORS)}")
    separators = _SEPARATORS[kind] if is_alternative else _OF_SUBJECT
    if kind == "DNS":
        pattern = _lower_dns(pattern)
    parts = [_parse_part("identities", part) for part in _split(pattern, separators)]
    stars = sum(behind is not None for _, behind in parts)
    for number in _group.findall(name):
        if number != "$" and not (number and 1 <= int(number) <= stars):
            raise ValueError(f"identities: {item!r} has {stars} stars, not what ${number} stands for")
    return _Rule(is_alternative, separators, tuple(parts), name)


def _parse_part(option: str, part: str) -> Part:
    before, star, behind = part.partition("*")
    if "*" in behind:
        raise ValueError(f"{option}: {part!r} has two stars in one part")
    return before, behind if star else None


def _fits(text: str, part: Part) -> bool:
    before, behind = part
    if behind is None:
        return text == before
    return len(text) > len(before) + len(behind) and text.startswith(before) and text.endswith(behind)


def _lower_dns(text: str) -> str:
    return f"DNS:{text[4:].lower()}" if text.startswith("DNS:") else text


def _split(text: str, separators: str) -> list[str]:
    """Split after each separator, which stays with its part, unless a backslash escapes it (RFC 4514 2.4)."""
    parts = [""]
    is_escaped = False
    for character in text:
        parts[-1] += character
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character in separators:
            parts.append("")
    return parts


def _unescape(text: str) -> str:
    """Undo the escapes of RFC 4514, so that ``Zo\\C3\\AB`` is Zoë, and no two names look alike."""
    return _escaped.sub(_unescaped, text)


def _unescaped(found: re.Match[str]) -> str:
    escape = found[0]
    if len(escape) == 2:
        return escape[1]
    return bytes.fromhex(escape.replace("\\", "")).decode("utf-8", "surrogateescape")
