"""Certificates and keys: what is on this machine must fit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pyrox.config import parse_settings
from pyrox.config_render import render_settings
from pyrox.config_tls import certificate_names, tls_warnings
from pyrox.errors import ConfigError
from tests.support.authority import Authority

Pems = dict[str, str]


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Pems:
    """Paths of a certificate, its key, that key behind a passphrase, another's key, and no PEM at all."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so no certificate can be made")
    folder = tmp_path_factory.mktemp("pems")
    paths = {name: str(folder / f"{name}.pem") for name in ("cert", "key", "locked", "other", "text")}
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    for name in ("key", "other"):
        openssl("genpkey", *curve, "-out", paths[name])
    openssl("pkey", "-in", paths["key"], "-aes128", "-passout", "pass:secret", "-out", paths["locked"])
    openssl("req", "-x509", "-key", paths["key"], "-subj", "/CN=localhost", "-out", paths["cert"])
    Path(paths["text"]).write_text("not a certificate\n")
    return paths


PAIR = "cert_file = {cert}\nkey_file = {key}\n"


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "p.ini")
    return caught.value.problems


def test_a_certificate_and_its_key_are_taken(pems: Pems) -> None:
    settings = parse_settings(f"[ssl]\ncert_file = {pems['cert']}\nkey_file = {pems['key']}")
    assert (settings.ssl.cert_file, settings.ssl.key_file) == (pems["cert"], pems["key"])


@pytest.mark.parametrize(
    ("cert", "key", "problem"),
    [
        (
            "cert",
            "other",
            "cert_file: '{cert}' cannot be used with '{other}': the key is another certificate's",
        ),
        ("text", "key", "cert_file: '{text}' has no certificate in PEM"),
        ("key", "key", "cert_file: '{key}' has no certificate in PEM"),
        ("cert", "cert", "key_file: '{cert}' has no private key in PEM"),
        ("cert", "locked", "key_file: '{locked}' has a passphrase; remove it from the key"),
    ],
)
def test_what_does_not_fit_together_is_a_problem(pems: Pems, cert: str, key: str, problem: str) -> None:
    problems = problems_of(f"[ssl]\ncert_file = {pems[cert]}\nkey_file = {pems[key]}")
    assert problems == ["p.ini: [ssl] " + problem.format(**pems)]


def test_a_damaged_certificate_is_a_problem(pems: Pems, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.pem"
    damaged.write_text(Path(pems["cert"]).read_text().replace("M", "!"))
    (problem,) = problems_of(f"[ssl]\ncert_file = {damaged}\nkey_file = {pems['key']}")
    assert problem.startswith(f"p.ini: [ssl] cert_file: '{damaged}' cannot be used with '{pems['key']}': ")
    (problem,) = problems_of(f"[upstream]\nca_file = {damaged}")
    assert problem.startswith(f"p.ini: [upstream] ca_file: '{damaged}' cannot be used: ")


def test_files_that_cannot_be_read_are_named_each(pems: Pems, tmp_path: Path) -> None:
    assert problems_of(f"[ssl]\ncert_file = {tmp_path}\nkey_file = {tmp_path}/none") == [
        f"p.ini: [ssl] cert_file: '{tmp_path}' cannot be read: Is a directory",
        f"p.ini: [ssl] key_file: '{tmp_path}/none' cannot be read: No such file or directory",
    ]


def test_authorities_must_be_certificates(pems: Pems) -> None:
    assert parse_settings(f"[upstream]\nca_file = {pems['cert']}").upstream.ca_file == pems["cert"]
    assert problems_of(f"[upstream]\nca_file = {pems['text']}") == [
        f"p.ini: [upstream] ca_file: '{pems['text']}' has no certificate in PEM"
    ]


def test_profile_needs_a_directory_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"[core]\nenable_profiling = yes\nprofile_dir = {tmp_path}"
    assert parse_settings(text).core.profile_dir == str(tmp_path)
    monkeypatch.setattr("pyrox.config_rules.os.access", lambda path, mode: False)  # root may write anywhere
    assert problems_of(text) == [
        f"p.ini: [core] profile_dir: no file can be made in '{tmp_path}' by this user"
    ]


# --- what belongs together


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[ssl]\ncert_file = {cert}", "[ssl] key_file: is missing; cert_file needs its private key"),
        ("[ssl]\nkey_file = {key}", "[ssl] cert_file: is missing; key_file needs its certificate"),
        (
            "[upstream]\ncert_file = {cert}",
            "[upstream] key_file: is missing; cert_file needs its private key",
        ),
        (
            "[upstream]\ncert_file = {cert}\nkey_file = {other}",
            "[upstream] cert_file: '{cert}' cannot be used with '{other}': the key is another certificate's",
        ),
        (
            "[ssl]\n[[a]]\n" + PAIR + "server_names = a.test",
            "[ssl] cert_file: is missing; it is for clients that ask for no name of a [[section]]",
        ),
        ("[ssl]\n" + PAIR + "[[a]]\nserver_names = a.test", "[ssl] [[a]] cert_file: is missing"),
        (
            "[ssl]\n" + PAIR + "[[a]]\ncert_file = {cert}\nserver_names = a.test",
            "[ssl] [[a]] key_file: is missing; cert_file needs its private key",
        ),
        (
            "[ssl]\n" + PAIR + "[[a]]\n" + PAIR,
            "[ssl] [[a]] server_names: '{cert}' holds no DNS name; list some here",
        ),
        (
            "[ssl]\nclient_certificates = required\nclient_ca_file = {cert}",
            "[ssl] client_certificates: needs TLS, so cert_file and key_file",
        ),
        (
            "[ssl]\n" + PAIR + "client_certificates = optional",
            "[ssl] client_ca_file: is missing; client_certificates = optional needs it",
        ),
        (
            "[ssl]\n" + PAIR + "client_ca_file = {cert}",
            "[ssl] client_ca_file: has no use while client_certificates is off; make it optional or required",
        ),
        (
            "[ssl]\n" + PAIR + "client_certificates = required\nclient_ca_file = {text}",
            "[ssl] client_ca_file: '{text}' has no certificate in PEM",
        ),
        ("[ssl]\nciphers = MAGIC", "[ssl] ciphers: OpenSSL knows no cipher suite of 'MAGIC'"),
        (
            "[ssl]\nredirect_bind = :80",
            "[ssl] redirect_bind: has nowhere to send clients to without cert_file and key_file",
        ),
        (
            "[core]\nbind_host = :443, :80\n[ssl]\n" + PAIR + "redirect_bind = :80",
            "[ssl] redirect_bind: ':80' stands in [core] bind_host, too",
        ),
    ],
)
def test_what_does_not_belong_together_is_a_problem(pems: Pems, text: str, problem: str) -> None:
    assert problems_of(text.format(**pems)) == ["p.ini: " + problem.format(**pems)]


def test_everything_together_is_taken(pems: Pems) -> None:
    text = """
    [core]
    bind_host = :443
    [ssl]
    cert_file = {cert}
    key_file = {key}
    minimum_version = tlsv1.3
    client_certificates = Optional
    client_ca_file = {cert}
    client_certificate_headers = Client-Cert: certificate,
    redirect_bind = :80, [::]:80
    redirect_port = 8443
    [[a b]]
    cert_file = {cert}
    key_file = {key}
    server_names = A.Test., *.a.test
    [upstream]
    cert_file = {cert}
    key_file = {key}
    """
    tls = parse_settings(text.format(**pems)).ssl
    assert (tls.minimum_version, tls.client_certificates) == ("TLSv1.3", "optional")
    assert tls.client_certificate_headers == ("Client-Cert: certificate",)
    assert tls.redirect_bind == (":80", "[::]:80")
    assert tls.certificates["a b"].server_names == ("a.test", "*.a.test")


def test_certificates_are_written_out_as_they_are_read(pems: Pems) -> None:
    section = PAIR.format(**pems)
    settings = parse_settings(
        f"[ssl]\n{section}[[a]]\n{section}server_names = a.test\n[['b ] c']]\n{section}server_names = b, c"
    )
    assert parse_settings(render_settings(settings)) == settings


def test_names_come_out_of_the_certificate(tmp_path: Path, pems: Pems) -> None:
    names = ["-addext", "subjectAltName=DNS:A.test,IP:127.0.0.1,DNS:*.a.test"]
    path = tmp_path / "named.pem"
    openssl("req", "-x509", "-key", pems["key"], "-subj", "/CN=not.a.test", *names, "-out", str(path))
    assert certificate_names(str(path)) == ["a.test", "*.a.test"]


def test_names_that_are_no_text_are_none(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("bytes", names="DNS:a.test,URI:x:\udcff")
    assert certificate_names(str(pair.cert)) == []


def test_servers_that_are_not_verified_are_worth_a_warning() -> None:
    (warning,) = tls_warnings(parse_settings("[upstream]\nverify = no"))
    assert warning.startswith("[upstream] verify = no: ")
    assert list(tls_warnings(parse_settings(""))) == []
