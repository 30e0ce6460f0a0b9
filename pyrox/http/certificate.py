"""``ClientCertificate``: who a client is by its verified certificate, and how upstream is told.

What is in a certificate was written by its owner and passed on by an authority: any character can be in
it. So every text here is printable ASCII in which the separators of its syntax are escaped, as RFC 4514
does it: no name can become a second header line, or a second name.
"""

from __future__ import annotations

import hashlib
import math
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyrox.http.field_names import CONNECTION_FIELDS, PROTECTED_FIELDS, normal_names
from pyrox.http.headers import Field, make_field

# RFC 4514 section 3, and what OpenSSL calls the attributes besides.
_SHORT_NAMES = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_NAME_KINDS = {"DNS": "DNS", "email": "email", "URI": "URI", "IP Address": "IP", "DirName": "DirName"}

Name = tuple[tuple[tuple[str, str], ...], ...]  # as ``ssl`` gives a distinguished name


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate that was verified, with the proof that the client has its key.

    * ``subject``, ``issuer``: distinguished names as in RFC 4514: ``"CN=ada,O=Acme"``.
    * ``names``: the subject alternative names, each with its kind: ``("DNS:a.example", "URI:spiffe://a/b")``;
      kinds are DNS, email, URI, IP and DirName.
    * ``serial``: the issuer's number for it, in upper-case hexadecimal digits.
    * ``fingerprint``: the SHA-256 of ``der``, in lower-case hexadecimal digits.
    * ``not_after``: when it expires, in seconds since 1970.
    * ``der``: the certificate itself.
    """

    subject: str
    issuer: str = ""
    names: tuple[str, ...] = ()
    serial: str = ""
    fingerprint: str = ""
    not_after: float = math.inf
    der: bytes = b""

    @classmethod
    def from_peer(cls, info: Mapping[str, Any], der: bytes) -> ClientCertificate:
        """Make it from both forms that ``SSLSocket.getpeercert`` has."""
        return cls(
            subject=_distinguished_name(info.get("subject", ())),
            issuer=_distinguished_name(info.get("issuer", ())),
            names=tuple(_alternative_names(info.get("subjectAltName", ()))),
            serial=info["serialNumber"],
            fingerprint=hashlib.sha256(der).hexdigest(),
            not_after=ssl.cert_time_to_seconds(info["notAfter"]),
            der=der,
        )


def _distinguished_name(name: Name) -> str:
    """RFC 4514 2.1: the last relative name, which is the most specific, comes first."""
    parts = ["+".join(f"{_SHORT_NAMES.get(key, key)}={_escape(value)}" for key, value in rdn) for rdn in name]
    return ",".join(reversed(parts))


def _alternative_names(names: Iterable[tuple[str, Any]]) -> Iterable[str]:
    for kind, value in names:
        if kind in _NAME_KINDS:  # others, such as otherName, come without their value
            text = _distinguished_name(value) if kind == "DirName" else value
            yield f"{_NAME_KINDS[kind]}:{_escape(text)}"


def _escape(text: str) -> str:
    """RFC 4514 2.4; what is not printable ASCII becomes the escaped bytes of its UTF-8 form."""
    escaped = "".join(map(_escape_character, text))
    if escaped[:1] in ("#", " "):
        escaped = "\\" + escaped
    return escaped[:-1] + "\\ " if text[1:].endswith(" ") else escaped


def _escape_character(character: str) -> str:
    if " " <= character <= "~":
        return "\\" + character if character in '\\,+";<>' else character
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


# What a field can tell of a certificate.
_VALUES: Mapping[str, Callable[[ClientCertificate], str]] = {
    "subject": lambda certificate: certificate.subject,
    "issuer": lambda certificate: certificate.issuer,
    "names": lambda certificate: ",".join(certificate.names),
    "serial": lambda certificate: certificate.serial,
    "fingerprint": lambda certificate: certificate.fingerprint,
    # RFC 9440 2.2: an RFC 8941 byte sequence, as in its Client-Cert field.
    "certificate": lambda certificate: f":{b64encode(certificate.der).decode()}:",
}


class CertificateFields:
    """The fields that tell upstream about the client's certificate.

    ``items`` are ``"Name: value"``, with the values subject, issuer, names, serial, fingerprint and
    certificate. Raises ``ValueError`` for any other, and for a field that has another meaning.
    """

    def __init__(self, items: Iterable[str]) -> None:
        self._fields = [_parse_item(item) for item in items]
        self.names = normal_names(name for name, _ in self._fields)

    def encode(self, certificate: ClientCertificate) -> tuple[Field, ...]:
        """Return the field lines about ``certificate``; one that would be empty is left out."""
        values = ((name, _VALUES[value](certificate)) for name, value in self._fields)
        return tuple(make_field(name, value) for name, value in values if value)


def _parse_item(item: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in item.partition(":"))
    if not colon or value not in _VALUES:
        *most, last = _VALUES
        raise ValueError(f"{item!r} is not 'Name: value' with a value of {', '.join(most)} or {last}")
    lower = make_field(name, "")[0]
    if lower in CONNECTION_FIELDS or lower in PROTECTED_FIELDS:
        raise ValueError(f"{name} has another meaning; choose a field such as X-Client-Cert-Subject")
    return name, value
