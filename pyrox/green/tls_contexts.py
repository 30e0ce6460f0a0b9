"""The contexts of TLS on both sides: made by the master, inherited by its workers.

Session tickets are sealed with keys that OpenSSL makes for a context and does not show. All workers open
each other's tickets because all have the context that the master made before it forked them. So that one
has to stay while certificates come and go: it holds no certificate, and hands each connection to a context
that does when the client has said which name it wants.
"""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING, Any

from pyrox.config_tls import certificate_names
from pyrox.errors import ClientGone, ConfigError
from pyrox.green.tls_files import LISTENER, UPSTREAM, CertificateFiles, Pem, as_file, label_of
from pyrox.http.certificate import CertificateFields
from pyrox.settings import Settings, SslSettings, UpstreamSettings

if TYPE_CHECKING:
    from pyrox.green.tls import TlsClientStream
    from pyrox.http.forwarding import ClientSide

log = logging.getLogger("pyrox")

_VERIFY_CLIENT = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class Tls:
    """All of a configuration's TLS.

    ``server`` is None when listeners speak plain HTTP. Raises ``ConfigError`` when a file that was good a
    moment ago is not any more.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            self._files = files = CertificateFiles(settings)
            self.server = ServerTls(settings.ssl, files.pems) if LISTENER in files.pems else None
            self.upstream = UpstreamTls(settings.upstream, files.pems.get(UPSTREAM))
        except OSError as error:
            raise ConfigError([f"{settings.source}: [ssl]: {error}"]) from None

    def watch(self) -> None:
        """In the master, about once a second: take new certificates that can be used, for the workers too."""
        if self._files.reread() and self._use():
            try:
                self._files.publish()
            except OSError as error:
                log.error("new certificates do not get to the workers: %s", error)

    def refresh(self) -> None:
        """In a worker, about once a second: use what the master has found."""
        if self._files.receive():
            self._use()

    def _use(self) -> bool:
        pems = self._files.pems
        try:
            if self.server is not None:
                self.server.use(pems)
            self.upstream.use(pems.get(UPSTREAM))
        except OSError as error:
            log.error("new certificates cannot be used: %s", error)
            return False
        return True


class ServerTls:
    """The listeners' side: one context for the tickets, and one for each certificate."""

    def __init__(self, settings: SslSettings, pems: Mapping[str, Pem]) -> None:
        self._fields = CertificateFields(settings.client_certificate_headers)
        self.asks_clients = settings.client_certificates != "off"
        self._certificates = _Certificates(settings, pems)
        self.context = _server_context(settings, self._certificates.authorities)
        # Not a method of this object: a context in a cycle would outlive its reload.
        self.context.sni_callback = self._certificates.choose  # type: ignore[assignment]

    def use(self, pems: Mapping[str, Pem]) -> None:
        """Replace the certificates that are different in ``pems``; raises ``OSError`` and keeps all."""
        self._certificates.use(pems)

    def identify(self, stream: TlsClientStream, side: ClientSide) -> None:
        """Tell ``side`` of the client's certificate, if it was asked for one, after the handshake.

        Raises ``ClientGone`` when it cannot be read, or expired after a session began that is resumed now:
        OpenSSL verifies only in a full handshake.
        """
        if not self.asks_clients:
            return
        try:
            certificate = stream.peer_certificate()
        except (ValueError, OSError) as error:  # an authority signs what it is given
            raise ClientGone(f"TLS handshake: the client's certificate cannot be read: {error}") from None
        if certificate is None:
            side.identify(None, ())
        elif certificate.not_after < time():
            raise ClientGone("TLS handshake: the client's certificate has expired since its session began")
        else:
            side.identify(certificate, self._fields.encode(certificate))


class _Certificates:
    """The context of each certificate, by the names it is for."""

    def __init__(self, settings: SslSettings, pems: Mapping[str, Pem]) -> None:
        self._settings = settings
        self.authorities = _read_authorities(settings.client_ca_file)
        self._pems: dict[str, Pem] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.use(pems)

    def use(self, pems: Mapping[str, Pem]) -> None:
        labels = [LISTENER, *map(label_of, self._settings.certificates)]
        contexts = {label: self._context(label, pems[label]) for label in labels}
        names = {label: self._names(label, pems[label]) for label in labels}
        self._contexts, self._pems = contexts, {label: pems[label] for label in labels}
        self._default = contexts[LISTENER]
        self._by_name: dict[str, ssl.SSLContext] = {}
        for label in labels:
            for name in names[label]:
                self._by_name.setdefault(name, contexts[label])

    def _context(self, label: str, pem: Pem) -> ssl.SSLContext:
        if self._pems.get(label) == pem:
            return self._contexts[label]
        context = _server_context(self._settings, self.authorities)
        _load_pair(context, pem)
        return context

    def _names(self, label: str, pem: Pem) -> tuple[str, ...]:
        for name, pair in self._settings.certificates.items():
            if label == label_of(name) and pair.server_names:
                return pair.server_names
        with as_file(pem[0]) as path:
            return tuple(certificate_names(path))

    def choose(self, stream: TlsClientStream, name: str | None, _: ssl.SSLContext) -> None:
        """Called by OpenSSL when it has read the ClientHello: give the connection its certificate.

        RFC 6066 section 3: ``name`` is a DNS name without a trailing dot, or None. RFC 9525 6.3: a
        wildcard stands for exactly one label, the first.
        """
        context = None
        if name is not None:
            name = name.lower()
            context = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        stream.use_context(context or self._default)


def ignore_undecodable_names() -> None:
    """Keep names that are not ASCII out of this process's log.

    Python cannot call ``choose`` with one, and prints a traceback to say so; that the handshake failed is
    logged anyway, in one line. Nobody should be able to fill a log with tracebacks.
    """
    sys.unraisablehook = _report_unraisable


def _report_unraisable(unraisable: Any) -> None:
    if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
        sys.__unraisablehook__(unraisable)


class UpstreamTls:
    """The upstream's side; ``context`` is for new connections."""

    def __init__(self, settings: UpstreamSettings, pem: Pem | None) -> None:
        self._settings = settings
        self._authorities = _read_authorities(settings.ca_file)
        self._pem = pem
        self.context = self._make(pem)

    def use(self, pem: Pem | None) -> None:
        """Show the client certificate ``pem`` from now on; raises ``OSError`` and keeps the former."""
        if pem != self._pem:
            self.context = self._make(pem)
            self._pem = pem

    def _make(self, pem: Pem | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._authorities)
        context.set_alpn_protocols(["http/1.1"])
        if not self._settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if pem is not None:
            _load_pair(context, pem)
        return context


def _server_context(settings: SslSettings, authorities: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = getattr(ssl.TLSVersion, settings.minimum_version.replace(".", "_"))
    context.set_ciphers(settings.ciphers)
    context.set_alpn_protocols(["http/1.1"])
    # All suites are good, so the client, which knows its hardware, chooses. By OpenSSL's own order TLS 1.3
    # would take AES-256 with SHA-384, whose key schedule costs twice that of SHA-256.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Each is a record, a system call and a packet. A client that resumes gets a new one each time.
    context.num_tickets = 1
    context.verify_mode = _VERIFY_CLIENT[settings.client_certificates]
    if authorities is not None:
        context.load_verify_locations(cadata=authorities)
    return context


def _load_pair(context: ssl.SSLContext, pem: Pem) -> None:
    chain, key = pem
    with as_file(chain) as chain_path, as_file(key) as key_path:
        # Without a password OpenSSL would ask for it on the terminal.
        context.load_cert_chain(chain_path, key_path, password="")


def _read_authorities(path: str | None) -> str | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        # Between certificates there may be comments in any encoding.
        return file.read().decode("ascii", "ignore")
