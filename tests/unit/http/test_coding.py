"""Content codings by name: what is known here, and how a client's wishes are narrowed to it."""

from __future__ import annotations

import pytest

from pyrox.http import coding
from pyrox.http.coding import acceptable_codings, available_codings, parse_codings


def test_all_codings_are_available_with_the_libraries_of_the_extra() -> None:
    assert available_codings() == ("zstd", "br", "gzip", "deflate")


def test_codings_without_their_library_are_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "zstd_library", lambda: None)
    monkeypatch.setattr(coding, "brotli_library", lambda: None)
    assert available_codings.__wrapped__() == ("gzip", "deflate")


@pytest.mark.parametrize(
    ("field", "codings"),
    [
        ("", ()),
        ("identity", ()),
        ("br", ("br",)),
        ("ZSTD", ("zstd",)),
        ("x-gzip , br", ("gzip", "br")),
        ("gzip, compress", None),
        ("br;q=1", None),
        ("br, br, br, br", None),
    ],
)
def test_content_encoding_is_taken_apart(field: str, codings: tuple[str, ...] | None) -> None:
    assert parse_codings(field, ("zstd", "br", "gzip", "deflate")) == codings


@pytest.mark.parametrize(
    ("accepted", "narrowed"),
    [
        ("br, zstd;q=0.9, compress", "br, zstd;q=0.9"),
        ("*", "br, zstd, identity"),
        ("gzip", "identity"),
        ("br;q=0, *;q=0.1", "zstd;q=0.1, identity;q=0.1"),
    ],
)
def test_accept_encoding_is_narrowed_to_the_codings_given(accepted: str, narrowed: str) -> None:
    assert acceptable_codings(accepted, ("br", "zstd")) == narrowed


@pytest.mark.parametrize(
    ("accepted", "narrowed"),
    [
        (None, "identity"),
        ("", "identity"),
        ("br", "identity"),
        ("br, zstd;q=0.9", "identity"),
        ("gzip, deflate, br, zstd", "gzip, deflate"),
        ("br, gzip;q=0.8, identity;q=0.5", "gzip;q=0.8, identity;q=0.5"),
        ("GZIP ; Q=0.50", "gzip;q=0.5"),
        ("x-gzip", "gzip"),
        ("*", "gzip, deflate, identity"),
        ("*;q=0.5, gzip", "gzip, deflate;q=0.5, identity;q=0.5"),
        ("x-gzip;q=0, *", "deflate, identity"),
        ("gzip, *;q=0", "gzip, identity;q=0"),
        ("gzip, identity;q=0", "gzip, identity;q=0"),
        ("deflate, gzip;q=0.000", "deflate"),
        ("gzip;q=0", "identity"),
        ("br, *;q=0", "identity"),
        ("br, identity;q=0", "identity"),
        ("gzip;q=often, deflate;q=1.0", "deflate"),
        ("gzip;q=1.5", "identity"),
        ("gzip;q=-1, ;, ,;q", "identity"),
        ("gzip\u0661", "identity"),
    ],
)
def test_accept_encoding_is_narrowed_to_what_can_be_decoded(accepted: str | None, narrowed: str) -> None:
    assert acceptable_codings(accepted) == narrowed
