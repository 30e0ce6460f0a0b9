"""``Transform``: what is refused rather than passed unseen, and whose fault it is."""

from __future__ import annotations

import base64
import gzip
import random
from typing import Any

import pytest

from pyrox import Flow, HTTPError, Response, Transform
from pyrox.errors import ProxyError, UpstreamError
from pyrox.http.coding import available_codings
from pyrox.testing import TestClient
from tests.unit.middleware.transforms import (
    CODINGS,
    JSON,
    TEXT,
    Count,
    Upper,
    answer_of,
    coded,
    encoded,
)


def test_request_that_cannot_be_seen_is_refused() -> None:
    client = TestClient(Upper)
    answer = client.post("/", body=b"a", headers={**TEXT, "Content-Encoding": "compress"})
    assert (answer.status, answer.headers["accept-encoding"]) == (415, ", ".join(available_codings()))
    assert client.post("/", body=b"a", headers={"Content-Type": "text/plain; charset=zlib"}).status == 415
    assert client.put("/", body=b"a", headers={**TEXT, "Content-Range": "bytes 0-0/5"}).status == 400
    two = [("Content-Type", "image/png"), ("Content-Type", "text/plain")]
    assert client.post("/", body=b"a", headers=two).status == 400
    assert client.upstream_requests == []


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {**TEXT, "Content-Encoding": "compress"}),
        (200, {"Content-Type": "text/plain; charset=x-own"}),
        (206, {**TEXT, "Content-Range": "bytes 0-0/5"}),
    ],
)
def test_response_that_cannot_be_seen_is_refused(status: int, headers: dict[str, str]) -> None:
    assert answer_of(Upper, b"a", headers, status).status == 502


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"a": 1, "a": 2}', b"[" * 9999, b"1e999", b"x" * 1_000_001, b"[NaN]"]
)
def test_document_that_cannot_be_read_is_its_senders_fault(body: bytes) -> None:
    client = TestClient(Count, Response(200, body, JSON))
    assert client.get("/").status == 502
    assert client.post("/", body=body, headers=JSON).status == 400


@pytest.mark.parametrize("codings", CODINGS)
def test_what_is_over_the_limit_is_413_or_502(codings: tuple[str, ...]) -> None:
    noise = base64.b64encode(random.Random(1).randbytes(1 << 20))  # what compresses too well is a bomb
    body = encoded(b'{"a":"' + noise + b'"}', codings)
    client = TestClient(Count, Response(200, [body], coded(JSON, codings)))
    assert client.get("/").status == 502
    assert client.post("/", body=[body], headers=coded(JSON, codings)).status == 413


@pytest.mark.parametrize("codings", CODINGS[1:])
def test_bomb_is_refused(codings: tuple[str, ...]) -> None:
    body = encoded(bytes(8 << 20), codings)
    client = TestClient(Count, Response(200, [body], coded(JSON, codings)))
    assert client.get("/").status == 502
    assert client.post("/", body=[body], headers=coded(JSON, codings)).status in (400, 413)
    assert client.upstream_requests[1:] == []


def test_line_over_the_limit_breaks_the_stream_off() -> None:
    class Lines(Transform):
        limit = 100

        def on_response_line(self, line: str, flow: Flow) -> str:
            return line

    for body in ([b"x" * 101], [b"x"] * 101, [b"ok\n" + b"x" * 101 + b"\nok"]):
        with pytest.raises(UpstreamError, match="a line is longer than 100 characters"):
            answer_of(Lines, body, TEXT)


def test_truncated_body_is_not_passed_for_a_whole_one() -> None:
    body = gzip.compress(b"text " * 100)[:-5]
    with pytest.raises(UpstreamError, match="ends too early"):
        answer_of(Upper, [body], coded(TEXT, ("gzip",)))
    assert answer_of(Count, [gzip.compress(b"{}")[:-5]], coded(JSON, ("gzip",))).status == 502


def test_handler_may_answer_the_request_itself() -> None:
    class Picky(Transform):
        def on_request_json(self, value: Any, flow: Flow) -> Any:
            raise HTTPError(422, "not like this")

    assert TestClient(Picky).post("/", json={}).status == 422


def test_body_that_the_client_holds_back_is_changed_when_it_comes() -> None:
    client = TestClient(Count)
    client.post("/", json={}, headers={"Expect": "100-continue"})
    assert client.upstream_requests[-1].body == b'{"count":1}'


def test_text_that_has_no_place_in_the_charset_is_not_sent() -> None:
    class Euro(Transform):
        def on_response_text(self, text: str, flow: Flow) -> str:
            return "€"

    with pytest.raises(ProxyError, match="cannot be sent"):
        answer_of(Euro, b"a", {"Content-Type": "text/plain; charset=iso-8859-1"})
