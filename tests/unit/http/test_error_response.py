"""What a client is told when an exchange fails, and what it is not told."""

from __future__ import annotations

import json

import pytest

from pyrox.errors import (
    ClientError,
    ConnectError,
    HTTPError,
    NoHealthyServer,
    NoRoute,
    ProxyError,
    UpstreamTimeout,
)
from pyrox.http.error_response import (
    answer_headers,
    answer_page,
    error_response,
    internal_error,
    prefers_problem,
)


def test_generic_answer_is_the_status_and_its_phrase() -> None:
    response = error_response(NoRoute("no route for /x"), None)
    assert response.status == 404
    assert response.body == b"404 Not Found\n"
    assert response.headers.items() == [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Proxy-Status", "pyrox; error=destination_not_found"),
    ]


@pytest.mark.parametrize("accept", [None, "application/problem+json"])
@pytest.mark.parametrize(
    "error",
    [ProxyError("secret"), ClientError("secret"), ConnectError("secret"), UpstreamTimeout("secret")],
)
def test_detail_of_an_error_of_ours_is_not_shown(error: ProxyError, accept: str | None) -> None:
    response = error_response(error, accept)
    assert b"secret" not in response.read_body()
    assert "secret" not in repr(response.headers)


def test_proxy_status_carries_the_error_s_own_token() -> None:
    error = UpstreamTimeout("late", proxy_status="connection_timeout")
    assert error_response(error, None).headers["proxy-status"] == "pyrox; error=connection_timeout"


def test_detail_and_headers_of_http_error_are_shown() -> None:
    challenges = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")]
    response = error_response(HTTPError(401, "who are you?", challenges), None)
    assert response.body == b"who are you?\n"
    assert response.headers.get_all("www-authenticate") == ["Basic", "Bearer"]
    assert response.headers["proxy-status"] == "pyrox; error=http_request_denied"


def test_problem_json_when_the_client_prefers_it() -> None:
    response = error_response(HTTPError(403, "not yours"), "application/problem+json")
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.read_body()) == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "detail": "not yours",
    }


def test_problem_json_without_detail_has_no_detail_member() -> None:
    assert error_response(ProxyError("secret"), "application/json").json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
    }


def test_content_type_of_http_error_says_what_its_detail_is() -> None:
    error = HTTPError(403, "<p>no</p>", {"content-type": "text/html"})
    response = error_response(error, "application/problem+json")
    assert response.body == b"<p>no</p>"
    assert response.headers.get_all("content-type") == ["text/html"]


def test_503_gets_retry_after_unless_given() -> None:
    assert error_response(NoHealthyServer(), None).headers["retry-after"] == "1"
    given = error_response(HTTPError(503, headers={"Retry-After": "30"}), None)
    assert given.headers.get_all("retry-after") == ["30"]


def test_405_of_pyrox_says_what_is_allowed_and_that_of_a_middleware_is_left_alone() -> None:
    assert "GET" in error_response(ClientError(status=405), None).headers["allow"]
    assert "allow" not in error_response(HTTPError(405), None).headers


def test_status_without_a_phrase_still_has_an_answer() -> None:
    assert error_response(HTTPError(599), None).body == b"599 Error\n"


def test_detail_outside_unicode_does_not_spoil_the_answer() -> None:
    assert error_response(HTTPError(400, "bad \udc80"), None).body == b"bad ?\n"


@pytest.mark.parametrize("header", [("X-Note", "a\r\nSet-Cookie: b"), ("X Note", "a")])
def test_header_that_cannot_be_sent_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="X"):
        error_response(HTTPError(400, headers=[header]), None)


def test_answer_headers_replace_the_answer_s_own() -> None:
    error = HTTPError(503, headers=[("X-A", "1"), ("X-A", "2")])
    answer_headers(error)["X-A"] = "3"
    answer_headers(error).add("Retry-After", "9")
    headers = error_response(error, None).headers
    assert headers.get_all("x-a") == ["3"]
    assert headers.get_all("retry-after") == ["9"]


def test_internal_error_tells_the_log_what_and_the_client_nothing() -> None:
    error = KeyError("secret")
    answer_headers(error)["X-A"] = "1"
    failure = internal_error(error)
    assert failure.detail == "KeyError: 'secret'"
    response = error_response(failure, None)
    assert (response.status, response.body) == (500, b"500 Internal Server Error\n")
    assert response.headers["x-a"] == "1"


def test_error_that_no_middleware_raised_is_made_by_pyrox() -> None:
    assert error_response(NoRoute(), None).made_by == "pyrox"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("application/json, text/plain, */*", False),
        ("application/problem+json;q=0, */*", False),
        ("application/problem+json;q=0.4, text/plain;q=0.5", False),
        ("application/json;q=often", False),
        ("application/json", True),
        ("APPLICATION/PROBLEM+JSON", True),
        ("application/*", True),
        ("application/problem+json; q=0.5, text/*;q=0.4", True),
        ("application/json, */*;q=0.1", True),
    ],
)
def test_prefers_problem(accept: str | None, expected: bool) -> None:
    assert prefers_problem(accept) is expected


def test_page_makes_the_body_of_an_answer_and_its_media_type() -> None:
    error = HTTPError(403, "not yours")
    answer_page(error, lambda status, detail: (f"{status}: {detail}", "text/x-page"))
    answer_page(error, lambda status, detail: ("an outer layer's", "text/plain"))
    response = error_response(error, "application/json")
    assert (response.body, response.headers["content-type"]) == (b"403: not yours", "text/x-page")


def test_page_sees_no_detail_that_is_not_for_the_client_and_no_body_that_is_finished() -> None:
    fault = KeyError("secret")
    answer_page(fault, lambda status, detail: (f"{status}{detail}", "text/plain"))
    assert error_response(internal_error(fault), None).body == b"500"
    finished = HTTPError(403, "<p>no</p>", {"Content-Type": "text/html"})
    answer_page(finished, lambda status, detail: ("page", "text/plain"))
    assert error_response(finished, None).body == b"<p>no</p>"


def test_answer_varies_by_what_the_error_and_the_layers_around_it_say() -> None:
    error = HTTPError(406, headers={"Vary": "Accept"})
    answer_headers(error)["Vary"] = "Origin"
    assert error_response(error, None).headers.get_all("vary") == ["Origin, Accept"]
