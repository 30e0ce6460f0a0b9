"""``Request`` and ``Response`` as a middleware holds them."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response


class Upper:
    """A filter that shouts, and has a last word."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.upper()

    def finish(self) -> bytes:
        return b"!"


class Source:
    """A body that can be read once and knows whether it was closed."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = iter(chunks)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed += 1


# --- requests ---------------------------------------------------------------------------------------


def test_path_and_query_are_parts_of_the_target() -> None:
    request = Request("GET", "/a%20b?c=d?e")
    assert (request.path, request.query) == ("/a%20b", "c=d?e")
    request.target = "/x"
    assert (request.path, request.query) == ("/x", "")


def test_asterisk_is_a_target() -> None:
    assert Request("OPTIONS", "*").target == "*"


@pytest.mark.parametrize(
    "target",
    ["", "a", "http://a/", "/a b", "/a\r\nX: y", "/a\n", "/\x00", "/\x7f", "/a#b", "/\u00e4", "**", "*/"],
)
def test_target_that_could_split_the_request_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="invalid request target"):
        Request("GET", target)
    request = Request("GET", "/")
    with pytest.raises(ValueError, match="invalid request target"):
        request.target = target
    assert request.target == "/"


@pytest.mark.parametrize("method", ["", "GET ", "GE T", "GET\r\n", "G\x00T", "G(T", "\u00c4"])
def test_method_that_is_no_token_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="invalid method"):
        Request(method, "/")
    request = Request("GET", "/")
    with pytest.raises(ValueError, match="invalid method"):
        request.method = method
    assert request.method == "GET"


def test_host_and_url_come_from_the_headers() -> None:
    request = Request("GET", "/a?b", {"Host": "example.com:8080"})
    assert (request.host, request.scheme) == ("example.com:8080", "http")
    assert request.url == "http://example.com:8080/a?b"
    assert Request("GET", "/").host == ""


def test_client_answers_for_scheme_and_address() -> None:
    class Client:
        def scheme_of(self, headers: Headers) -> str:
            return headers["x-scheme"]

        def address_of(self, headers: Headers) -> str:
            return headers["x-address"]

    headers = {"X-Scheme": "https", "X-Address": "192.0.2.1", "Host": "h"}
    request = Request("GET", "/", headers, client=Client())  # type: ignore[arg-type]
    assert (request.url, request.client_address) == ("https://h/", "192.0.2.1")
    assert Request("GET", "/").client_address == ""


def test_state_lives_as_long_as_the_request_and_is_its_own() -> None:
    request, other = Request("GET", "/"), Request("GET", "/")
    request.state["user"] = "alice"
    assert request.state == {"user": "alice"}
    assert other.state == {}


@pytest.mark.parametrize(
    "destination",
    ["http://a", "http://a:8080", "https://a/", "http://[::1]:80", "unix:/run/app.sock", "backend"],
)
def test_route_to_takes_an_origin_or_a_cluster(destination: str) -> None:
    request = Request("GET", "/")
    request.route_to(destination)
    assert request.route == destination


@pytest.mark.parametrize("destination", ["ftp://a", "http://", "http://:80", "http://a/path", "http://a?b"])
def test_route_to_refuses_a_url_it_cannot_mean(destination: str) -> None:
    request = Request("GET", "/")
    with pytest.raises(ValueError, match="route_to"):
        request.route_to(destination)
    assert request.route is None


def test_request_from_a_head_has_what_a_made_one_has() -> None:
    parsed = Request.from_head("GET", "/", "1.0", [(b"host", b"Host", b"a")])
    made = Request("GET", "/", {"Host": "a"})
    assert parsed.version == "1.0"
    for name in dir(made):
        if name in ("version", "headers") or name.startswith("__") or callable(getattr(made, name)):
            continue
        assert getattr(parsed, name) == getattr(made, name), name
    assert parsed.headers == made.headers


def test_request_shows_itself_by_its_request_line() -> None:
    assert repr(Request("GET", "/a")) == "<Request GET /a>"


# --- responses --------------------------------------------------------------------------------------


def test_text_is_utf8_and_labelled_unless_labelled_already() -> None:
    response = Response(401, "who are \u00fc?")
    assert response.body == b"who are \xc3\xbc?"
    assert response.headers.items() == [("Content-Type", "text/plain; charset=utf-8")]
    assert Response(200, "<p>", {"content-type": "text/html"}).headers.items() == [
        ("content-type", "text/html")
    ]
    assert Response(200, b"bytes").headers.items() == []


def test_status_brings_its_reason_phrase() -> None:
    response = Response(HTTPStatus.NOT_FOUND)
    assert (response.status, response.reason) == (404, "Not Found")
    response.status = 503
    assert (response.status, response.reason) == (503, "Service Unavailable")
    response.status = 299
    assert (response.status, response.reason) == (299, "")


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 1000, -200, "200", None, 200.0])
def test_status_that_is_not_final_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="final response"):
        Response(status)
    response = Response(200)
    with pytest.raises(ValueError, match="final response"):
        response.status = status
    assert (response.status, response.reason) == (200, "OK")


def test_reason_may_be_replaced_but_not_by_what_splits_the_head() -> None:
    response = Response(200)
    response.reason = "Fine \u00e4"
    assert response.reason == "Fine \u00e4"
    for bad in ("a\r\nb", "a\nb", "\x00", "\u20ac"):
        with pytest.raises(ValueError, match="reason phrase"):
            response.reason = bad
    assert response.reason == "Fine \u00e4"


def test_json_of_is_a_labelled_body() -> None:
    response = Response.json_of({"a": [1]}, status=201)
    assert response.status == 201
    assert response.json() == {"a": [1]}
    assert response.headers["content-type"] == "application/json"
    problem = Response.json_of({}, headers={"Content-Type": "application/problem+json"})
    assert problem.headers.get_all("content-type") == ["application/problem+json"]


def test_close_releases_the_body_then_runs_each_callback_once_in_order() -> None:
    calls: list[str] = []
    source = Source(b"a")
    response = Response(200, source)
    response.on_close(lambda: calls.append(f"first, body closed {source.closed} time"))
    response.on_close(lambda: calls.append("second"))
    assert response.close() == []
    assert response.close() == []
    assert calls == ["first, body closed 1 time", "second"]
    assert source.closed == 1


def test_callback_that_fails_does_not_keep_the_others_from_running() -> None:
    calls: list[str] = []
    failure = RuntimeError("broken")

    def fail() -> None:
        raise failure

    response = Response(200)
    response.on_close(fail)
    response.on_close(lambda: calls.append("ran"))
    assert response.close() == [failure]
    assert calls == ["ran"]


def test_callback_that_comes_after_the_close_runs_at_once() -> None:
    response = Response(200)
    response.close()
    calls: list[str] = []
    response.on_close(lambda: calls.append("ran"))
    assert calls == ["ran"]
    assert response.close() == []
    assert calls == ["ran"]


def test_filtered_body_is_still_closed() -> None:
    source = Source(b"a")
    response = Response(200, source)
    response.filter_body(Upper())
    assert list(response.stream()) == [b"A", b"!"]
    response.close()
    assert source.closed == 1


def test_response_from_a_head_has_what_a_made_one_has() -> None:
    parsed = Response.from_head(200, "OK", "1.0", [(b"age", b"Age", b"1")])
    made = Response(200, headers={"Age": "1"})
    assert parsed.version == "1.0"
    for name in dir(made):
        if name in ("version", "headers") or name.startswith("__") or callable(getattr(made, name)):
            continue
        assert getattr(parsed, name) == getattr(made, name), name
    assert parsed.headers == made.headers


def test_informational_head_is_a_response_too() -> None:
    assert Response.from_head(103, "Early Hints", "1.1", []).status == 103


def test_response_shows_itself_by_status_and_maker() -> None:
    response = Response(200)
    assert repr(response) == "<Response 200 made by nobody yet>"
    response.made_by = "upstream"
    assert repr(response) == "<Response 200 made by upstream>"
