"""``mode = observe``: the ways by which a middleware on trial could have an effect all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyrox.errors import ClientTimeout, HTTPError, UpstreamTimeout
from pyrox.http.framing import CHUNKED
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.middleware.body_limit import BodyLimit
from pyrox.middleware.observe import OBSERVED, Observer
from pyrox.testing import TestClient

MARKS_ERRORS = """
[middleware]
stack = headers, cors, error_pages

[[headers]]
mode = observe
response_set = X-Mark: 1,

[[cors]]
mode = observe
origins = https://a.example,

[[error_pages]]
mode = observe
"""


def late(request: Request) -> Response:
    raise UpstreamTimeout("late")


def test_what_it_notes_on_an_error_is_not_in_the_answer() -> None:
    asked = {"Origin": "https://a.example", "Accept": "text/html"}
    answer = TestClient.from_config(MARKS_ERRORS, late).get("/", headers=asked)
    assert answer.status == 504
    assert set(answer.headers) == {"Content-Type", "Proxy-Status"}
    assert answer.text == "504 Gateway Timeout\n"


def test_what_an_inner_layer_noted_on_an_error_stays() -> None:
    marked = MARKS_ERRORS.replace("[[headers]]\nmode = observe", "[[headers]]")
    answer = TestClient.from_config(marked.replace("headers, cors", "cors, headers"), late).get("/")
    assert answer.headers["x-mark"] == "1"
    assert "vary" not in answer.headers


def test_what_it_changes_of_an_error_stays_with_it() -> None:
    def disguises(app: App) -> App:
        def middleware(request: Request) -> Response:
            try:
                return app(request)
            except HTTPError as error:
                error.status, error.detail = 500, "changed"
                error.headers["X-Mark"] = "1"  # type: ignore[index]
                raise

        return middleware

    def refuses(app: App) -> App:
        def middleware(request: Request) -> Response:
            raise HTTPError(403, "no", {"X-Why": "so"})

        return middleware

    client = TestClient([lambda app: Observer(app, "tried", disguises), refuses])
    answer = client.get("/")
    assert (answer.status, answer.text, answer.headers["x-why"]) == (403, "no\n", "so")
    assert "x-mark" not in answer.headers


def reads(app: App) -> App:
    def middleware(request: Request) -> Response:
        request.read_body()
        return app(request)

    return middleware


def reads_later(app: App) -> App:
    def middleware(request: Request) -> Response:
        response = app(request)
        request.read_body()
        return response

    return middleware


def breaking_off() -> Iterator[bytes]:
    yield b"half"
    raise ClientTimeout("slow")


def test_body_that_breaks_off_breaks_off_upstream_after_the_same_bytes() -> None:
    sent: list[bytes] = []

    def upstream(request: Request) -> Response:
        sent.extend(request.stream())
        return Response(200)

    with pytest.raises(ClientTimeout):
        Observer(upstream, "tried", reads)(Request("POST", "/", body=breaking_off()))
    assert sent == [b"half"]


def observe(
    factory: type[BodyLimit] | object, request: Request, response: Response | None = None
) -> list[str]:
    """Return the verdicts on ``request``."""
    Observer(lambda _: response or Response(200), "tried", factory)(request)  # type: ignore[arg-type]
    verdicts: list[str] = request.state.get(OBSERVED, [])
    return verdicts


def test_body_that_was_sent_on_is_left_alone() -> None:
    request = Request("POST", "/", body=iter([b"all of it"]))
    assert observe(reads_later, request) == [
        "tried=unknown: it reads the request's body after that was sent on"
    ]
    assert request.read_body() == b"all of it"


def test_client_that_waits_for_a_100_is_not_waited_for() -> None:
    request = Request("POST", "/", {"Expect": "100-continue"}, body=breaking_off())
    assert observe(reads, request) == [
        "tried=unknown: it reads a body before the client was told to continue"
    ]


def test_chunked_body_that_is_read_stays_one_that_can_have_trailers() -> None:
    request = Request("POST", "/", body=iter([b"a", b"b"]))
    request.content_length = CHUNKED
    assert observe(reads, request) == []
    assert not isinstance(request.body, bytes)
    assert list(request.stream()) == [b"ab"]


class Declared:
    """A body that says how long it is before it is there."""

    length_to_come = 100

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("nobody has to read it")


def limits(app: App) -> App:
    return BodyLimit(app, request=99, response=99)


def test_declared_length_of_a_body_is_known() -> None:
    assert observe(limits, Request("POST", "/", body=Declared())) == ["tried=413"]
    assert observe(limits, Request("GET", "/"), Response(200, Declared())) == ["tried=502"]
