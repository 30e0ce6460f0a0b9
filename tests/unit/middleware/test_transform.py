"""``Transform``: what a subclass is shown, what becomes of the head, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyrox import Flow, Headers, Response, ServerSentEvent, Transform
from pyrox.errors import ProxyError
from pyrox.http.decoding import Decoder
from pyrox.http.encoding import Encoder
from pyrox.testing import TestClient
from tests.unit.middleware.transforms import (
    CODINGS,
    EVENTS,
    JSON,
    TEXT,
    Count,
    Upper,
    answer_of,
    coded,
    decoded,
    encoded,
)

# --- what is shown ---


@pytest.mark.parametrize("codings", CODINGS)
def test_text_is_seen_and_changed_under_every_coding_on_both_sides(codings: tuple[str, ...]) -> None:
    body = encoded("naïve ".encode() * 9, codings)
    client = TestClient(Upper, Response(200, [body[:7], body[7:]], coded(TEXT, codings)))
    answer = client.post("/", body=body, headers=coded(TEXT, codings))
    for message in (answer, client.upstream_requests[-1]):
        assert decoded(message.body, codings).decode() == "NAÏVE " * 9
        assert message.headers.get("content-encoding", "") == ", ".join(codings)


@pytest.mark.parametrize("codings", CODINGS)
def test_document_is_seen_and_changed_under_every_coding_on_both_sides(codings: tuple[str, ...]) -> None:
    body = encoded(b'{"a": 1}', codings)
    client = TestClient(Count, Response(200, [body[:3], body[3:]], coded(JSON, codings)))
    answer = client.post("/", body=[body[:3], body[3:]], headers=coded(JSON, codings))
    for message in (answer, client.upstream_requests[-1]):
        assert decoded(message.body, codings) == b'{"a":1,"count":1}'


def test_lines_are_seen_without_their_endings_and_keep_them() -> None:
    seen = []

    class Lines(Transform):
        def on_response_line(self, line: str, flow: Flow) -> list[str] | str | None:
            seen.append(line)
            return {"drop": None, "twice": ["1", "2"]}.get(line, line + "!")

    body = [b"one\r", b"\nt", b"wo\ndr", b"op\n\ntwi", b"ce\r\nlast"]
    assert answer_of(Lines, body, TEXT).body == b"one!\r\ntwo!\n!\n1\r\n2\r\nlast!"
    assert seen == ["one", "two", "drop", "", "twice", "last"]


def test_events_are_seen_and_comments_pass() -> None:
    class Events(Transform):
        def on_response_event(self, event: ServerSentEvent, flow: Flow) -> Any:
            match event.data:
                case "drop":
                    return None
                case "twice":
                    return [event, ServerSentEvent("again", event="x")]
                case "change":
                    event.data = "changed\nit"
            return event

        def on_response_end(self, flow: Flow) -> ServerSentEvent:
            return ServerSentEvent("bye")

    stream = b": hi\n\ndata:keep\r\n\r\ndata: drop\n\ndata: twice\n\nid: 1\ndata: change\n\n"
    expected = (
        b": hi\n\ndata:keep\r\n\r\ndata: twice\n\nevent: x\ndata: again\n\nid: 1\ndata: changed\ndata: it\n\n"
        b"data: bye\n\n"
    )
    assert answer_of(Events, stream, EVENTS).body == expected
    assert answer_of(Events, [stream[i : i + 1] for i in range(len(stream))], EVENTS).body == expected


def test_line_feed_that_comes_late_goes_the_way_of_its_event() -> None:
    class Events(Transform):
        def on_response_event(self, event: ServerSentEvent, flow: Flow) -> Any:
            return {"keep": event, "drop": None}.get(event.data, ServerSentEvent("new"))

    stream = b"data: keep\r\n\r\n\ndata: drop\r\n\r\n\ndata: x\r\n\r\n\n"
    for chunks in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        assert answer_of(Events, chunks, EVENTS).body == b"data: keep\r\n\r\n\n\ndata: new\n\n\n"


@pytest.mark.parametrize("codings", CODINGS)
def test_event_leaves_with_the_chunk_that_completes_it(codings: tuple[str, ...]) -> None:
    class Events(Transform):
        def on_response_event(self, event: ServerSentEvent, flow: Flow) -> ServerSentEvent:
            return ServerSentEvent(event.data.upper())

    decoder = Decoder(codings, ProxyError)
    received: list[bytes] = []

    def live() -> Iterator[bytes]:
        encoder = Encoder(codings)
        for number, event in enumerate((b"data: a\n\n", b"data: b\n\n")):
            yield encoder.encode(event) + (encoder.flush() if codings else b"")
            # The client's side asks for more only when it has sent what there was.
            assert b"".join(received) == (b"data: A\n\n", b"data: A\n\ndata: B\n\n")[number]
        yield encoder.finish()

    def look(app: Any) -> Any:
        def middleware(request: Any) -> Response:
            response: Response = app(request)
            chunks = response.stream()

            def watched() -> Iterator[bytes]:
                for chunk in chunks:
                    received.extend(decoder.decode(chunk))
                    yield chunk

            response.body = watched()
            return response

        return middleware

    TestClient([look, Events], Response(200, live(), coded(EVENTS, codings))).get("/")
    assert b"".join(received) == b"data: A\n\ndata: B\n\n"


def test_bytes_and_bodies_are_seen_whatever_their_type() -> None:
    class Bytes(Transform):
        def on_response_bytes(self, chunk: bytes, flow: Flow) -> bytes:
            return chunk[::-1]

        def on_request_body(self, body: bytes, flow: Flow) -> bytes:
            return body[::-1]

    client = TestClient(Bytes, Response(200, [b"abc", b"def"], {"Content-Type": "image/png"}))
    assert client.post("/", body=[b"abc", b"def"]).body == b"cbafed"
    assert client.upstream_requests[-1].body == b"fedcba"


def test_start_may_change_the_head_and_end_may_add() -> None:
    class Wrap(Transform):
        def on_response_start(self, flow: Flow) -> None:
            assert flow.response is flow.message is not None
            flow.response.headers["X-Path"] = flow.request.path
            flow.state["count"] = 0

        def on_response_text(self, text: str, flow: Flow) -> str | None:
            flow.state["count"] += len(text)
            return None

        def on_response_end(self, flow: Flow) -> str:
            return f"{flow.state['count']}"

    answer = answer_of(Wrap, [b"abc", b"d\xc3", b"\xa9"], TEXT)
    assert (answer.body, answer.headers["x-path"]) == (b"5", "/")


def test_most_particular_handler_sees_a_body() -> None:
    class Both(Transform):
        def on_response_text(self, text: str, flow: Flow) -> str:
            return "text"

        def on_response_json(self, value: Any, flow: Flow) -> str:
            return "json"

    assert answer_of(Both, b"1", {"Content-Type": "application/problem+json"}).body == b'"json"'
    assert answer_of(Both, b"1", {"Content-Type": "text/html"}).body == b"text"
    assert answer_of(Both, b"1", {"Content-Type": "image/png"}).body == b"1"
    assert answer_of(Both, b"1", {}).body == b"1"


def test_content_types_decide_when_they_are_given() -> None:
    class Own(Upper):
        content_types = ("application/vnd.own", "application/*+own")

    assert answer_of(Own, b"a", {"Content-Type": "Application/vnd.Own; x=y"}).body == b"A"
    assert answer_of(Own, b"a", {"Content-Type": "application/x+own"}).body == b"A"
    assert answer_of(Own, b"a", TEXT).body == b"a"


def test_subclass_may_look_away() -> None:
    class Some(Upper):
        def wants_request(self, request: Any) -> bool:
            return "x" in request.query

        def wants_response(self, request: Any, response: Response) -> bool:
            return response.status == 404

    class OnlyRequests(Upper):
        sides = ("request",)

    client = TestClient(Some, {"/": Response(200, b"a", TEXT), "/no": Response(404, b"a", TEXT)})
    assert (client.get("/").body, client.get("/no").body) == (b"a", b"A")
    client.post("/?x", body=b"a", headers=TEXT), client.post("/", body=b"a", headers=TEXT)
    assert [seen.body for seen in client.upstream_requests[-2:]] == [b"A", b"a"]
    client = TestClient(OnlyRequests, Response(200, b"a", TEXT))
    assert client.post("/", body=b"a", headers={**TEXT, "Range": "bytes=0-1"}).body == b"a"
    assert client.upstream_requests[-1].body == b"A"
    assert client.upstream_requests[-1].headers["range"] == "bytes=0-1"


def test_misspelt_handler_is_an_error_of_its_class() -> None:
    with pytest.raises(TypeError, match=r"on_response_jsn is no handler .* did you mean on_response_json\?"):
        type("Wrong", (Transform,), {"on_response_jsn": lambda self, value, flow: value})


# --- the head ---

HEAD = {
    "ETag": '"abc"',
    "Content-MD5": "x",
    "Digest": "x",
    "Content-Digest": "x",
    "Repr-Digest": "x",
    "Accept-Ranges": "bytes",
}


def test_head_of_a_changed_body_says_nothing_untrue() -> None:
    for transform, body, headers in ((Upper, b"a", TEXT), (Count, b"{}", JSON)):
        answer = answer_of(transform, body, {**headers, **HEAD})
        assert answer.headers["etag"] == 'W/"abc"'
        assert [name for name in HEAD if name in answer.headers] == ["ETag"]


def test_document_that_nobody_changed_leaves_byte_for_byte_with_its_head() -> None:
    body = b'{ "a" : 1.50,\n "count": 2 }'
    for codings in CODINGS:
        answer = answer_of(Count, encoded(body, codings), {**coded(JSON, codings), **HEAD})
        assert answer.body == encoded(body, codings)
        assert [name for name in HEAD if name in answer.headers] == list(HEAD)


def test_weak_etag_stays() -> None:
    assert answer_of(Upper, b"a", {**TEXT, "ETag": 'W/"abc"'}).headers["etag"] == 'W/"abc"'


def test_upstream_is_asked_for_what_can_be_seen() -> None:
    client = TestClient(Upper, Response(200, b"a", TEXT))
    client.get(
        "/",
        headers={"Accept-Encoding": "gzip, compress;q=0.9, br;q=0.5", "Range": "bytes=1-", "If-Range": "x"},
    )
    seen = client.upstream_requests[-1].headers
    assert seen["accept-encoding"] == "gzip, br;q=0.5"
    assert "range" not in seen and "if-range" not in seen
    client.get("/")
    assert client.upstream_requests[-1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304)])
def test_answer_without_a_body_has_the_head_of_one_with_it(method: str, status: int) -> None:
    for headers in (TEXT, {}) if status == 304 else (TEXT,):
        answer = answer_of(Upper, b"", {**headers, **HEAD}, status, method)
        assert answer.headers["etag"] == 'W/"abc"'
    assert (
        answer_of(Upper, b"", {"Content-Type": "image/png", **HEAD}, status, method).headers["etag"]
        == '"abc"'
    )


@pytest.mark.parametrize("transform", [Upper, Count])
def test_empty_bodies_stay_empty(transform: type[Transform]) -> None:
    client = TestClient(transform, Response(200, b"", JSON))
    assert client.post("/", body=b"", headers=JSON).body == b""
    assert client.post("/", body=[b""], headers=JSON).body == b""
    assert client.upstream_requests[-1].body == b""
    assert answer_of(transform, b"", {**JSON, "ETag": '"a"'}, 204).headers["etag"] == '"a"'


def test_trailers_pass() -> None:
    for transform, body, headers in ((Upper, [b"a"], TEXT), (Count, [b"{}"], JSON)):
        response = Response(200, body, headers)
        response.trailers = Headers({"X-Sum": "1"})
        assert TestClient(transform, response).get("/").trailers == Headers({"X-Sum": "1"})


def test_no_transform_is_respected_unless_the_class_says_no() -> None:
    class Always(Upper):
        respects_no_transform = False

    headers = {**TEXT, "Cache-Control": "max-age=5, No-Transform"}
    assert answer_of(Upper, b"a", headers).body == b"a"
    assert answer_of(Always, b"a", headers).body == b"A"
    client = TestClient(Upper, Response(200, b"a", TEXT))
    # What the client asks for its own body does not keep the response from being changed.
    assert client.post("/", body=b"a", headers=headers).body == b"A"
    assert client.upstream_requests[-1].body == b"a"
