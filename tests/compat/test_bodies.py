"""What body handlers see of a body, and what they make of it, over both wires."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.compat.proxies import MIB, PLUGINS, REJECTION, Parts, chunked, config_of_named, letters, mirror
from tests.integration.kit import CHUNKED_HEAD, get, post, response, response_head, via
from tests.support.origin import Origin, OriginConnection, expect_head, expect_request, send, serve, wait
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client


@pytest.fixture
def proxy(treating_proxy: Proxy) -> Proxy:
    return treating_proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address) as client:
        yield client


BODIES = {"empty": b"", "short": b"hello", "10 MiB": letters(10 * MIB)}


# --- how a body came


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", BODIES)
def test_request_body_of_any_length(
    client: Client, proxy: Proxy, parts: Parts, name: str, framing: str
) -> None:
    body = BODIES[name]
    with Origin(serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as origin:
        fields = via(origin), "X-One: request upper", "X-Two: request tail"
        if framing == "length":
            request = post("/", body, *fields)
        else:
            pieces = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
            request = get("/", "Transfer-Encoding: chunked", *fields, method="POST") + chunked(*pieces)
        assert client.ask(request).status == 200
        [received] = origin.requests
        assert received.body == body.upper() + b"<end>"
        assert (received.framing, received.get("content-length")) == ("chunked", None)
        seen = parts("one request")
        assert sum(seen) == len(body)
        assert seen.index(0) == len(seen) - 1  # the end, once, after all else
        assert max(seen) <= 64 * 1024
        assert client.ask(get("/", via(origin))).body == b"ok"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("name", BODIES)
def test_response_body_of_any_length(
    client: Client, parts: Parts, name: str, version: str, framing: str
) -> None:
    body = BODIES[name]
    answers = {
        "length": response(body),
        "chunked": CHUNKED_HEAD + chunked(*(body[i : i + 50_000] for i in range(0, len(body), 50_000))),
        "close": response_head() + body,
    }
    script = [expect_request(), send(answers[framing])]
    with Origin(script if framing == "close" else serve(answers[framing])) as origin:
        fields = via(origin), "X-One: response upper", "X-Two: response tail"
        answer = client.ask(get("/", *fields, version=version))
        assert (answer.status, answer.is_complete) == (200, True)
        assert answer.body == body.upper() + b"<end>"
        assert answer.framing == ("chunked" if version == "1.1" else "close")
        assert answer.get("content-length") is None
        seen = parts("one response")
        assert (sum(seen), seen.index(0)) == (len(body), len(seen) - 1)
        if version == "1.0":
            assert client.read_until_closed() == (b"", "eof")
        elif framing != "close":
            assert client.ask(get("/", *fields)).body == body.upper() + b"<end>"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies_in_single_bytes(client: Client, proxy: Proxy, parts: Parts, framing: str) -> None:
    body = b"byte by byte"
    with Origin(serve(mirror)) as origin:
        fields = via(origin), "X-One: request upper", "X-Two: response twice"
        request = post("/", body, *fields)
        if framing == "chunked":
            head = get("/", *fields, "Transfer-Encoding: chunked", method="POST")
            request = head + chunked(*(body[i : i + 1] for i in range(len(body))))
        for start in range(len(request)):
            client.send(request[start : start + 1])
        answer = client.read_final_response()
        assert (answer.status, origin.requests[0].body) == (200, body.upper())
        assert answer.body == body.upper() * 2
        seen = parts("two request")
        assert (sum(seen), seen.count(0), seen[-1]) == (len(body), 1, 0)


def test_each_part_of_a_request_is_on_its_way_before_the_next_comes(client: Client) -> None:
    with Origin([expect_head(), *_one_by_one(3), send(response(b"ok"))]) as origin:
        client.send(get("/", via(origin), "Transfer-Encoding: chunked", "X-One: request upper", method="PUT"))
        for number in range(3):
            client.send(b"5\r\npart%d\r\n" % number)
            origin.wait_until(lambda part=b"PART%d" % number: part in _received(origin), "the part")
        client.send(b"0\r\n\r\n")
        assert client.read_final_response().body == b"ok"


def _received(origin: Origin) -> bytes:
    return b"".join(bytes(connection.received) for connection in origin.connections)


def _one_by_one(count: int) -> list[Callable[[OriginConnection], None]]:
    def step(connection: OriginConnection) -> None:
        connection.read_exactly(len(b"5\r\nPART0\r\n"))
        connection.origin.notify()

    return [*[step] * count, lambda connection: connection.read_exactly(5)]


def test_server_sent_events_flow_one_by_one(client: Client, parts: Parts) -> None:
    asked = [threading.Event() for _ in range(5)]
    script = [expect_request(), send(response_head("Content-Type: text/event-stream"))]
    for number, event in enumerate(asked):
        script += [wait(event), send(b"data: event %d\n\n" % number)]
    with Origin(script) as origin:
        client.send(get("/", via(origin), "X-One: response upper"))
        head = client.read_response_head()
        assert (head.get("content-type"), head.framing) == (b"text/event-stream", "chunked")
        events = client.stream_body_of(head)
        for number, event in enumerate(asked):
            event.set()
            assert next(events) == b"DATA: EVENT %d\n\n" % number
        assert list(events) == []
    assert parts("two response") == [15] * 5 + [0]


# --- what has no body


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [
        ("HEAD", "200 OK", ["Content-Length: 5"]),
        ("HEAD", "200 OK", ["Transfer-Encoding: chunked"]),
        ("HEAD", "404 Not Found", []),
        ("GET", "204 No Content", []),
        ("GET", "304 Not Modified", ["Content-Length: 5", 'ETag: "x"']),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_handlers_do_not_run_for_what_has_no_body(
    client: Client, parts: Parts, method: str, status: str, fields: list[str], version: str
) -> None:
    head = response_head(*fields, status=status)
    keep = ["Connection: keep-alive"] if version == "1.0" else []
    with Origin(serve(head)) as origin:
        for _ in range(2):
            request = get("/", via(origin), "X-One: response tail", *keep, method=method, version=version)
            answer = client.ask(request, method)
            assert (answer.status, answer.body) == (int(status[:3]), b"")
            # The body that a GET gets is another one, and its length is not known.
            assert answer.get("content-length") is None
        assert len(origin.connections) == 1
    assert parts("one response") == []


def test_request_without_a_body_is_sent_without_one(client: Client, parts: Parts) -> None:
    with Origin(serve(mirror)) as origin:
        client.ask(get("/", via(origin), "X-One: request tail"))
        assert (origin.requests[0].framing, parts("one request")) == ("none", [])


def test_answer_of_the_proxy_itself_passes_no_handler(client: Client, parts: Parts) -> None:
    answer = client.ask(get("/", "X-Origin: http://127.0.0.1:1", "X-One: response tail"))
    assert answer.status == 555
    assert parts("one response") == []


def test_informational_responses_pass_no_handler(client: Client, parts: Parts) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    with Origin([expect_request(), send(early, response(b"ok"))]) as origin:
        client.send(get("/", via(origin), "X-One: response tail"))
        assert client.read_response().status == 103
        assert client.read_response().body == b"ok<end>"
    assert parts("one response") == [2, 0]


# --- what handlers make of it

CHAINS = {
    "nothing written is unchanged": ("", "", b"Hello, World"),
    "each sees what the one before wrote": ("upper", "halve", b"HLO WRD"),
    "the other way round": ("halve", "upper", b"HLO WRD"),
    "dropped": ("drop", "", b""),
    "dropped parts are not seen": ("drop", "tell", b"[b'']"),
    "dropped behind": ("upper", "drop", b""),
    "several writes are one part": ("twice", "", b"Hello, Hello, WorldWorld"),
    "a write for each byte": ("letters", "tell", b"[b'Hello, ', b'World', b'']"),
    "str is written as UTF-8": ("text", "upper", b"HELLO, WORLD"),
    "end is written by the first": ("tail", "upper", b"HELLO, WORLD<END>"),
    "end of the first comes before that of the second": ("tail", "tail", b"Hello, World<end><end>"),
    "held back to the end": ("hold", "tail", b"Hello, World<end>"),
    "both held back": ("hold", "hold", b"Hello, World"),
    "end sees a part and an end": ("hold", "tell", b"[b'Hello, World', b'']"),
    "shrunk to nothing": ("drop", "hold", b""),
    "consumed part is not seen": ("first", "tell", b"Hello, [b'World', b'']"),
}


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("name", CHAINS)
def test_handlers_are_chained(client: Client, proxy: Proxy, side: str, name: str) -> None:
    one, two, expected = CHAINS[name]
    fields = [f"X-{who}: {side} {how}" for who, how in (("One", one), ("Two", two)) if how]
    first, second = chunked(b"Hello, ")[:-5], chunked(b"World")
    script: list[Any]
    if side == "request":
        script = [expect_request(), send(response(b"ok")), expect_request(), send(response(b"again"))]
    else:
        go_on = threading.Event()
        script = [expect_request(), send(CHUNKED_HEAD, first), wait(go_on), send(second)]
        script += [expect_request(), send(response(b"again"))]
    notes = proxy.folder / "parts.txt"
    with Origin(script) as origin:
        before = len(notes.read_text()) if notes.exists() else 0
        head = get("/", via(origin), *fields, "Transfer-Encoding: chunked", method="POST")
        client.send(head + first if side == "request" else get("/", via(origin), *fields))
        # The second part is sent when the first has been seen, so that they are two.
        seen = f"one {side} bytes 7"
        proxy.wait_until(lambda: notes.exists() and seen in notes.read_text()[before:], "the first part")
        if side == "request":
            client.send(second)
        else:
            go_on.set()
        answer = client.read_final_response()
        assert (origin.requests[0].body if side == "request" else answer.body) == expected
        assert client.ask(get("/", via(origin))).body == b"again"


def test_request_body_that_is_dropped_whole_is_an_empty_one(client: Client) -> None:
    with Origin(serve(mirror)) as origin:
        assert client.ask(post("/", b"gone", via(origin), "X-One: request drop")).status == 200
        [request] = origin.requests
        assert (request.body, request.framing) == (b"", "length")


def test_growth_and_shrinkage_of_a_long_body(client: Client) -> None:
    body = letters(MIB)
    with Origin(serve(mirror)) as origin:
        fields = "X-One: request twice, response halve", "X-Two: request twice, response halve"
        answer = client.ask(post("/", body, via(origin), *fields))
        assert len(origin.requests[0].body) == 4 * MIB
        assert len(answer.body) == pytest.approx(MIB, rel=0.01)


def test_what_is_no_part_of_a_body_is_a_mistake(proxy: Proxy, client: Client) -> None:
    start = len(proxy.error_log())
    with Origin(serve(mirror)) as origin:
        assert client.ask(post("/", b"x", via(origin), "X-One: request nonsense")).status == REJECTION
        assert origin.connections == []
    log = proxy.error_log()[start:]
    assert log.count("Traceback") == 1 and "TypeError: a part of a body is bytes or str, not 5" in log


# --- trailers


def test_trailers_pass_both_ways(client: Client) -> None:
    answer = CHUNKED_HEAD + chunked(b"down", trailers="X-Sum: 4\r\n")
    with Origin(serve(answer)) as origin:
        fields = via(origin), "TE: trailers", "Connection: TE", "Transfer-Encoding: chunked"
        treats = "X-One: request upper, response upper", "X-Two: request tail, response tail"
        request = get("/", *fields, *treats, method="POST") + chunked(b"up", trailers="X-Check: 2\r\n")
        reply = client.ask(request)
        assert (reply.body, reply.trailers) == (b"DOWN<end>", [b"X-Sum: 4"])
        assert (origin.requests[0].body, origin.requests[0].trailers) == (b"UP<end>", [b"X-Check: 2"])


# --- another server


def test_filtered_body_goes_to_the_next_server_when_one_cannot_be_reached() -> None:
    """Nothing of it was sent, so it is still whole; what filters made of it is made once."""
    config = config_of_named(one="bodies.Treats")
    with Origin(serve(mirror)) as origin:
        config["routing"] = {"upstream_hosts": ["http://127.0.0.1:1", origin.url]}
        with running_proxy(config, python_path=PLUGINS) as proxy, Client(proxy.address) as client:
            for body in (b"first", b"second", b"third"):
                request = get("/", "Transfer-Encoding: chunked", "X-One: request tail", method="POST")
                assert client.ask(request + chunked(body, body)).body == body * 2 + b"<end>"
