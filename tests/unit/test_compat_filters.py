"""``FilterMiddleware`` between a client and an upstream that only exist in memory."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyrox import filtering
from pyrox.compat_filters import BodyRejected, FilterMiddleware
from pyrox.errors import HTTPError, UpstreamError
from pyrox.http import HttpResponse
from pyrox.http.forwarding import ClientSide
from pyrox.http.message import Request, Response
from pyrox.testing import ClientResponse, TestClient

Listed = list[tuple[str, Callable[[], Any]]]


def client_of(upstream: Listed | None = None, downstream: Listed | None = None, **options: Any) -> TestClient:
    """A client whose requests pass these filters and are echoed."""
    made = {"upstream": upstream or [], "downstream": downstream or [], **options}
    return TestClient((FilterMiddleware, made), echo)


def echo(request: Request) -> Response:
    return Response(200, request.read_body() or b"nothing", {"X-Seen": request.headers.get("x-seen", "")})


def on(stage: str, act: Callable[..., Any], **attributes: Any) -> Callable[[], Any]:
    """Return a filter class that does nothing but ``act(*arguments)`` at ``stage``."""
    decorator = getattr(filtering, f"handles_{stage}")
    functions = {
        "request_head": lambda self, request: act(request),
        "request_body": lambda self, part, output: act(part, output),
        "response_head": lambda self, response, request: act(response, request),
        "response_body": lambda self, part, output, request: act(part, output, request),
    }
    return type("Filter", (filtering.HttpFilter,), {"act": decorator(functions[stage]), **attributes})


def teapot(*headers: tuple[str, str]) -> HttpResponse:
    response = HttpResponse()
    response.status = "418 I am one"
    for name, value in headers:
        response.header(name).values.append(value)
    return response


# --- heads ------------------------------------------------------------------------------------------


def test_request_is_changed_before_it_goes_upstream() -> None:
    def change(request: Any) -> None:
        request.header("X-Seen").values.append("by the filter")
        request.remove_header("x-secret")
        request.method, request.url = b"PUT", b"/elsewhere"

    client = client_of([("a", on("request_head", change))])
    answer = client.get("/", headers={"X-Secret": "1"})
    assert answer.headers["x-seen"] == "by the filter"
    [seen] = client.upstream_requests
    assert (seen.method, seen.target, "x-secret" in seen.headers) == ("PUT", "/elsewhere", False)


def test_response_is_changed_before_it_goes_to_the_client() -> None:
    def change(response: Any, request: Any) -> None:
        response.status = "299 Fine"
        response.header("X-Asked").values += [request.url, request.method]
        response.local_data["seen"] = True
        assert request.local_data["seen"]

    answer = client_of([], [("a", on("response_head", change))]).get("/x")
    assert (answer.status, answer.reason, answer.made_by) == (299, "Fine", "upstream")
    assert answer.headers.get_all("x-asked") == ["/x", "GET"]


def test_upstream_pipeline_sees_no_responses_and_downstream_no_requests() -> None:
    def fail(*arguments: Any) -> None:
        raise AssertionError("seen")

    wrong = [on("response_head", fail), on("response_body", fail)]
    other = [on("request_head", fail), on("request_body", fail)]
    client = client_of([("a", one) for one in wrong], [("b", one) for one in other])
    assert client.post("/", body=b"x").body == b"x"


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("a.test:80", "http://a.test:80"),
        ("a.test", "http://a.test"),
        (b"a.test:80", "http://a.test:80"),
        ("[::1]:80", "http://[::1]:80"),
        ("http://a.test:80", "http://a.test:80"),
        ("https://a.test", "https://a.test"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ],
)
def test_route_may_leave_out_the_scheme(target: Any, route: str) -> None:
    client = client_of([("a", on("request_head", lambda request: filtering.route(target)))])
    assert client.get("/").status == 200
    assert client.upstream_requests[0].route == route


@pytest.mark.parametrize("target", [None, 5, "ftp://a", "http://", "http://a/path"])
def test_route_to_no_server_is_a_rejection(target: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = client_of([("a", on("request_head", lambda request: filtering.route(target)))])
    answer = client.get("/")
    assert (answer.status, answer.made_by, client.upstream_requests) == (400, "filters.a", [])
    assert [record.getMessage() for record in caplog.records] == [
        "filter 'a' returned route() to what is no server"
    ]


@pytest.mark.parametrize("stage", ["request_head", "response_head"])
@pytest.mark.parametrize("value", ["a\r\nb", 5])
def test_head_that_cannot_be_sent_is_a_rejection(
    stage: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listed = [("a", on(stage, lambda head, *_: head.header("X").values.append(value)))]
    client = client_of(listed, listed, rejection_status=418)
    assert client.get("/").status == 418
    assert len(client.upstream_requests) == (stage == "response_head")
    assert len(caplog.records) == 1 and "cannot be sent" in caplog.text


# --- answers ----------------------------------------------------------------------------------------


def answer_with(action: Any, stage: str = "request_head", **options: Any) -> ClientResponse:
    listed = [("a", on(stage, lambda *arguments: action))]
    return client_of(listed, listed, **options).post("/", body=b"body")


@pytest.mark.parametrize("stage", ["request_head", "request_body", "response_head"])
def test_rejection_has_the_configured_status_and_no_body(stage: str) -> None:
    answer = answer_with(filtering.reject(), stage, rejection_status=451)
    assert (answer.status, answer.body, answer.made_by) == (451, b"", "filters.a")


@pytest.mark.parametrize("stage", ["request_head", "request_body", "response_head"])
def test_rejection_with_a_response_is_that_response(stage: str) -> None:
    answer = answer_with(filtering.reject(teapot(("X", "1"), ("X", "2"))), stage, rejection_status=451)
    assert (answer.status, answer.reason, answer.body) == (418, "I am one", b"")
    assert answer.headers.get_all("x") == ["1", "2"]


def generate() -> Iterator[Any]:
    yield "a"
    yield b"b"
    yield memoryview(b"c")


@pytest.mark.parametrize(
    ("src", "body"),
    [
        (None, b""),
        (b"abc", b"abc"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        ("\u20ac", b"\xe2\x82\xac"),
        (io.BytesIO(b"abc" * 50_000), b"abc" * 50_000),
        (io.StringIO("\u20ac"), b"\xe2\x82\xac"),
        (["a", b"b", "c"], b"abc"),
        (generate(), b"abc"),
        ((), b""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_reply_has_any_kind_of_source(src: Any, body: bytes) -> None:
    answer = answer_with(filtering.reply(teapot(), src))
    assert (answer.status, answer.body) == (418, body)


def test_file_of_a_reply_is_closed() -> None:
    file = io.BytesIO(b"abc")
    answer_with(filtering.reply(teapot(), file))
    assert file.closed


@pytest.mark.parametrize(
    "action",
    [
        filtering.reject("403 Forbidden"),  # type: ignore[arg-type]
        filtering.reply(None, b"x"),  # type: ignore[arg-type]
        filtering.reply(teapot(), 5),
        filtering.reply(teapot(("X", "a\r\nb")), b"x"),
        filtering.FilterAction(filtering.REPLY, None),
        filtering.FilterAction(filtering.REPLY, (teapot(), b"", b"")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("stage", ["request_head", "request_body", "response_head"])
def test_answer_that_cannot_be_sent_is_a_rejection_logged_once(
    action: Any, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = answer_with(action, stage)
    assert (answer.status, answer.body) == (400, b"")
    [record] = caplog.records
    assert record.getMessage() == "filter 'a' answered with what cannot be sent"
    assert record.exc_info is not None and record.exc_info[1] is not None
    assert record.exc_info[1].__context__ is None  # it alone is what went wrong


def test_source_that_yields_nonsense_breaks_the_answer_off() -> None:
    with pytest.raises(TypeError, match="a part of a body is bytes or str, not 5"):
        answer_with(filtering.reply(teapot(), [5]))


def test_what_the_next_app_raises_passes() -> None:
    def refuse(request: Request) -> Response:
        raise HTTPError(403)

    middleware = FilterMiddleware(refuse, [("a", filtering.HttpFilter)], [("a", filtering.HttpFilter)])
    with pytest.raises(HTTPError):
        middleware(Request("GET", "/"))


# --- bodies -----------------------------------------------------------------------------------------


def upper(part: bytes, output: Any, request: Any = None) -> None:
    output.write(part.upper())


def test_bodies_are_changed_on_both_sides() -> None:
    client = client_of(
        [("a", on("request_body", upper))],
        [("b", on("response_body", lambda part, output, request: output.write(part or b"!")))],
    )
    assert client.post("/", body=[b"one ", b"two"]).body == b"ONE TWO!"
    assert client.upstream_requests[0].read_body() == b"ONE TWO"


def test_request_without_a_body_meets_no_body_handler() -> None:
    client = client_of([("a", on("request_body", lambda part, output: filtering.reject()))])
    assert client.get("/").status == 200


def reject_second() -> Callable[[], Any]:
    class Filter(filtering.HttpFilter):
        parts = 0

        @filtering.handles_request_body
        @filtering.handles_response_body
        def on_part(self, part: bytes, output: Any) -> Any:
            self.parts += 1
            return filtering.reject(teapot()) if self.parts == 2 else None

    return Filter


def test_part_rejected_behind_the_first_ends_the_exchange() -> None:
    """The first has been passed on by then, and the head before it."""
    client = client_of([("a", reject_second())], error_status=555)
    answer = client.post("/", body=[b"one", b"two"])
    assert answer.status == 555
    assert answer.headers.get("proxy-status") == "pyrox; error=http_request_denied"


def test_rejected_part_of_a_response_breaks_it_off(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BodyRejected, match="rejected by filter 'a'") as caught:
        client_of([], [("a", reject_second())], error_status=555).post("/", body=b"one")
    assert caught.value.status == 555
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == "filter 'a' rejected at the response body; the exchange is aborted"


def test_body_that_expects_a_100_is_not_read_before_its_head_is_upstream() -> None:
    def body() -> Iterator[bytes]:
        order.append("read")
        yield b"x"

    def upstream(request: Request) -> Response:
        order.append("asked")
        request.read_body()
        return Response(200)

    for expect, expected in (("100-continue", ["asked", "read"]), ("", ["read", "asked"])):
        order: list[str] = []
        request = Request("POST", "/", {"Expect": expect} if expect else {}, body())
        FilterMiddleware(upstream, [("a", on("request_body", upper))])(request)
        assert order == expected


def test_protocol_that_was_switched_to_has_no_body_for_filters() -> None:
    response = Response.from_head(101, "Switching Protocols", "1.1", [])
    middleware = FilterMiddleware(lambda request: response, [], [("a", on("response_body", upper))])
    assert middleware(Request("GET", "/")) is response
    assert response._filters is None


def test_consumed_parts_pass_filters_that_decode_and_those_that_do_not() -> None:
    def take(part: bytes, output: Any) -> Any:
        return filtering.consume() if part == b"take" else None

    plain, decoding = on("request_body", upper), on("request_body", upper, decode_body=True)
    client = client_of([("a", on("request_body", take)), ("b", decoding), ("c", plain)])
    assert client.post("/", body=[b"take", b"pass"]).body == b"takePASS"


# --- content codings --------------------------------------------------------------------------------

GZIPPED = gzip.compress(b"hello")


def test_filter_that_decodes_sees_what_was_coded() -> None:
    listed = [("a", on("request_body", upper, decode_body=True))]
    client = client_of(listed)
    client.post("/", body=GZIPPED, headers={"Content-Encoding": "gzip"})
    [seen] = client.upstream_requests
    assert gzip.decompress(seen.read_body()) == b"HELLO"
    assert seen.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(("lines", "decodes"), [(["br"], True), (["gzip", "br"], True), (["br"], False)])
def test_unknown_coding_of_a_request_is_refused_only_by_what_decodes(lines: list[str], decodes: bool) -> None:
    client = client_of([("a", on("request_body", upper, decode_body=decodes))])
    answer = client.post("/", body=b"x", headers=[("Content-Encoding", line) for line in lines])
    assert answer.status == (415 if decodes else 200)
    assert len(client.upstream_requests) == (not decodes)


def answers(response: Response) -> tuple[FilterMiddleware, Request]:
    listed = [("a", on("response_body", upper, decode_body=True))]
    return FilterMiddleware(lambda request: response, [], listed), Request("GET", "/")


def test_unknown_coding_of_a_response_is_the_upstreams_fault() -> None:
    middleware, request = answers(Response(200, b"x", {"Content-Encoding": "br"}))
    with pytest.raises(UpstreamError, match="Content-Encoding 'br' is not known") as caught:
        middleware(request)
    assert caught.value.status == 502


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_unknown_coding_of_no_body_is_no_fault(method: str, status: int) -> None:
    middleware, request = answers(Response(status, b"", {"Content-Encoding": "br"}))
    request.method = method
    assert middleware(request).status == status


@pytest.mark.parametrize("decodes", [True, False])
def test_upstream_is_asked_for_what_a_filter_can_be_shown(decodes: bool) -> None:
    client = client_of([], [("a", on("response_body", upper, decode_body=decodes))])
    sent = [("Accept-Encoding", "br"), ("Accept-Encoding", "gzip"), ("Range", "bytes=0-1")]
    client.get("/", headers=sent)
    [seen] = client.upstream_requests
    if decodes:
        assert (seen.headers.get_all("accept-encoding"), seen.headers.get("range")) == (["gzip"], None)
    else:
        assert (seen.headers.get_all("accept-encoding"), seen.headers.get("range")) == (
            ["br", "gzip"],
            "bytes=0-1",
        )


# --- lifetimes --------------------------------------------------------------------------------------


class Factory:
    """Makes filters and counts them."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __call__(self) -> Any:
        made = on("response_head", lambda response, request: response.header("X").values.append("1"))()
        self.made.append(made)
        return made


@pytest.mark.parametrize(
    ("lifetime", "counts"),
    [("request", [1, 2, 3, 4]), ("connection", [1, 1, 2, 2]), ("worker", [1, 1, 1, 1])],
)
@pytest.mark.parametrize("singletons", [True, False])
def test_filters_are_made_once_in_a_lifetime(lifetime: Any, counts: list[int], singletons: bool) -> None:
    factory = Factory()
    listed = [("a", factory)]
    middleware = FilterMiddleware(lambda request: Response(200), listed, listed, lifetime, singletons)
    each = 1 if singletons else 2
    assert len(factory.made) == (each if lifetime == "worker" else 0)
    sides = [ClientSide("127.0.0.1"), ClientSide("127.0.0.1")]
    for side, count in zip((sides[0], sides[0], sides[1], sides[1]), counts, strict=True):
        assert middleware(Request("GET", "/", client=side)).headers["x"] == "1"
        assert len(factory.made) == count * each


def test_two_middleware_do_not_share_the_filters_of_a_connection() -> None:
    factories = [Factory(), Factory()]
    side = ClientSide("127.0.0.1")
    for factory in factories:
        middleware = FilterMiddleware(lambda request: Response(200), [("a", factory)], lifetime="connection")
        middleware(Request("GET", "/", client=side))
    assert [len(factory.made) for factory in factories] == [1, 1]


def test_request_without_a_client_gets_filters_of_its_own() -> None:
    factory = Factory()
    middleware = FilterMiddleware(lambda request: Response(200), [("a", factory)], lifetime="connection")
    for _ in range(2):
        middleware(Request("GET", "/"))
    assert len(factory.made) == 2


@pytest.mark.parametrize("singletons", [True, False])
def test_singleton_is_one_filter_for_both_pipelines(singletons: bool) -> None:
    class Filter(filtering.HttpFilter):
        url = "none"

        @filtering.handles_request_head
        def on_request(self, request: Any) -> None:
            self.url = request.url

        @filtering.handles_response_head
        def on_response(self, response: Any) -> None:
            response.header("X").values.append(self.url)

    listed: Listed = [("a", Filter), ("b", Filter)]
    client = client_of(listed, listed, use_singletons=singletons)
    for target in ("/1", "/2"):
        expected = [target] * 2 if singletons else ["none"] * 2
        assert client.get(target).headers.get_all("x") == expected


def test_filter_that_cannot_be_made_is_named() -> None:
    def fail() -> Any:
        raise LookupError("no such thing")

    with pytest.raises(LookupError) as caught:
        FilterMiddleware(lambda request: Response(200), [("fragile", fail)])(Request("GET", "/"))
    assert caught.value.__notes__ == ["while making filter 'fragile'"]
    with pytest.raises(LookupError):
        FilterMiddleware(lambda request: Response(200), [("fragile", fail)], lifetime="worker")
