"""Character codings: names, byte order marks, and bytes that come back whatever they are."""

from __future__ import annotations

import codecs
import encodings
import random

import pytest

from pyrox.http.charset import Errors, TextBody, charset_of


def passed(data: bytes, charset: str, errors: Errors = "surrogateescape") -> tuple[str, bytes]:
    """The text seen and the bytes sent when ``data`` comes byte by byte."""
    body = TextBody(charset, errors)
    text, sent = "", b""
    for part in [*(bytes([byte]) for byte in data), b""]:
        piece = body.decode(part, final=not part)
        text += piece
        sent += body.encode(piece) if piece else b""
    return text, sent


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/html", "utf-8"),
        ("text/html; charset=UTF-8", "utf-8"),
        ('text/html;boundary=x; Charset = "latin1"', "iso8859-1"),
        ("text/html; charset=windows-1252", "cp1252"),
        ("text/html; charset=Shift_JIS", "shift_jis"),
        ("text/html; charset=utf-16", "utf-16-le"),
        ("text/html; charset=iso-2022-jp", None),
        ("text/html; charset=utf-7", None),
        ("text/html; charset=zlib", None),
        ("text/html; charset=unicode_escape", None),
        ("text/html; charset=idna", None),
        ("text/html; charset=x-nothing", None),
        ("text/html; charset=koi8-u", "koi8-u"),
        ("text/html; charset=iso_8859-1:1987", "iso8859-1"),
        ("text/html; charset=utf-8\xe9", None),
        ("text/html; charset=utf-8\0", None),
        ("", "utf-8"),
    ],
)
def test_charset_is_found_and_only_those_that_give_back_their_bytes(
    content_type: str, charset: str | None
) -> None:
    assert charset_of(content_type) == charset


def test_names_that_nobody_knows_leave_nothing_behind() -> None:
    """Python keeps those that it is asked for, and a client could send any number of them."""
    known = set(encodings._cache)  # type: ignore[attr-defined]
    for number in range(100):
        assert charset_of(f"text/plain; charset=made-up-{number}") is None
    assert set(encodings._cache) == known  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "naïve 日本語 🐍"),
        ("iso8859-1", "naïve"),
        ("cp1252", "“naïve” €"),
        ("shift_jis", "日本語テスト"),
        ("euc_jp", "日本語テスト"),
        ("gb18030", "中文 🐍"),
        ("utf-16-le", "naïve 🐍"),
    ],
)
def test_text_is_seen_whole_when_it_comes_byte_by_byte(charset: str, text: str) -> None:
    assert passed(text.encode(charset), charset) == (text, text.encode(charset))


@pytest.mark.parametrize(
    ("mark", "charset"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_byte_order_mark_decides_and_is_sent_first(mark: bytes, charset: str) -> None:
    data = mark + "naïve".encode(charset)
    assert passed(data, "iso8859-1") == ("naïve", data)
    body = TextBody("iso8859-1")
    assert body.decode(data, final=True) == "naïve"
    assert body.encode("x") + body.encode("y") + body.encode("") == mark + "xy".encode(charset)


@pytest.mark.parametrize("data", [b"", b"\xef", b"\xef\xbb", b"\xff", b"\xfe", b"\xef\xbbx", b"a"])
def test_what_only_begins_like_a_mark_is_no_mark(data: bytes) -> None:
    assert passed(data, "utf-8")[1] == data


@pytest.mark.parametrize(
    "charset", ["utf-8", "ascii", "cp1252", "iso8859-8", "gb2312", "gbk", "cp949", "shift_jis"]
)
def test_bytes_that_are_no_text_come_back_as_they_were(charset: str) -> None:
    for seed in range(200):
        data = b"a" + random.Random(seed).randbytes(30)
        assert passed(data, charset)[1] == data


def test_bytes_that_are_no_text_are_refused_or_replaced_on_demand() -> None:
    assert passed(b"a\xffb", "utf-8", "replace") == ("a�b", "a�b".encode())
    for charset, errors, data in (
        ("utf-8", "strict", b"a\xff"),
        ("utf-8", "strict", b"a\xc3"),
        ("utf-8", "strict", b"\xed\xa0\x80"),  # half a surrogate pair
        ("utf-16-le", "surrogateescape", b"\x00\xd8a\x00"),
        ("utf-16-le", "surrogateescape", b"abc"),
        *((charset, "surrogateescape", b"\xff") for charset in ("gb18030", "euc_jp", "euc_kr")),
    ):
        with pytest.raises(UnicodeError):
            passed(data, charset, errors)  # type: ignore[arg-type]


def test_text_without_a_place_in_the_charset_cannot_be_encoded() -> None:
    body = TextBody("iso8859-1")
    body.decode(b"x", final=True)
    for text in ("€", "\ud800"):
        with pytest.raises(UnicodeError):
            body.encode(text)
