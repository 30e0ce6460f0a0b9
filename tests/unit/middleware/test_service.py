"""The client for services: what its options must be. What it does is in tests/integration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pyrox.http.headers import Headers
from pyrox.middleware.service import ServiceAnswer, ServiceClient


@pytest.mark.parametrize(
    "url",
    [
        "",
        "auth:9000",
        "ftp://auth/",
        "http://",
        "http://auth:port/",
        "http://auth:99999/",
        "http://[::1/",
        "http://auth/a b",
        "http://auth/\r\nX: y",
        "http://auth/ä",
    ],
)
def test_url_that_is_no_service_is_an_error_that_names_the_option(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: .* write http://"):
        ServiceClient(url)


@pytest.mark.parametrize("url", ["http://user:secret@auth/", "http://auth/#top"])
def test_url_with_more_than_an_address_is_an_error_that_does_not_tell_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: it holds") as caught:
        ServiceClient(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, float("inf"), float("nan")])
def test_timeout_must_be_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"^timeout: "):
        ServiceClient("http://auth/", timeout=seconds)


def test_ca_file_must_be_one_and_of_use(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^ca_file: .*No such file"):
        ServiceClient("https://auth/", ca_file=tmp_path / "missing.pem")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ValueError, match=r"^ca_file: "):
        ServiceClient("https://auth/", ca_file=tmp_path / "ca.pem")
    with pytest.raises(ValueError, match=r"^ca_file: .* not asked over TLS"):
        ServiceClient("http://auth/", ca_file=tmp_path / "ca.pem")


def test_missing_library_is_an_error_with_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(ValueError, match=r"pip install 'pyrox\[http\]'"):
        ServiceClient("http://auth/")


def test_answer_that_is_no_json_is_a_value_error() -> None:
    assert ServiceAnswer(200, Headers(), b'{"a": 1}').json() == {"a": 1}
    for body in (b"", b"<html>", b"[" * 100_000, b"\xff"):
        with pytest.raises(ValueError, match=r"JSON|Expecting|decode"):
            ServiceAnswer(200, Headers(), body).json()
