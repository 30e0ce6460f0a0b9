"""Cookies in the fields of a request."""

from __future__ import annotations

import pytest

from pyrox.http.cookies import find_cookie, take_cookie
from pyrox.http.headers import Headers


@pytest.mark.parametrize(
    ("fields", "value", "left"),
    [
        ([], None, []),
        (["id=1"], b"1", []),
        (["a=1; id=2; b=3"], b"2", ["a=1; b=3"]),
        (["a=1;id=2;b=3"], b"2", ["a=1; b=3"]),
        (["a=1; id = 2 "], b"2", ["a=1"]),
        (["id=a=b"], b"a=b", []),
        (['id="q"'], b'"q"', []),
        (["id"], b"", []),
        (["id=1; id=2"], b"1", []),
        (["a=1", "id=2", "id=3; b=4"], b"2", ["a=1", "b=4"]),
        (["xid=1; idx=2; a=id"], None, ["xid=1; idx=2; a=id"]),
        (["ID=1"], None, ["ID=1"]),
        (["a=1; id=2;"], b"2", ["a=1"]),
    ],
)
def test_a_cookie_is_found_and_taken_and_others_stay(
    fields: list[str], value: bytes | None, left: list[str]
) -> None:
    headers = Headers([("Host", "id=5"), *(("Cookie", field) for field in fields), ("X", "id=6")])
    assert find_cookie(headers, b"id") == value
    assert take_cookie(headers, b"id") == value
    assert headers.get_all("cookie") == left
    assert (headers["host"], headers["x"]) == ("id=5", "id=6")
    assert find_cookie(headers, b"id") is None
