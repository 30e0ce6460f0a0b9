"""Setting, adding and removing fields on both sides."""

from __future__ import annotations

import pytest

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.headers import HeadersMiddleware
from pyrox.testing import TestClient


def client_of(*response_headers: tuple[str, str], **options: list[str]) -> TestClient:
    return TestClient((HeadersMiddleware, options), upstream=Response(200, headers=response_headers))


def test_request_side() -> None:
    client = client_of(
        request_set=["X-Env: prod"], request_add=["X-Tag: b", "X-Tag:c"], request_remove=["Cookie"]
    )
    client.get("/", headers=[("x-env", "dev"), ("X-Env", "test"), ("X-Tag", "a"), ("cookie", "id=1")])
    seen = client.upstream_requests[-1].headers
    assert seen.get_all("x-env") == ["prod"]
    assert seen.get_all("x-tag") == ["a", "b", "c"]
    assert "cookie" not in seen


def test_response_side() -> None:
    client = client_of(
        ("Server", "nginx"),
        ("Set-Cookie", "a=1"),
        ("X-Powered-By", "PHP"),
        response_set=["Server: none"],
        response_add=["Set-Cookie: b=2"],
        response_remove=["x-powered-by"],
    )
    answer = client.get("/")
    assert answer.headers.get_all("server") == ["none"]
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert "x-powered-by" not in answer.headers


def test_one_side_leaves_the_other_alone() -> None:
    client = client_of(("X-Both", "upstream"), request_set=["X-Both: proxy"])
    assert client.get("/", headers={"X-Both": "client"}).headers["x-both"] == "upstream"


def test_same_edits_for_every_request() -> None:
    client = client_of(response_add=["X-Tag: a"])
    assert [client.get("/").headers.get_all("x-tag") for _ in range(3)] == [["a"]] * 3


def test_answer_of_an_inner_layer_is_edited_and_stays_its_own() -> None:
    client = TestClient(
        [(HeadersMiddleware, {"response_set": ["X-A: 1"]}), lambda app: lambda _: Response(204)]
    )
    answer = client.get("/")
    assert answer.headers["x-a"] == "1"
    assert answer.made_by == "<lambda>"


def test_answer_to_an_error_gets_what_is_set_and_added() -> None:
    def failing(request: Request) -> Response:
        raise HTTPError(401, headers={"WWW-Authenticate": "Basic"})

    options = {"response_set": ["X-A: 1"], "response_add": ["Link: </a>"], "response_remove": ["X-B"]}
    headers = TestClient((HeadersMiddleware, options), upstream=failing).get("/").headers
    assert (headers["x-a"], headers["link"], headers["www-authenticate"]) == ("1", "</a>", "Basic")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"response_set": ["Cache-Control"]}, "response_set: 'Cache-Control' is not 'Name: value'"),
        ({"request_add": ["X Y: a"]}, "request_add: invalid header name 'X Y'"),
        ({"request_set": [": a"]}, "request_set: invalid header name ''"),
        ({"response_add": ["X: a\nb"]}, "response_add: control character"),
        ({"response_set": ["X: \u20ac"]}, "response_set: .* outside latin-1"),
        (
            {"request_remove": ["Content-Length"]},
            "request_remove: Content-Length speaks of one connection only",
        ),
        ({"response_set": ["connection: close"]}, "response_set: connection speaks of one connection only"),
        ({"response_set": ["X: a", "x: b"]}, "response_set: x is set and removed, or set twice"),
        ({"request_set": ["X: a"], "request_remove": ["x"]}, "request_set: x is set and removed"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, list[str]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        client_of(**options)


def test_value_with_commas_is_quoted_in_an_ini_file() -> None:
    client = TestClient.from_config(
        """
        [middleware]
        stack = headers
        [[headers]]
        response_set = "Cache-Control: no-cache, private", X-Frame-Options: DENY
        """
    )
    headers = client.get("/").headers
    assert headers["cache-control"] == "no-cache, private"
    assert headers["x-frame-options"] == "DENY"
