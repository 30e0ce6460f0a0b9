"""The rules of TLS: certificates, keys and authorities must be there, and fit.

OpenSSL's own words for what is wrong ("PEM lib") help nobody, so the usual mistakes are looked for first.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from pyrox.settings import Settings, SslSettings, UpstreamSettings

Problem = tuple[str, str, str]  # section, key, reason

_CERTIFICATE, _KEY = b"CERTIFICATE-----", b"PRIVATE KEY-----"


def tls_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong with the options and the files of both sides."""
    tls, upstream = settings.ssl, settings.upstream
    yield from _under("ssl", "", pair_problems(tls.cert_file, tls.key_file))
    for name, pair in tls.certificates.items():
        place = f"[[{name}]] "
        yield from _under("ssl", place, pair_problems(pair.cert_file, pair.key_file))
        if pair.cert_file is None and pair.key_file is None:
            yield "ssl", f"{place}cert_file", "is missing"
        elif pair.cert_file and not pair.server_names and not _names_of(pair.cert_file):
            yield "ssl", f"{place}server_names", f"{pair.cert_file!r} holds no DNS name; list some here"
    yield from _under("ssl", "", _listener_problems(tls))
    yield from _under("ssl", "", _redirect_problems(settings))
    yield from _under("upstream", "", _upstream_problems(upstream))


def tls_warnings(settings: Settings) -> Iterator[str]:
    """Yield what works and should be thought about twice."""
    if not settings.upstream.verify:
        yield (
            "[upstream] verify = no: whoever answers for an https server is believed to be it; "
            "ca_file names the authority of certificates that no public one has signed"
        )


def _under(section: str, place: str, problems: Iterator[tuple[str, str]]) -> Iterator[Problem]:
    return ((section, place + key, reason) for key, reason in problems)


def _listener_problems(tls: SslSettings) -> Iterator[tuple[str, str]]:
    is_on = tls.cert_file is not None
    if not is_on and tls.certificates:
        yield "cert_file", "is missing; it is for clients that ask for no name of a [[section]]"
    elif not is_on and tls.client_certificates != "off":
        yield "client_certificates", "needs TLS, so cert_file and key_file"
    if tls.client_certificates != "off" and tls.client_ca_file is None:
        yield "client_ca_file", f"is missing; client_certificates = {tls.client_certificates} needs it"
    elif tls.client_certificates == "off" and tls.client_ca_file is not None:
        yield "client_ca_file", "has no use while client_certificates is off; make it optional or required"
    if tls.client_ca_file is not None and (reason := _authorities_fault(tls.client_ca_file)):
        yield "client_ca_file", reason
    if reason := _cipher_fault(tls.ciphers):
        yield "ciphers", reason


def _redirect_problems(settings: Settings) -> Iterator[tuple[str, str]]:
    binds = settings.ssl.redirect_bind
    if binds and settings.ssl.cert_file is None:
        yield "redirect_bind", "has nowhere to send clients to without cert_file and key_file"
    for bind in binds:
        if bind in settings.core.bind_host and not bind.endswith(":0"):
            yield "redirect_bind", f"{bind!r} stands in [core] bind_host, too"


def _upstream_problems(upstream: UpstreamSettings) -> Iterator[tuple[str, str]]:
    if upstream.ca_file is not None and (reason := _authorities_fault(upstream.ca_file)):
        yield "ca_file", reason
    yield from pair_problems(upstream.cert_file, upstream.key_file)


def pair_problems(cert_file: str | None, key_file: str | None) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a certificate and its key, each with the option it is the fault of."""
    if cert_file is None and key_file is None:
        return
    if key_file is None:
        yield "key_file", "is missing; cert_file needs its private key"
    elif cert_file is None:
        yield "cert_file", "is missing; key_file needs its certificate"
    else:
        yield from _file_problems(cert_file, key_file)


def _file_problems(cert_file: str, key_file: str) -> Iterator[tuple[str, str]]:
    faults = {
        "cert_file": _pem_fault(cert_file, _CERTIFICATE, "certificate"),
        "key_file": _pem_fault(key_file, _KEY, "private key"),
    }
    yield from ((key, reason) for key, reason in faults.items() if reason)
    if any(faults.values()):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
    except OSError as error:
        yield "cert_file", f"{cert_file!r} cannot be used with {key_file!r}: {_tls_reason(error)}"


def _authorities_fault(path: str) -> str:
    if reason := _pem_fault(path, _CERTIFICATE, "certificate"):
        return reason
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        return f"{path!r} cannot be used: {_tls_reason(error)}"
    return ""


def _pem_fault(path: str, mark: bytes, what: str) -> str:
    """Return why the file cannot hold ``what``, or ``""``."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        return f"{path!r} cannot be read: {error.strerror}"
    if mark not in content:
        return f"{path!r} has no {what} in PEM"
    if what == "private key" and b"ENCRYPTED" in content:
        # OpenSSL would ask for the passphrase on the terminal.
        return f"{path!r} has a passphrase; remove it from the key"
    return ""


def _tls_reason(error: OSError) -> str:
    reason: str = getattr(error, "reason", None) or str(error)
    return "the key is another certificate's" if reason == "KEY_VALUES_MISMATCH" else reason


def _cipher_fault(ciphers: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(ciphers)
    except ssl.SSLError:
        return f"OpenSSL knows no cipher suite of {ciphers!r}"
    return ""


def certificate_names(path: str) -> list[str]:
    """Return the DNS names of the first certificate in ``path``, in lower case.

    One with names that are no text has none. Raises ``OSError`` when there is no certificate.
    """
    try:
        # The standard library decodes certificates of peers only; this is what its own tests use.
        info = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    except UnicodeDecodeError:
        return []
    return [value.lower() for kind, value in info.get("subjectAltName", ()) if kind == "DNS"]


def _names_of(path: str) -> list[str]:
    try:
        return certificate_names(path)
    except OSError:
        return ["?"]  # the file is faulty, which is reported already
