"""``redact``: what nobody may see is gone, however it is written and cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyrox import Response
from pyrox.middleware.redact import Redact
from pyrox.testing import TestClient
from tests.unit.middleware.transforms import CODINGS, EVENTS, JSON, TEXT, coded, decoded, encoded

CARD = "4111 1111 1111 1111"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def seen(body: Any, headers: dict[str, str] = JSON, **options: Any) -> bytes:
    return TestClient((Redact, options), Response(200, body, headers)).get("/").body  # type: ignore[no-any-return]


def test_members_are_redacted_at_any_depth_whatever_their_case_and_value() -> None:
    document = {"Password": "x", "a": [{"token": {"b": 1}}, {"TOKEN": None, "c": "token"}]}
    assert json.loads(seen(json.dumps(document), fields=["password", "token"])) == {
        "Password": "***",
        "a": [{"token": "***"}, {"TOKEN": "***", "c": "token"}],
    }


def test_member_is_found_by_an_escaped_name() -> None:
    assert seen(b'{"p\\u0061ssword": "x"}', fields=["password"]) == b'{"password":"***"}'


def test_strings_and_numbers_that_match_are_redacted_in_json() -> None:
    document = {"note": f"card {CARD}.", "number": 4111111111111111, "id": 4111111111111112, "ok": True}
    assert json.loads(seen(json.dumps(document), cards=True)) == {
        "note": "card ***.",
        "number": "***",
        "id": 4111111111111112,
        "ok": True,
    }


@pytest.mark.parametrize("codings", CODINGS)
def test_text_is_redacted_across_chunks_and_under_codings(codings: tuple[str, ...]) -> None:
    body = encoded(f"pay with {CARD} or ada@a.example, not 1234 5678 9012 3456\n".encode(), codings)
    result = seen(
        [body[i : i + 1] for i in range(len(body))],
        coded(TEXT, codings),
        cards=True,
        patterns=[r"[\w.]+@[\w.]+\w"],
        replacement="-",
    )
    assert decoded(result, codings) == b"pay with - or -, not 1234 5678 9012 3456\n"


def test_events_and_lines_are_redacted_as_json_and_as_text() -> None:
    events = (
        f'data: {{"token": "x"}}\n\ndata: {CARD}\n\ndata: {{"a": 1}}\n\ndata: {{broken {CARD}\n\n'.encode()
    )
    assert seen(events, EVENTS, fields=["token"], cards=True) == (
        b'data: {"token":"***"}\n\ndata: ***\n\ndata: {"a": 1}\n\ndata: {broken ***\n\n'
    )
    lines = {"Content-Type": "application/x-ndjson"}
    assert seen(b'{"token": 1}\n{"a": 1}\n', lines, fields=["token"]) == b'{"token":"***"}\n{"a": 1}\n'


def test_line_that_hides_a_member_by_not_being_json_is_refused() -> None:
    client = TestClient((Redact, {"fields": ["token"], "on": "request"}))
    lines = {"Content-Type": "application/x-ndjson"}
    answer = client.post("/", body=b'{"token": "x", "token": "y"}\n', headers=lines)
    assert answer.status == 400


def test_forms_are_redacted_and_left_alone_otherwise() -> None:
    assert seen(b"p%61ssword=x&b=%C3%A9", FORM, fields=["password"]) == b"password=%2A%2A%2A&b=%C3%A9"
    assert seen(b"b=%c3%a9&c", FORM, fields=["password"]) == b"b=%c3%a9&c"
    assert seen(b"card=4111+1111+1111+1111", FORM, cards=True) == b"card=%2A%2A%2A"


def test_requests_are_redacted_on_demand() -> None:
    client = TestClient((Redact, {"fields": ["a"], "on": "both"}), Response.json_of({"a": 1}))
    assert client.post("/", json={"a": 1}).json() == {"a": "***"}
    assert client.upstream_requests[-1].json() == {"a": "***"}


def test_nobody_keeps_redact_out_by_a_header() -> None:
    client = TestClient((Redact, {"fields": ["a"], "on": "request"}))
    client.post("/", json={"a": 1}, headers={"Cache-Control": "no-transform"})
    assert client.upstream_requests[-1].json() == {"a": "***"}
    for headers, status in (
        ({"Content-Encoding": "compress"}, 415),
        ({"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"}, 400),
        ({"Content-Range": "bytes 0-7/9"}, 400),
    ):
        assert client.post("/", body=b'{"a": 1}', headers={**JSON, **headers}).status == status


def test_document_over_the_limit_is_refused() -> None:
    client = TestClient(
        (Redact, {"fields": ["a"], "on": "both", "limit": 10}), Response.json_of({"b": "long"})
    )
    assert client.get("/").status == 502
    assert client.post("/", json={"b": "long"}).status == 413


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "fields: nothing to redact"),
        ({"patterns": ["("]}, "patterns: .*no regular expression"),
        ({"patterns": ["a*"]}, "patterns: .*the empty text"),
        ({"patterns": ["a"], "longest": 0}, "longest: 0"),
        ({"patterns": ["a"], "limit": 0}, "limit: 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TestClient((Redact, options))
