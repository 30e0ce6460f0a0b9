"""Bodies that are too long: declared, streamed, by media type."""

from __future__ import annotations

from typing import Any

import pytest

from pyrox.errors import UpstreamError
from pyrox.http.message import Request, Response
from pyrox.middleware.body_limit import BodyLimit
from pyrox.testing import TestClient


def client_of(upstream: Any = None, **options: Any) -> TestClient:
    return TestClient((BodyLimit, options), upstream=upstream)


def test_request_up_to_its_limit_passes_and_a_longer_one_is_413() -> None:
    client = client_of(request=4)
    assert client.post("/", body=b"1234").status == 200
    assert client.post("/", body=[b"12", b"34"]).status == 200
    assert client.get("/").status == 200
    for too_long in (b"12345", [b"1234", b"5"], [b"1"] * 5):
        answer = client.post("/", body=too_long)
        assert (answer.status, answer.text) == (413, "the body may have 4 bytes at most\n")


def test_body_that_is_here_is_refused_before_anything_goes_upstream() -> None:
    def replaces(app: Any) -> Any:
        def middleware(request: Request) -> Response:
            request.body = b"12345"
            return app(request)

        return middleware

    client = TestClient([replaces, (BodyLimit, {"request": 4})])
    assert client.get("/").status == 413
    assert client.upstream_requests == []


def test_body_that_is_here_is_not_streamed_for_being_counted() -> None:
    request = Request("POST", "/", body=b"1234")
    BodyLimit(lambda request: Response(200), request=4)(request)
    assert request.body == b"1234"


def test_response_over_its_limit_is_502_when_it_is_known_before() -> None:
    closed = []

    def inside(app: Any) -> Any:
        def middleware(request: Request) -> Response:
            response = Response(200, b"12345")
            response.on_close(lambda: closed.append(True))
            return response

        return middleware

    answer = TestClient([(BodyLimit, {"response": 4}), inside]).get("/")
    assert (answer.status, answer.text) == (502, "502 Bad Gateway\n")
    assert answer.headers["proxy-status"] == "pyrox; error=http_response_body_size"
    assert closed == [True]


def test_response_that_turns_out_too_long_is_broken_off() -> None:
    client = client_of(Response(200, [b"1234", b"5"]), response=4)
    with pytest.raises(UpstreamError, match="over 4 bytes"):
        client.get("/")
    assert client_of(Response(200, [b"12", b"34"]), response=4).get("/").body == b"1234"


def test_response_without_a_body_is_never_too_long() -> None:
    assert client_of(Response(200, b"12345"), response=4).head("/").status == 200


@pytest.mark.parametrize(
    ("content_type", "limit"),
    [
        ("application/json", 2),
        ("Application/JSON; charset=utf-8", 2),
        ("image/png", 6),
        ("image/svg+xml", 3),
        ("text/plain", 4),
        (None, 4),
        ("", 4),
        ("application/jsonx", 4),
    ],
)
def test_limit_of_a_media_type(content_type: str | None, limit: int) -> None:
    types = {"application/json": "2", "image/*": 6, "image/svg+xml": "3"}
    client = client_of(request=4, request_types=types)
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert client.post("/", body=b"x" * limit, headers=headers).status == 200
    assert client.post("/", body=b"x" * (limit + 1), headers=headers).status == 413


def test_two_content_types_get_the_lesser_limit() -> None:
    client = client_of(request_types={"image/*": 6, "application/json": 2})
    headers = [("Content-Type", "image/png"), ("Content-Type", "application/json")]
    assert client.post("/", body=b"123", headers=headers).status == 413
    assert client.post("/", body=b"1" * 99, headers={"Content-Type": "text/plain"}).status == 200


def test_options_in_a_file() -> None:
    client = TestClient.from_config(
        """
        [middleware]
        stack = body_limit
        [[body_limit]]
        request = 1k
        [[[response_types]]]
        text/* = 2
        """,
        upstream=Response(200, "hi!"),
    )
    assert client.post("/", body=b"x" * 1025).status == 413
    with pytest.raises(UpstreamError):
        client.post("/", body=b"x" * 1024)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "request: there is no limit"),
        ({"request": "1 MB"}, "request: '1 MB' is not a size"),
        ({"response": -1}, "response: '-1' is not a size"),
        ({"request_types": {"json": 1}}, "request_types: 'json' is no media type"),
        ({"response_types": {"*/*": 1}}, "response_types: .* is no media type"),
        ({"request_types": {"*/json": 1}}, "request_types: .* is no media type"),
        ({"request_types": {"image/p*": 1}}, "request_types: .* is no media type"),
        ({"request_types": {"image/*": "x"}}, "request_types: 'x' is not a size"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        client_of(**options)
