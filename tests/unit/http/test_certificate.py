"""What servers are told of a client's certificate: any name, one line, one meaning."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.http.certificate import CertificateFields, ClientCertificate


def peer(**changed: Any) -> dict[str, Any]:
    """What ``SSLSocket.getpeercert()`` gives."""
    return {
        "subject": ((("countryName", "DE"),), (("organizationName", "Acme"),), (("commonName", "ada"),)),
        "issuer": ((("commonName", "test CA"),),),
        "serialNumber": "0A1B2C",
        "notAfter": "Jan  1 00:00:00 2030 GMT",
        **changed,
    }


def subject(*names: tuple[str, str]) -> str:
    return ClientCertificate.from_peer(peer(subject=tuple((name,) for name in names)), b"").subject


def test_certificate_is_taken_from_what_the_peer_has_shown() -> None:
    names = (
        ("DNS", "a.test"),
        ("IP Address", "::1"),
        ("othername", "<unsupported>"),
        ("URI", "spiffe://a/b"),
    )
    certificate = ClientCertificate.from_peer(peer(subjectAltName=names), b"abc")
    assert certificate == ClientCertificate(
        subject="CN=ada,O=Acme,C=DE",
        issuer="CN=test CA",
        names=("DNS:a.test", "IP:::1", "URI:spiffe://a/b"),
        serial="0A1B2C",
        fingerprint="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        not_after=1893456000.0,
        der=b"abc",
    )


def test_certificate_without_names_has_none() -> None:
    assert ClientCertificate.from_peer(peer(), b"").names == ()


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("ada", "ada"),
        ("Acme, Inc.", r"Acme\, Inc."),
        ('a+b"c\\d<e>f;g', r"a\+b\"c\\d\<e\>f\;g"),
        ("#1", r"\#1"),
        (" a ", r"\ a\ "),
        (" ", r"\ "),
        ("a=b", "a=b"),
        ("Zoë", r"Zo\C3\AB"),
        ("a\r\nX-Admin: yes", r"a\0D\0AX-Admin: yes"),
        ("a\0b\x7f", r"a\00b\7F"),
        ("", ""),
    ],
)
def test_values_are_escaped_as_rfc_4514_does(value: str, escaped: str) -> None:
    assert subject(("commonName", value)) == f"CN={escaped}"


def test_attributes_have_their_short_names_and_the_most_specific_comes_first() -> None:
    names = [("domainComponent", "test"), ("userId", "7"), ("emailAddress", "a@b"), ("1.2.3.4", "x")]
    assert subject(*names) == "1.2.3.4=x,emailAddress=a@b,UID=7,DC=test"


def test_parts_of_one_relative_name_stay_together() -> None:
    name = ((("commonName", "ada"), ("userId", "7")), (("organizationName", "O"),))
    assert ClientCertificate.from_peer(peer(subject=name), b"").subject == "O=O,CN=ada+UID=7"


def test_no_alternative_name_can_look_like_two() -> None:
    directory = ((("commonName", "a,b"),),)
    names = (("URI", "x,DNS:admin"), ("DirName", directory), ("email", "a\nb@c"))
    certificate = ClientCertificate.from_peer(peer(subjectAltName=names), b"")
    assert CertificateFields(["X-N: names"]).encode(certificate) == (
        (b"x-n", b"X-N", rb"URI:x\,DNS:admin,DirName:CN=a\\\,b,email:a\0Ab@c"),
    )


@given(st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_any_subject_is_one_line_of_printable_ascii_that_can_be_taken_apart(values: list[str]) -> None:
    text = subject(*[("commonName", value) for value in values])
    assert re.fullmatch(r"[ -~]*", text)
    parts = re.findall(r"(?:^|,)CN=((?:\\[0-9A-F]{2}|\\.|[^\\,])*)", text)
    assert len(parts) == len(values)
    assert [_unescaped(part) for part in reversed(parts)] == [
        v.encode("utf-8", "surrogatepass") for v in values
    ]


def _unescaped(text: str) -> bytes:
    return re.sub(
        rb"\\([0-9A-F]{2})|\\(.)", lambda m: bytes.fromhex(m[1].decode()) if m[1] else m[2], text.encode()
    )


CERTIFICATE = ClientCertificate("CN=a", "CN=b", ("DNS:c", "DNS:d"), "0F", "00ff", 1.0, b"der")


def test_fields_tell_what_they_are_named_for() -> None:
    values = ["subject", "issuer", "names", "serial", "fingerprint", "certificate"]
    fields = CertificateFields([f"X-{value}: {value}" for value in values])
    assert [field[2] for field in fields.encode(CERTIFICATE)] == [
        b"CN=a",
        b"CN=b",
        b"DNS:c,DNS:d",
        b"0F",
        b"00ff",
        b":ZGVy:",
    ]


def test_empty_value_is_no_field() -> None:
    assert CertificateFields(["X-Names: names"]).encode(ClientCertificate("CN=a")) == ()


def test_names_are_those_that_a_server_may_confuse() -> None:
    assert CertificateFields(["X_Client-DN: subject"]).names == frozenset({b"x-client-dn"})


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "X-Forwarded-For", "Cookie", "Via", "Connection"]
)
def test_field_with_another_meaning_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="has another meaning"):
        CertificateFields([f"{name}: subject"])


@pytest.mark.parametrize(
    "item", ["X-A", "X-A: colour", ": subject", "X-A:", "X A: subject", "X-\nA: subject"]
)
def test_what_is_no_field_is_refused(item: str) -> None:
    with pytest.raises(ValueError, match=r"is not 'Name: value'|invalid header name"):
        CertificateFields([item])
