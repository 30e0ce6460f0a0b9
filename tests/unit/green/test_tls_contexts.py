"""Which certificate a connection gets, and whom a session may stand for; without a network."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ClientGone, ConfigError
from pyrox.green.tls_contexts import Tls, ignore_undecodable_names
from pyrox.http.certificate import ClientCertificate
from pyrox.http.forwarding import ClientSide
from pyrox.settings import Settings
from tests.support.authority import Authority, Pair

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("server", names="DNS:a.test")


def settings_of(pair: Pair, more: str = "") -> Settings:
    return parse_settings(f"[ssl]\ncert_file = {pair.cert}\nkey_file = {pair.key}\n{more}", "p.ini")


def shake_hands(tls: Tls, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLObject:
    """A handshake in memory with what a listener's stream does; returns the client's side."""
    assert tls.server is not None
    ends = ssl.MemoryBIO(), ssl.MemoryBIO()
    stream = _Stream()
    stream.tls = tls.server.context._wrap_bio(ends[0], ends[1], True, None, owner=stream)  # type: ignore[attr-defined]
    side = client.wrap_bio(ends[1], ends[0], server_hostname="a.test", session=session)
    for step in (side.do_handshake, stream.tls.do_handshake) * 2:
        try:
            step()
        except ssl.SSLWantReadError:
            continue
    stream.tls.write(b"x")
    assert side.read(1) == b"x"
    return side


class _Stream:
    """What the callback of a context gets hold of."""

    def use_context(self, context: ssl.SSLContext) -> None:
        self.tls.context = context


def test_plain_listener_has_no_context() -> None:
    assert Tls(parse_settings("")).server is None


def test_file_that_has_gone_bad_since_the_check_is_a_config_error(authority: Authority) -> None:
    pair = authority.issue("short-lived")
    settings = settings_of(pair)
    pair.key.write_text("rubbish")
    with pytest.raises(ConfigError) as refused:
        Tls(settings)
    assert refused.value.problems[0].startswith("p.ini: [ssl]: ")


def test_handshake_takes_two_flights_and_one_ticket(pair: Pair, authority: Authority) -> None:
    tls = Tls(settings_of(pair))
    side = shake_hands(tls, authority.client())
    assert side.version() == "TLSv1.3"
    assert tls.server is not None
    assert tls.server.context.num_tickets == 1


def test_client_that_prefers_the_cheaper_suite_gets_it(pair: Pair, authority: Authority) -> None:
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    for cipher in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        others = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
        client.set_ciphers(f"{cipher}:{others}")
        assert shake_hands(Tls(settings_of(pair)), client).cipher()[0] == cipher  # type: ignore[index]


def test_session_is_resumed_after_the_certificate_was_replaced(authority: Authority, tmp_path: Path) -> None:
    used = Pair(tmp_path / "used.pem", tmp_path / "used.key")
    authority.issue("first", names="DNS:a.test").copy_to(used)
    tls = Tls(settings_of(used))
    client = authority.client()
    first = shake_hands(tls, client)
    second_pair = authority.issue("second", names="DNS:a.test", key="rsa")
    second_pair.copy_to(used)
    for _ in range(2):
        tls.watch()
    assert shake_hands(tls, client, first.session).session_reused
    fresh = shake_hands(tls, client)
    assert fresh.getpeercert(True) == ssl.PEM_cert_to_DER_cert(second_pair.cert.read_text())


@pytest.mark.parametrize(
    ("more", "verified"), [("", True), ("[upstream]\nverify = no", False)], ids=["default", "verify = no"]
)
def test_servers_are_verified_unless_told_otherwise(pair: Pair, more: str, verified: bool) -> None:
    context = Tls(settings_of(pair, more)).upstream.context
    assert context.check_hostname is verified
    assert context.verify_mode == (ssl.CERT_REQUIRED if verified else ssl.CERT_NONE)


def test_comments_of_any_encoding_may_stand_between_authorities(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    certificate = authority.ca_file.read_bytes()
    bundle.write_bytes("# Főtanúsítvány\n".encode() + certificate + b"# \xff\n" + certificate)
    context = Tls(settings_of(pair, f"[upstream]\nca_file = {bundle}")).upstream.context
    assert len(context.get_ca_certs()) == 1


# --- who the client is


@pytest.fixture
def asking(pair: Pair, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Tls:
    monkeypatch.setattr("pyrox.green.tls_contexts.time", lambda: NOW)
    return Tls(settings_of(pair, f"client_certificates = optional\nclient_ca_file = {authority.ca_file}"))


def identified(tls: Tls, certificate: ClientCertificate | None) -> ClientSide:
    assert tls.server is not None
    side = ClientSide("192.0.2.1", tls=True)
    tls.server.identify(SimpleNamespace(peer_certificate=lambda: certificate), side)  # type: ignore[arg-type]
    return side


def test_client_is_who_its_certificate_says(asking: Tls) -> None:
    certificate = ClientCertificate("CN=ada", not_after=NOW + 1)
    assert identified(asking, certificate).certificate is certificate
    assert identified(asking, None).certificate is None


def test_certificate_that_expired_during_its_session_is_refused(asking: Tls) -> None:
    """OpenSSL verifies in full handshakes only, and a session may go on for two hours."""
    with pytest.raises(ClientGone, match="expired since its session began"):
        identified(asking, ClientCertificate("CN=ada", not_after=NOW - 1))


def test_certificate_that_cannot_be_read_is_refused(asking: Tls) -> None:
    def fail() -> ClientCertificate:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    assert asking.server is not None
    with pytest.raises(ClientGone, match="cannot be read"):
        asking.server.identify(SimpleNamespace(peer_certificate=fail), ClientSide("192.0.2.1"))  # type: ignore[arg-type]


# --- names that Python cannot decode


def test_undecodable_name_is_not_printed_and_anything_else_is(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    ignore_undecodable_names()
    bad = UnicodeDecodeError("ascii", b"\xff", 0, 1, "")
    seen = {"exc_type": UnicodeDecodeError, "exc_value": bad, "exc_traceback": None, "err_msg": None}
    sys.unraisablehook(SimpleNamespace(**seen, object=b"\xff"))  # type: ignore[arg-type]
    assert capfd.readouterr().err == ""

    class Failing:
        def __del__(self) -> None:
            raise LookupError("this must be seen")

    Failing()
    assert "this must be seen" in capfd.readouterr().err
