"""What a TLS listener speaks, with whom, and which certificate it shows to whom."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get, tls_client, via
from tests.support.authority import Authority, Pair
from tests.support.config import Config
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

ROUTED: Config = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"access_log_format": "json", "verbosity": "INFO"},
    "middleware": {
        "stack": "census, by_field",
        "census": {"class": "routing.Census"},
        "by_field": {"class": "routing.RouteByField"},
    },
}


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> dict[str, Pair]:
    return {
        "default": authority.issue("default", names="DNS:localhost,DNS:one.shop.test", key="rsa"),
        "blog": authority.issue("blog", names="DNS:blog.test,DNS:www.blog.test"),
        "shop": authority.issue("shop", names="DNS:*.shop.test,DNS:shop.test"),
        "listed": authority.issue("listed", names="DNS:not-used.test"),
    }


@pytest.fixture(scope="module")
def listener(pairs: dict[str, Pair]) -> Iterator[Proxy]:
    sections = {name: pairs[name].options for name in ("blog", "shop")}
    listed = {**pairs["listed"].options, "server_names": "Listed.test, *.listed.test"}
    tls = {**pairs["default"].options, **sections, "listed": listed}
    with running_proxy({**ROUTED, "ssl": tls}, python_path=[PLUGINS]) as proxy:
        yield proxy


def s_client(proxy: Proxy, *arguments: str | Path, asked: bytes = b"") -> str:
    """What ``openssl s_client`` says; whatever its exit status."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", *arguments]
    done = subprocess.run(command, input=asked, capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


def curl(proxy: Proxy, authority: Authority, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    url = f"https://localhost:{proxy.port}/"
    command = ["curl", "-sS", "-4", "--cacert", str(authority.ca_file), *arguments, url]
    return subprocess.run(command, capture_output=True, timeout=30, check=False)


# --- versions and ciphers


@pytest.mark.parametrize(("version", "spoken"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_versions_that_are_spoken(listener: Proxy, authority: Authority, version: str, spoken: str) -> None:
    said = s_client(listener, version, "-servername", "localhost", "-CAfile", authority.ca_file)
    assert f"New, {spoken}, Cipher is" in said
    assert "Verification: OK" in said


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(listener: Proxy, version: str) -> None:
    said = s_client(listener, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said
    assert "alert protocol version" in said


WEAK = (
    "AES128-GCM-SHA256",  # no forward secrecy
    "ECDHE-RSA-AES128-SHA",  # CBC
    "ECDHE-RSA-AES256-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
    "CAMELLIA",
    "ARIA",
    "aNULL",
    "eNULL",
)


@pytest.mark.parametrize("ciphers", WEAK)
def test_weak_ciphers_are_refused(listener: Proxy, ciphers: str) -> None:
    said = s_client(listener, "-tls1_2", "-cipher", f"{ciphers}:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said
    assert "handshake failure" in said


@pytest.mark.parametrize(
    "cipher", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"]
)
def test_good_ciphers_are_the_clients_to_choose_from(listener: Proxy, cipher: str) -> None:
    assert f"Cipher is {cipher}" in s_client(listener, "-tls1_2", "-cipher", cipher)


def test_what_a_cautious_scanner_looks_at(listener: Proxy) -> None:
    said = s_client(listener, "-tls1_2", "-status", "-alpn", "h2,http/1.1")
    assert "Secure Renegotiation IS supported" in said
    assert "Compression: NONE" in said
    assert "ALPN protocol: http/1.1" in said
    assert "Server Temp Key: X25519" in said


def test_client_cannot_renegotiate(listener: Proxy) -> None:
    said = s_client(listener, "-tls1_2", asked=b"R\n")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said


def test_minimum_version_and_ciphers_are_options(authority: Authority, pairs: dict[str, Pair]) -> None:
    tls = {**pairs["default"].options, "minimum_version": "TLSv1.3"}
    with running_proxy({**ROUTED, "ssl": tls}, python_path=[PLUGINS]) as proxy:
        assert "Cipher is (NONE)" in s_client(proxy, "-tls1_2")
        assert "New, TLSv1.3" in s_client(proxy, "-tls1_3")
    tls = {**pairs["default"].options, "ciphers": "ECDHE-RSA-AES256-GCM-SHA384"}
    with running_proxy({**ROUTED, "ssl": tls}, python_path=[PLUGINS]) as proxy:
        assert "Cipher is (NONE)" in s_client(proxy, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
        assert "Cipher is ECDHE-RSA-AES256-GCM-SHA384" in s_client(proxy, "-tls1_2")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_is_served_over_each_version(listener: Proxy, authority: Authority, version: str) -> None:
    with Origin(serve(OK)) as origin:
        done = curl(listener, authority, f"--tlsv{version}", "--tls-max", version, "-H", via(origin))
    assert (done.returncode, done.stdout) == (0, b"ok")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_curl_is_refused_below_that(listener: Proxy, authority: Authority, version: str) -> None:
    ciphers = ("--ciphers", "DEFAULT:@SECLEVEL=0")
    done = curl(listener, authority, f"--tlsv{version}", "--tls-max", version, *ciphers)
    assert done.returncode == 35  # CURLE_SSL_CONNECT_ERROR


# --- certificates by name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("localhost", "default"),
        ("blog.test", "blog"),
        ("www.blog.test", "blog"),
        ("WWW.Blog.TEST", "blog"),
        ("shop.test", "shop"),
        ("a.shop.test", "shop"),
        ("one.shop.test", "default"),  # an exact name goes before a wildcard
        ("a.b.shop.test", "default"),  # RFC 9525 6.3: a wildcard stands for one label
        ("listed.test", "listed"),
        ("a.listed.test", "listed"),
        ("not-used.test", "default"),
        ("unknown.test", "default"),
        ("test", "default"),
        (None, "default"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificate_is_that_of_the_name_the_client_asks_for(
    listener: Proxy, pairs: dict[str, Pair], name: str | None, shown: str, version: ssl.TLSVersion
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    with Client(listener.address) as client:
        client.socket = connection = context.wrap_socket(client.socket, server_hostname=name)
        assert connection.getpeercert(True) == ssl.PEM_cert_to_DER_cert(pairs[shown].cert.read_text())
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert client.ask(get("/", "Max-Forwards: 0", method="OPTIONS")).status == 204


def test_s_client_verifies_the_certificate_of_each_name(listener: Proxy, authority: Authority) -> None:
    for name in ("localhost", "www.blog.test", "any.shop.test"):
        verify = ("-CAfile", authority.ca_file, "-verify_return_error", "-verify_hostname", name)
        assert "Verification: OK" in s_client(listener, "-servername", name, *verify)


@pytest.mark.parametrize("name", ["\udcff\udcfe", "a" * 255, "..", " ", "[::1]", "a.test."])
def test_names_that_are_none_get_the_default_or_an_alert(listener: Proxy, name: str) -> None:
    before = len(listener.error_log())
    s_client(listener, "-servername", name)
    assert "Cipher is TLS" in s_client(listener, "-servername", "localhost")
    said = listener.error_log()[before:]
    assert "Exception" not in said
    assert "Error" not in said


# --- what is no TLS


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH"])
def test_plain_http_is_told_so_in_the_clear(listener: Proxy, method: str) -> None:
    before = len(listener.error_log())
    with Client(listener.address) as client:
        client.send(get("/", "Cookie: " + "x" * 6000, method=method))
        answer = client.read_response()
        assert (answer.status, answer.get("connection")) == (400, b"close")
        assert answer.body == b"This is an HTTPS port: ask for https://, not http://\n"
        client.read_until_closed()
    listener.wait_until(lambda: len(listener.error_log()) > before, "a line in the log")
    said = listener.error_log()[before:].splitlines()
    assert len(said) == 1
    assert " INFO a request from 127.0.0.1 refused: " in said[0]


def test_a_line_that_is_no_request_is_quoted_in_the_error_log(listener: Proxy, authority: Authority) -> None:
    with tls_client(listener.address, authority.client()) as client:
        client.send(b"rubbish " + b"x" * 100 + b"\r\n\r\n")
        assert client.read_response().status == 400
    quoted = "b'rubbish " + "x" * 72 + "' from 127.0.0.1 refused: ClientError(400, "
    listener.wait_until(lambda: quoted in listener.error_log(), "the line that quotes it")


def test_plain_http_on_the_tls_port_is_in_the_access_log(listener: Proxy) -> None:
    with Client(listener.address) as client:
        client.send(get())
        assert client.read_response().status == 400
    listener.wait_until(lambda: any('"status":400' in line for line in listener.access_log()), "its line")


NOISE = {
    "nothing": b"",
    "one byte": b"\x16",
    "half a ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 200,
    "a ClientHello of nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 600,
    "a record that is too long": b"\x16\x03\x01\xff\xff" + b"x" * 70000,
    "every byte": bytes(range(256)),
    "zeros": bytes(10000),
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\x01" * 40,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "CONNECT": b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


def greenlets_of(proxy: Proxy, authority: Authority) -> int:
    with tls_client(proxy.address, authority.client()) as client:
        return int(json.loads(client.ask(get("/census")).body)["greenlet"])


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("end", ["close", "reset", "half-close"])
def test_noise_leaves_a_clean_log_and_nothing_behind(
    listener: Proxy, authority: Authority, noise: str, end: str
) -> None:
    before = len(listener.error_log())
    descriptors, greenlets = listener.fd_count(), greenlets_of(listener, authority)
    for _ in range(5):
        with Client(listener.address) as stranger:
            stranger.send_pieces([NOISE[noise]])
            if end == "reset":
                stranger.reset()
            elif end == "half-close":
                with contextlib.suppress(OSError):  # refused already
                    stranger.half_close()
                stranger.read_until_closed()
    with Origin(serve(OK)) as origin, tls_client(listener.address, authority.client()) as client:
        assert client.ask(get("/", via(origin))).status == 200
    listener.wait_until(lambda: listener.fd_count() <= descriptors, "return of the descriptors")
    listener.wait_until(lambda: greenlets_of(listener, authority) <= greenlets, "return of the greenlets")
    said = listener.error_log()[before:].splitlines()
    assert len(said) <= 5
    assert all(" INFO " in line for line in said)
