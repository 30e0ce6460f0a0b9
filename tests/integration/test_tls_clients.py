"""Client certificates: who is let in, and what servers and middleware are told of them."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, post, tls_client, via
from tests.support.authority import Authority, Pair
from tests.support.config import Config
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

ROUTED: Config = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"verbosity": "INFO"},
    "middleware": {"stack": "by_field", "by_field": {"class": "routing.RouteByField"}},
}
FIELDS = ("x-client-cert-subject", "x-client-cert-names", "x-client-cert-serial", "x-client-cert-fingerprint")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("server", names="DNS:localhost")


@pytest.fixture(scope="module")
def ada(authority: Authority) -> Pair:
    names = "DNS:ada.test,email:ada@a.test,URI:spiffe://a.test/ada"
    return authority.issue("ada", subject="/O=Acme, Inc./CN=ada", names=names, serial="0A1B2C")


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(serve(OK)) as origin:
        yield origin


def config(authority: Authority, server: Pair, mode: str, **ssl_options: object) -> Config:
    options = {"client_certificates": mode, "client_ca_file": str(authority.ca_file), **ssl_options}
    if mode == "off":
        del options["client_ca_file"]
    return {**ROUTED, "ssl": {**server.options, **options}}


@pytest.fixture(scope="module", params=["optional", "required"])
def asking(request: pytest.FixtureRequest, authority: Authority, server: Pair) -> Iterator[Proxy]:
    with running_proxy(config(authority, server, request.param), python_path=[PLUGINS]) as proxy:
        proxy.mode = request.param  # type: ignore[attr-defined]
        yield proxy


@pytest.fixture(scope="module")
def optional(authority: Authority, server: Pair) -> Iterator[Proxy]:
    with running_proxy(config(authority, server, "optional"), python_path=[PLUGINS]) as proxy:
        yield proxy


def told(origin: Origin) -> dict[str, bytes]:
    """What the newest request told the origin of the client's certificate."""
    return {
        name.decode().lower(): value
        for name, value in origin.requests[-1].fields
        if b"client" in name.lower().replace(b"_", b"-")
    }


def is_refused(proxy: Proxy, context: ssl.SSLContext, origin: Origin) -> bool:
    """TLS 1.3 clients think that their handshake is done before the server has judged it."""
    try:
        with tls_client(proxy.address, context) as client:
            client.ask(get("/", via(origin)))
    except (ssl.SSLError, ConnectionError, PeerClosed):
        return True
    return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_good_certificate_is_let_in_and_told_upstream(
    asking: Proxy, authority: Authority, ada: Pair, origin: Origin, version: ssl.TLSVersion
) -> None:
    context = authority.client(ada)
    context.minimum_version = context.maximum_version = version
    with tls_client(asking.address, context) as client:
        for _ in range(2):
            assert client.ask(get("/", via(origin))).status == 200
            der = ssl.PEM_cert_to_DER_cert(ada.cert.read_text())
            assert told(origin) == {
                "x-client-cert-subject": rb"CN=ada,O=Acme\, Inc.",
                "x-client-cert-names": b"DNS:ada.test,email:ada@a.test,URI:spiffe://a.test/ada",
                "x-client-cert-serial": b"0A1B2C",
                "x-client-cert-fingerprint": hashlib.sha256(der).hexdigest().encode(),
            }


def test_no_certificate_is_let_in_when_optional_and_refused_when_required(
    asking: Proxy, authority: Authority, origin: Origin
) -> None:
    assert is_refused(asking, authority.client(), origin) is (asking.mode == "required")  # type: ignore[attr-defined]
    if asking.mode == "required":  # type: ignore[attr-defined]
        asking.wait_for_log("peer did not return a certificate")
        assert origin.requests == []
    else:
        assert told(origin) == {}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_expired_certificate_is_refused(
    asking: Proxy, authority: Authority, origin: Origin, version: ssl.TLSVersion
) -> None:
    context = authority.client(authority.issue("expired", days=-1))
    context.minimum_version = context.maximum_version = version
    assert is_refused(asking, context, origin)
    asking.wait_for_log("certificate has expired")
    assert origin.requests == []


def test_certificate_of_an_unknown_authority_is_refused(
    asking: Proxy, authority: Authority, origin: Origin, tmp_path: Path
) -> None:
    # The same name does not make it the same authority.
    stranger = Authority(tmp_path / "stranger").issue("ada", subject="/CN=ada")
    assert is_refused(asking, authority.client(stranger), origin)
    asking.wait_for_log("certificate verify failed")
    assert origin.requests == []


def test_certificate_that_is_for_servers_only_is_refused(
    asking: Proxy, authority: Authority, origin: Origin
) -> None:
    pair = authority.issue("server-only", more="extendedKeyUsage=serverAuth\n")
    assert is_refused(asking, authority.client(pair), origin)


SPOOFED = [
    "X-Client-Cert-Subject: CN=root",
    "x-client-cert-subject: CN=root",
    "X_Client_Cert_Subject: CN=root",
    "X-Client_Cert-Subject: CN=root",
    "X-Client-Cert-Fingerprint: 00",
    "X-Client-Cert-Serial: 01",
    "X-Client-Cert-Names: DNS:root",
]


@pytest.mark.parametrize("underscores", ["drop", "allow"])
@pytest.mark.parametrize("mode", ["off", "optional"])
@pytest.mark.parametrize("is_trusted", [False, True])
def test_no_client_can_say_itself_who_it_is(
    authority: Authority,
    server: Pair,
    ada: Pair,
    origin: Origin,
    mode: str,
    underscores: str,
    is_trusted: bool,
) -> None:
    """With client certificates off, a peer in trusted_proxies may have asked for one itself."""
    http = {"underscore_headers": underscores, "trusted_proxies": "127.0.0.1" if is_trusted else ""}
    settings = {**config(authority, server, mode), "http": http}
    trailers = (
        get("/", via(origin), "Transfer-Encoding: chunked", method="POST")
        + b"0\r\n"
        + b"".join(f"{line}\r\n".encode() for line in SPOOFED)
    )
    with running_proxy(settings, python_path=[PLUGINS]) as proxy:
        with tls_client(proxy.address, authority.client()) as client:
            client.ask(get("/", via(origin), *SPOOFED))
            by_proxy = mode == "off" and is_trusted
            assert set(told(origin)) == (set(FIELDS) if by_proxy else set())
            client.ask(get("/", via(origin), *SPOOFED, "Connection: x-client-cert-subject"))
            assert not by_proxy or b"CN=root" in told(origin).values()
            client.ask(post("/", b"x", via(origin), *SPOOFED))
            assert set(told(origin)) == (set(FIELDS) if by_proxy else set())
            assert client.ask(trailers + b"\r\n").status == 200
            assert told(origin) == {}
            assert origin.requests[-1].trailers == []
        if mode != "off":
            with tls_client(proxy.address, authority.client(ada)) as client:
                client.ask(get("/", via(origin), *SPOOFED, "Connection: x-client-cert-subject"))
                assert told(origin)["x-client-cert-subject"] == rb"CN=ada,O=Acme\, Inc."
                assert b"CN=root" not in told(origin).values()


def test_no_client_of_a_plain_listener_can_say_itself_who_it_is(origin: Origin) -> None:
    with running_proxy({"routing": {"upstream_hosts": origin.url}}) as proxy:
        with Client(proxy.address) as client:
            client.ask(get("/", *SPOOFED))
            assert told(origin) == {}


def test_names_of_the_fields_are_the_operators(
    authority: Authority, server: Pair, ada: Pair, origin: Origin
) -> None:
    fields = ["X-SSL-Client-S-DN: subject", "X-SSL-Client-I-DN: issuer", "Client-Cert: certificate"]
    settings = config(authority, server, "required", client_certificate_headers=fields)
    with (
        running_proxy(settings, python_path=[PLUGINS]) as proxy,
        tls_client(proxy.address, authority.client(ada)) as client,
    ):
        client.ask(get("/", via(origin), "X-SSL-Client-S-DN: CN=root", "X-Client-Cert-Subject: passes"))
    found = told(origin)
    assert found.pop("x-client-cert-subject") == b"passes"  # it means nothing here
    certificate = found.pop("client-cert")
    assert found == {"x-ssl-client-s-dn": rb"CN=ada,O=Acme\, Inc.", "x-ssl-client-i-dn": b"CN=test CA"}
    assert certificate[:1] == certificate[-1:] == b":"  # RFC 9440: base64 between colons
    pem = "".join(ada.cert.read_text().split("-----")[2].split())
    assert certificate[1:-1].decode() == pem


def test_name_with_any_character_stays_one_field(
    optional: Proxy, authority: Authority, origin: Origin
) -> None:
    pair = authority.issue("odd", subject="/O=a\\, CN=root;\\\\/CN= Zoë\t<b> ")
    with tls_client(optional.address, authority.client(pair)) as client:
        assert client.ask(get("/", via(origin))).status == 200
    assert told(origin)["x-client-cert-subject"] == (rb"CN=\ Zo\C3\AB\09\<b\>\ ,O=a\, CN=root\;" + b"\\\\")


def test_certificate_with_names_that_are_no_text_is_refused(
    asking: Proxy, authority: Authority, origin: Origin
) -> None:
    assert is_refused(asking, authority.client(authority.issue("bytes", names="URI:x:\udcff")), origin)
    asking.wait_for_log("the client's certificate cannot be read")
    assert origin.requests == []


def test_middleware_sees_the_certificate(authority: Authority, server: Pair, ada: Pair) -> None:
    settings: Config = {
        **config(authority, server, "optional"),
        "middleware": {"stack": "who", "who": {"class": "who_is_it.WhoIsIt"}},
    }
    with running_proxy(settings, python_path=[PLUGINS]) as proxy:
        with tls_client(proxy.address, authority.client(ada)) as client:
            assert client.ask(get()).body == rb"CN=ada,O=Acme\, Inc. DNS:ada.test"
        with tls_client(proxy.address, authority.client()) as client:
            assert client.ask(get()).body == b"nobody"


def test_curl_shows_its_certificate(optional: Proxy, authority: Authority, ada: Pair, origin: Origin) -> None:
    url = f"https://localhost:{optional.port}/"
    command = [
        "curl",
        "-sS",
        "-4",
        "--cacert",
        authority.ca_file,
        "--cert",
        ada.cert,
        "--key",
        ada.key,
        "-H",
        via(origin),
        url,
    ]
    with contextlib.suppress(FileNotFoundError):
        done = subprocess.run(command, capture_output=True, timeout=30, check=True)
        assert done.stdout == b"ok"
        assert told(origin)["x-client-cert-subject"] == rb"CN=ada,O=Acme\, Inc."


def test_refused_clients_leave_nothing_behind(asking: Proxy, authority: Authority, origin: Origin) -> None:
    context = authority.client(authority.issue("late", days=-1))
    before = asking.fd_count()
    for _ in range(20):
        assert is_refused(asking, context, origin)
    asking.wait_until(lambda: asking.fd_count() <= before, "return of the descriptors")
