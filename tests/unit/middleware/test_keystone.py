"""``keystone``: its options, and what it makes of what identity services say. The rest needs sockets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pyrox.middleware.keystone import Keystone
from pyrox.middleware.keystone_api import FIELDS, V2, V3, _seconds_of
from pyrox.testing import TestClient

END = "2030-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "identity:5000"}, "url: 'identity:5000' is no URL"),
        ({"ca_file": Path("/missing")}, "ca_file: http://identity:5000 is not asked over TLS"),
        ({"token_header": "a b"}, "token_header: invalid header name"),
        ({"token_header": "X_User_Id"}, "token_header: X_User_Id is a field that tells upstream"),
        ({"cache_ttl": -1.0}, "cache_ttl: -1.0 is no number of seconds"),
        ({"refused_ttl": float("inf")}, "refused_ttl: inf is no number of seconds"),
        ({"timeout": 0.0}, "timeout: 0 leaves no time"),
        ({"public_url": "http://\xfc/"}, "public_url: .* printable ASCII"),
    ],
)
def test_options_that_cannot_work_are_errors_that_name_them(options: dict[str, Any], message: str) -> None:
    known = {"url": "http://identity:5000", "user": "pyrox", "password": "x"}
    with pytest.raises(ValueError, match=message):
        TestClient((Keystone, {**known, **options}))


def test_fields_that_upstream_is_told_are_reserved() -> None:
    assert set(Keystone.reserved_fields({})) == set(FIELDS)


@pytest.mark.parametrize("version", [V3(), V2()])
@pytest.mark.parametrize(
    "document",
    [
        {},
        {"token": {}},
        {"access": {}},
        {"token": {"user": {"id": 7}, "expires_at": END}},
        {"access": {"token": {"expires": END}, "user": {}}},
        {"token": {"user": {"id": "1"}, "expires_at": "soon"}},
        {"access": {"token": {"expires": None}, "user": {"id": "1"}}},
        {"token": {"user": {"id": "1"}, "expires_at": END, "roles": 7}},
        [],
        None,
    ],
)
def test_what_cannot_be_understood_is_an_error(version: V3 | V2, document: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        version.parse(document)


def test_odd_members_are_left_out() -> None:
    data = V3().parse(
        {
            "token": {
                "user": {"id": "1", "name": ["x"], "domain": "d", "RAX-AUTH:impersonator": 7},
                "project": "p",
                "roles": [{"name": "r"}, {"name": 7}, "x", {}],
                "expires_at": "2030-01-01T00:00:00",
            }
        }
    )
    assert (data.name, data.roles, data.expires_at) == ("1", ("r",), 1893456000.0)
    assert {name: value for name, value in data.fields.items() if value} == {
        "X-Authorization": "Proxy",
        "X-Identity-Status": "Confirmed",
        "X-User-Id": "1",
        "X-Token-Expires": "2030-01-01T00:00:00",
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17),
        ("0", 1),
        ("", 5),
        ("-3", 5),
        ("soon", 5),
        ("9" * 50, 5),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1),
    ],
)
def test_retry_after_is_seconds_and_never_0(text: str, seconds: int) -> None:
    assert _seconds_of(text) == seconds


def test_retry_after_may_be_a_date() -> None:
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 60 <= _seconds_of(moment) <= 100
