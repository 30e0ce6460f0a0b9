"""``mode = observe``: a middleware that judges, and changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from pyrox.errors import HTTPError, UpstreamTimeout
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, BodyFilter
from pyrox.middleware.observe import OBSERVED, Observer
from pyrox.testing import TestClient, Upstream

Handler = Callable[[App, Request], Response]


def observing(
    handler: Handler, upstream: Upstream | None = None, inside: list[App] | None = None
) -> TestClient:
    """A client of an observed middleware that is ``handler``, and of what notes the verdicts."""

    def factory(app: App) -> App:
        observer = Observer(app, "tried", lambda inner: lambda request: handler(inner, request))

        def verdicts_shown(request: Request) -> Response:
            try:
                response = observer(request)
            finally:
                seen.append(request.state.get(OBSERVED, []))
            return response

        return verdicts_shown

    seen: list[list[str]] = []
    client = TestClient(factory, upstream)
    client.seen = seen  # type: ignore[attr-defined]
    return client


def seen_by(client: TestClient) -> list[list[str]]:
    return client.seen  # type: ignore[attr-defined, no-any-return]


def changes_everything(app: App, request: Request) -> Response:
    request.headers["X-Mark"] = "1"
    request.method, request.target = "DELETE", "/other"
    request.state["mark"] = 1
    request.route_to("http://10.0.0.9:80")
    request.filter_body(BodyFilter())
    response = app(request)
    response.headers["X-Mark"] = "1"
    response.filter_body(BodyFilter())
    response.body = "changed"
    return response


def test_changes_reach_neither_side() -> None:
    client = observing(changes_everything, Response(200, "as it was"))
    answer = client.post("/asked", body="sent")
    [seen] = client.upstream_requests
    assert (seen.method, seen.target, seen.body, seen.route) == ("POST", "/asked", b"sent", None)
    assert "x-mark" not in seen.headers and "mark" not in seen.state
    assert (answer.status, answer.text, answer.made_by) == (200, "as it was", "upstream")
    assert "x-mark" not in answer.headers
    assert seen_by(client) == [[]]


def refuses(app: App, request: Request) -> Response:
    raise HTTPError(403)


def answers(app: App, request: Request) -> Response:
    return Response(429, "slow down")


def fails(app: App, request: Request) -> Response:
    raise LookupError("a mistake")


def exits(app: App, request: Request) -> Response:
    raise SystemExit(3)


def returns_nothing(app: App, request: Request) -> Response:
    return None  # type: ignore[return-value]


def changes_status(app: App, request: Request) -> Response:
    response = app(request)
    response.status = 503
    return response


def refuses_afterwards(app: App, request: Request) -> Response:
    app(request)
    raise HTTPError(502)


@pytest.mark.parametrize(
    ("handler", "verdict"),
    [
        (refuses, "403"),
        (answers, "429"),
        (fails, "500"),
        (exits, "500"),
        (returns_nothing, "500"),
        (changes_status, "503"),
        (refuses_afterwards, "502"),
    ],
)
def test_verdict_is_noted_and_the_request_goes_on_once(handler: Handler, verdict: str) -> None:
    client = observing(handler, Response(200, "served"))
    assert client.get("/").text == "served"
    assert len(client.upstream_requests) == 1
    assert seen_by(client) == [[f"tried={verdict}"]]


def late(request: Request) -> Response:
    raise UpstreamTimeout("late")


def apologises(app: App, request: Request) -> Response:
    try:
        return app(request)
    except UpstreamTimeout:
        return Response(200, "sorry")


def passes(app: App, request: Request) -> Response:
    return app(request)


def repaints(app: App, request: Request) -> Response:
    try:
        return app(request)
    except UpstreamTimeout as error:
        return Response(error.status, "another page")


@pytest.mark.parametrize(("handler", "verdicts"), [(apologises, ["tried=200"]), (passes, []), (repaints, [])])
def test_error_from_inside_is_seen_and_stays(handler: Handler, verdicts: list[str]) -> None:
    client = observing(handler, late)
    assert client.get("/").status == 504
    assert seen_by(client) == [verdicts]


def test_second_call_of_the_app_sends_nothing() -> None:
    def calls_twice(app: App, request: Request) -> Response:
        app(request)
        return app(request)

    client = observing(calls_twice)
    assert client.get("/").status == 200
    assert len(client.upstream_requests) == 1


def reads(app: App, request: Request) -> Response:
    if b"bad" in request.read_body(1 << 20):
        raise HTTPError(422)
    return app(request)


def pieces(size: int, piece: bytes) -> Iterator[bytes]:
    return (piece for _ in range(size // len(piece)))


@pytest.mark.parametrize(
    ("body", "verdicts"),
    [
        (b"", []),
        (b"good", []),
        (b"bad", ["tried=422"]),
        ([b"b", b"ad"], ["tried=422"]),
        (b"x" * 65536, []),
        (b"x" * 65537, ["tried=unknown: it reads a body of more than 64 KiB"]),
        (pieces(100_000, b"abcde"), ["tried=unknown: it reads a body of more than 64 KiB"]),
    ],
)
def test_request_body_that_is_read_is_sent_all_the_same(
    body: bytes | list[bytes], verdicts: list[str]
) -> None:
    client = observing(reads)
    assert client.post("/", body=body).status == 200
    expected = (
        b"abcde" * 20_000
        if not isinstance(body, bytes | list)
        else b"".join(body)
        if isinstance(body, list)
        else body
    )
    assert client.upstream_requests[0].body == expected
    assert seen_by(client) == [verdicts]


def test_response_body_cannot_be_observed() -> None:
    def reads_response(app: App, request: Request) -> Response:
        response = app(request)
        response.read_body()
        return response

    client = observing(reads_response, Response(200, "a body"))
    assert client.get("/").text == "a body"
    assert seen_by(client) == [["tried=unknown: it reads the response's body"]]


def test_requests_of_its_own_cannot_be_observed() -> None:
    def asks_another(app: App, request: Request) -> Response:
        return app(Request("GET", "/auth"))

    client = observing(asks_another)
    assert client.get("/").status == 200
    assert [seen.target for seen in client.upstream_requests] == ["/"]
    assert seen_by(client) == [["tried=unknown: it sends a request of its own"]]


def test_what_it_holds_is_released_at_the_end_of_the_real_exchange() -> None:
    held: list[str] = []

    def holds(app: App, request: Request) -> Response:
        held.append("taken")
        response = app(request)
        response.on_close(lambda: held.append("released"))
        return response

    def body() -> Iterator[bytes]:
        held.append("body")
        yield b"x"

    client = observing(holds, lambda request: Response(200, body()))
    assert client.get("/").text == "x"
    assert held == ["taken", "body", "released"]


def test_what_its_own_answer_holds_is_released_at_once() -> None:
    released: list[int] = []

    def answers_and_holds(app: App, request: Request) -> Response:
        response = Response(429)
        response.on_close(lambda: released.append(1))
        return response

    observing(answers_and_holds).get("/")
    assert released == [1]


def test_callback_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def careless(app: App, request: Request) -> Response:
        response = app(request)
        response.on_close(lambda: 1 / 0)
        return response

    assert observing(careless).get("/").status == 200
    assert "an on_close callback of an observed middleware failed" in caplog.text


def test_counts_are_logged_at_once_and_then_every_ten_seconds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("pyrox.middleware.observe.monotonic", lambda: now[0])
    statuses = iter([None, 403, 403, 429, 403])

    def judges(app: App, request: Request) -> Response:
        status = next(statuses)
        return Response(status) if status else app(request)

    client = observing(judges)
    with caplog.at_level(logging.WARNING, "pyrox.observe"):
        for _ in range(4):
            client.get("/")
        now[0] += 10.0
        client.get("/")
    assert [record.getMessage() for record in caplog.records] == [
        "middleware 'tried', observed, of 2 requests: 1 x 403",
        "middleware 'tried', observed, of 3 requests: 2 x 403, 1 x 429",
    ]
