"""Certificates and keys: what is on this machine must fit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError

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
