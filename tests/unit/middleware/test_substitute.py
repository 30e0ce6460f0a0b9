"""``substitute``: texts are replaced while bodies stream by."""

from __future__ import annotations

from typing import Any

import pytest

from pyrox import Response
from pyrox.middleware.substitute import SubstituteMiddleware
from pyrox.testing import TestClient
from tests.unit.middleware.transforms import CODINGS, EVENTS, JSON, TEXT, coded, decoded, encoded


def client_with(body: Any, headers: dict[str, str] = TEXT, **options: Any) -> TestClient:
    return TestClient((SubstituteMiddleware, options), Response(200, body, headers))


@pytest.mark.parametrize("codings", CODINGS)
def test_text_is_replaced_across_chunks_and_under_codings(codings: tuple[str, ...]) -> None:
    body = encoded(b"see http://inner.example/a and HTTP://inner.example", codings)
    client = client_with(
        [body[i : i + 1] for i in range(len(body))],
        coded(TEXT, codings),
        literal=["http://inner.example => https://a.example"],
        regex=["(?i)http://(inner)[.] => ftp://\\1-"],
    )
    assert decoded(client.get("/").body, codings) == b"see https://a.example/a and ftp://inner-example"


def test_requests_are_looked_at_on_demand() -> None:
    client = client_with("a", literal=["a => b"], on="request")
    assert client.post("/", body="aa", headers=TEXT).text == "a"
    assert client.upstream_requests[-1].body == b"bb"
    client = client_with("a", literal=["a => b"], on="both")
    assert client.post("/", body="aa", headers=TEXT).text == "b"
    assert client.upstream_requests[-1].body == b"bb"


def test_events_leave_at_once_and_only_their_data_changes() -> None:
    body = b"event: data\ndata: a data\n\n"
    assert client_with(body, EVENTS, regex=["data => x"]).get("/").body == b"event: data\ndata: a x\n\n"


def test_other_types_pass_unless_they_are_named() -> None:
    assert client_with(b"a", {"Content-Type": "image/png"}, literal=["a => b"]).get("/").body == b"a"
    assert (
        client_with(b"a", JSON, literal=["a => b"], content_types=["Application/JSON"]).get("/").body == b"b"
    )
    assert client_with(b"a", JSON, literal=["a => b"], content_types=["text/css"]).get("/").body == b"a"
    own = {"Content-Type": "application/x-own"}
    assert (
        client_with(b"a", own, literal=["a => b"], content_types=["application/x-own"]).get("/").body == b"b"
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "literal: nothing to replace"),
        ({"literal": ["a"]}, "literal: 'a' is not 'old => new'"),
        ({"literal": [" => a"]}, "literal: ' => a': there is nothing to look for"),
        ({"regex": ["( => a"]}, r"regex: '\(' is no regular expression here"),
        ({"regex": ["a* => b"]}, r"regex: 'a\*' matches the empty text"),
        ({"regex": [r"a => \1"]}, "regex: .*names group 1"),
        ({"literal": ["a => b"], "content_types": ["html"]}, "content_types: 'html' is no media type"),
        ({"literal": ["a => b"], "longest": 0}, "longest: 0 is not between"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        client_with("", **options)
