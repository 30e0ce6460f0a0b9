"""What body handlers see of a body, and what they make of it, over both wires."""

from __future__ import annotations

import gzip
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.kit import CHUNKED_HEAD, InThread, get, post, record_of, response, response_head, via
from tests.support.messages import WireRequest
from tests.support.origin import (
    Origin,
    OriginConnection,
    expect_close,
    expect_head,
    expect_request,
    reset,
    send,
    send_chunk,
    serve,
    wait,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

PLUGINS = [Path(__file__).parent / "plugins", Path(__file__).parents[1] / "integration" / "plugins"]
MIB = 1 << 20

Parts = Callable[[str], list[int]]


def config_of(**filters: str) -> dict[str, Any]:
    """Filters by alias, in both pipelines, behind the middleware that lets a request say where it goes."""
    names = {f"{alias}.name": alias for alias in filters}
    return {
        "templates": {"pyrox_error_sc": 555},
        "logging": {"access_log_format": "json"},
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "middleware": {"stack": ["by_field"], "by_field": {"class": "routing.RouteByField"}},
        "pipeline": {**filters, **names, "upstream": list(filters), "downstream": list(filters)},
    }


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(config_of(one="bodies.Treats", two="bodies.Treats"), python_path=PLUGINS) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address) as client:
        yield client


@pytest.fixture(scope="module")
def decoding_proxy() -> Iterator[Proxy]:
    """One filter that decodes between two that do not."""
    filters = {"one": "bodies.Treats", "plain": "bodies.Decodes", "two": "bodies.Treats"}
    with running_proxy(config_of(**filters), python_path=PLUGINS) as proxy:
        yield proxy


@pytest.fixture
def decoding_client(decoding_proxy: Proxy) -> Iterator[Client]:
    with Client(decoding_proxy.address) as client:
        yield client


@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """A request target that no other test uses, to find its record in the access log."""
    return "/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


@pytest.fixture
def parts(proxy: Proxy) -> Parts:
    """The lengths of the parts that a filter has seen of one side since the test began: ``"one request"``."""
    notes = proxy.folder / "parts.txt"
    start = len(notes.read_text()) if notes.exists() else 0

    def seen(who: str) -> list[int]:
        lines = notes.read_text()[start:].splitlines() if notes.exists() else []
        assert all(line.split()[2] == "bytes" for line in lines)
        return [int(line.split()[-1]) for line in lines if line.startswith(who + " ")]

    return seen


def chunked(*pieces: bytes, trailers: str = "") -> bytes:
    """Encode a chunked body."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return data + b"0\r\n" + trailers.encode() + b"\r\n"


def echo(request: WireRequest) -> bytes:
    return response(request.body)


def letters(size: int) -> bytes:
    return (b"abcdefghijklmnopqrstuvwxyz 0123456789\n" * (size // 38 + 1))[:size]


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
    with Origin(serve(echo)) as origin:
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
    with Origin(serve(echo)) as origin:
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
    with Origin(serve(echo)) as origin:
        assert client.ask(post("/", b"gone", via(origin), "X-One: request drop")).status == 200
        [request] = origin.requests
        assert (request.body, request.framing) == (b"", "length")


def test_growth_and_shrinkage_of_a_long_body(client: Client) -> None:
    body = letters(MIB)
    with Origin(serve(echo)) as origin:
        fields = "X-One: request twice, response halve", "X-Two: request twice, response halve"
        answer = client.ask(post("/", body, via(origin), *fields))
        assert len(origin.requests[0].body) == 4 * MIB
        assert len(answer.body) == pytest.approx(MIB, rel=0.01)


def test_what_is_no_part_of_a_body_is_a_mistake(proxy: Proxy, client: Client) -> None:
    start = len(proxy.error_log())
    with Origin(serve(echo)) as origin:
        assert client.ask(post("/", b"x", via(origin), "X-One: request nonsense")).status == 400
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


# --- ends that come early


def test_early_answer_of_the_upstream_ends_a_filtered_upload(
    proxy: Proxy, client: Client, target: str
) -> None:
    refusal = response(b"too much", "Connection: close", status="413 Content Too Large")
    seen = threading.Event()
    with Origin([expect_head(), send(refusal), wait(seen), expect_close()]) as origin:
        fields = via(origin), "Transfer-Encoding: chunked", "X-One: request upper"
        client.send(get(target, *fields, method="POST") + b"5\r\nbegin\r\n")
        answer = client.read_final_response()
        seen.set()
        assert (answer.status, answer.body, answer.get("connection")) == (413, b"too much", b"close")
        client.half_close()
        assert client.read_until_closed() == (b"", "eof")
        origin.wait_for_end()
    assert record_of(proxy, target)["status"] == 413


def test_client_that_leaves_in_the_middle_of_its_body_takes_the_upstream_with_it(
    proxy: Proxy, target: str
) -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        with Client(proxy.address) as client:
            fields = via(origin), "Transfer-Encoding: chunked", "X-One: request upper"
            client.send(get(target, *fields, method="POST") + b"5\r\nbegin\r\n")
            origin.wait_for_requests(1)
            client.reset()
        assert not origin.wait_for_end().received.endswith(b"0\r\n\r\n")
    assert record_of(proxy, target)["status"] == 499


def test_client_that_leaves_before_the_first_part_reaches_no_upstream(proxy: Proxy, target: str) -> None:
    with Origin(serve(echo)) as origin:
        with Client(proxy.address) as client:
            client.send(get(target, via(origin), "Transfer-Encoding: chunked", method="POST"))
            assert client.is_silent()
            client.reset()
        assert record_of(proxy, target)["status"] == 499
        assert origin.connections == []


def test_client_that_leaves_in_the_middle_of_its_answer_takes_the_upstream_with_it(
    proxy: Proxy, target: str
) -> None:
    with Origin([expect_request(), send(CHUNKED_HEAD), send_chunk(b"begin"), expect_close()]) as origin:
        with Client(proxy.address) as client:
            client.send(get(target, via(origin), "X-One: response upper"))
            head = client.read_response_head()
            assert next(client.stream_body_of(head)) == b"BEGIN"
            client.reset()
        origin.wait_for_end()
    assert record_of(proxy, target)["status"] == 499


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_truncated_body_of_the_upstream_is_no_clean_end(client: Client, parts: Parts, framing: str) -> None:
    begin = b"5\r\nbegin\r\n" if "chunked" in framing else b"begin"
    go_on = threading.Event()
    with Origin([expect_request(), send(response_head(framing), begin), wait(go_on), reset()]) as origin:
        client.send(get("/", via(origin), "X-One: response upper", "X-Two: response tail"))
        answer = client.read_response_head()
        body = client.stream_body_of(answer)
        assert next(body) == b"BEGIN"
        go_on.set()
        assert b"".join(body) == b"" and answer.ended != "boundary"
    assert parts("one response") == [5]  # no end: there was none


def test_body_of_the_client_that_is_no_chunked_one_never_ends_cleanly(client: Client, parts: Parts) -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        fields = via(origin), "Transfer-Encoding: chunked", "X-One: request tail"
        client.send(get("/", *fields, method="POST") + b"5\r\nbegin\r\n")
        origin.wait_for_requests(1)
        client.send(b"nonsense\r\n")
        assert client.read_final_response().status == 400
        assert b"<end>" not in origin.wait_for_end().received
    assert parts("one request") == [5]


# --- memory


@pytest.mark.parametrize("treatment", ["", "upper"])
def test_response_to_a_client_that_does_not_read_waits_upstream(
    proxy: Proxy, client: Client, treatment: str
) -> None:
    size = 64 * MIB
    stalled = threading.Event()

    def flood(connection: OriginConnection) -> None:
        connection.send(response_head(f"Content-Length: {size}"))
        sent = _send_until_it_stalls(connection, size, stalled)
        connection.send(bytes(size - sent))

    with Client(proxy.address) as warm_up, Origin(serve(response(bytes(MIB)))) as origin:
        warm_up.ask(get("/", via(origin), "X-One: response upper"))
    before = proxy.rss()
    with Origin([expect_request(), flood], keep=False, timeout=30) as origin:
        client.keep = False
        client.send(get("/", via(origin), f"X-One: response {treatment}" if treatment else "X-None: 1"))
        head = client.read_response_head()
        assert stalled.wait(30)
        assert proxy.rss() - before < 4 * MIB
        assert sum(len(piece) for piece in client.stream_body_of(head)) == size
    assert proxy.rss() - before < 4 * MIB


def test_upload_to_an_upstream_that_does_not_read_waits_at_the_client(proxy: Proxy, client: Client) -> None:
    size = 64 * MIB
    read_on, stalled = threading.Event(), threading.Event()

    def read_all(connection: OriginConnection) -> None:
        received = sum(len(piece) for piece in connection.stream_body_of(connection.requests[0]))
        assert received == size
        connection.send(response(b"ok"))

    with Client(proxy.address) as warm_up, Origin(serve(echo)) as origin:
        warm_up.ask(post("/", bytes(MIB), via(origin), "X-One: request upper"))
    before = proxy.rss()
    with Origin([expect_head(), wait(read_on), read_all], keep=False, timeout=30) as origin:
        fields = via(origin), f"Content-Length: {size}", "X-One: request upper"
        client.send(get("/", *fields, method="POST"))
        rest = size - _send_until_it_stalls(client, size, stalled)
        assert stalled.is_set()
        assert proxy.rss() - before < 4 * MIB
        upload = InThread(client.send, bytes(rest))
        read_on.set()
        upload.result()
        assert client.read_final_response().body == b"ok"
    assert proxy.rss() - before < 4 * MIB


def _send_until_it_stalls(wire: Client | OriginConnection, size: int, stalled: threading.Event) -> int:
    """Send zeros until nobody has taken any for a while; returns how many were sent."""
    wire.socket.settimeout(0.5)
    sent = 0
    try:
        while sent < size:
            sent += wire.socket.send(bytes(min(MIB, size - sent)))
    except TimeoutError:
        stalled.set()
    return sent


# --- content codings


def deflate(data: bytes) -> bytes:
    return zlib.compress(data)


CODERS = {"gzip": (gzip.compress, gzip.decompress), "deflate": (deflate, zlib.decompress)}
CODINGS = pytest.mark.parametrize("coding", CODERS)


@CODINGS
@pytest.mark.parametrize("size", [5, 200_000])
def test_coded_bodies_are_left_alone_by_a_filter_that_does_not_decode(
    client: Client, parts: Parts, coding: str, size: int
) -> None:
    coded = CODERS[coding][0](letters(size))
    with Origin(serve(lambda request: response(request.body, f"Content-Encoding: {coding}"))) as origin:
        fields = via(origin), f"Content-Encoding: {coding}", "Accept-Encoding: br", "Range: bytes=0-9"
        answer = client.ask(post("/", coded, *fields))
        assert (answer.body, answer.get("content-encoding")) == (coded, coding.encode())
        [request] = origin.requests
        assert (request.body, request.get("content-encoding")) == (coded, coding.encode())
        assert (request.get("accept-encoding"), request.get("range")) == (b"br", b"bytes=0-9")
    assert sum(parts("one request")) == sum(parts("one response")) == len(coded)


@CODINGS
@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_filter_that_decodes_sees_and_changes_what_was_coded(
    decoding_client: Client, coding: str, size: int
) -> None:
    encode, decode = CODERS[coding]
    body = letters(size)
    coded = encode(body)
    with Origin(serve(lambda request: response(coded, f"Content-Encoding: {coding}"))) as origin:
        fields = via(origin), f"Content-Encoding: {coding}", "X-Plain: request upper, response tail"
        for _ in range(2):
            answer = decoding_client.ask(post("/", coded, *fields))
            assert (answer.get_all("content-encoding"), answer.framing) == ([coding.encode()], "chunked")
            assert decode(answer.body) == body + b"<end>"
            request = origin.requests[-1]
            assert (request.get_all("content-encoding"), request.framing) == ([coding.encode()], "chunked")
            assert decode(request.body) == body.upper()


def test_plain_bodies_pass_a_filter_that_decodes(decoding_client: Client) -> None:
    with Origin(serve(echo)) as origin:
        answer = decoding_client.ask(
            post("/", b"hello", via(origin), "X-Plain: request upper, response tail")
        )
        assert (answer.body, answer.get("content-encoding")) == (b"HELLO<end>", None)


@pytest.mark.parametrize("field", ["x-gzip", "GZIP", "identity, gzip", "gzip, identity"])
def test_names_of_codings_are_understood(decoding_client: Client, field: str) -> None:
    with Origin(serve(response(gzip.compress(b"hello"), f"Content-Encoding: {field}"))) as origin:
        answer = decoding_client.ask(get("/", via(origin), "X-Plain: response upper"))
        assert answer.get("content-encoding") == field.encode()
        assert gzip.decompress(answer.body) == b"HELLO"


@pytest.mark.parametrize("lines", [["deflate, gzip"], ["deflate", "gzip"]])
def test_coding_upon_a_coding_is_undone_and_done_again(decoding_client: Client, lines: list[str]) -> None:
    fields = [f"Content-Encoding: {line}" for line in lines]
    with Origin(serve(response(gzip.compress(deflate(b"hello")), *fields))) as origin:
        answer = decoding_client.ask(get("/", via(origin), "X-Plain: response upper"))
        assert answer.get_all("content-encoding") == [line.encode() for line in lines]
        assert zlib.decompress(gzip.decompress(answer.body)) == b"HELLO"


def test_filters_around_one_that_decodes_see_the_coded_body(decoding_client: Client) -> None:
    with Origin(serve(response(gzip.compress(b"hello"), "Content-Encoding: gzip"))) as origin:
        fields = "X-Plain: response upper", "X-Two: response tell"
        answer = decoding_client.ask(get("/", via(origin), *fields))
        [*seen, end] = eval(answer.body)
        assert (gzip.decompress(b"".join(seen)), end) == (b"HELLO", b"")
        fields = "X-One: response drop", "X-Plain: response tell"
        assert decoding_client.ask(get("/", via(origin), *fields)).body != b""


def test_filters_of_both_kinds_are_passed_by_what_one_consumes(decoding_client: Client) -> None:
    with Origin(serve(response(b"hello"))) as origin:
        fields = "X-One: response first", "X-Plain: response upper", "X-Two: response tell"
        assert decoding_client.ask(get("/", via(origin), *fields)).body == b"hello[b'']"


def test_unknown_coding_of_a_request_is_415_before_anything_goes_upstream(decoding_client: Client) -> None:
    with Origin(serve(echo)) as origin:
        answer = decoding_client.ask(post("/", b"hello", via(origin), "Content-Encoding: br"))
        assert answer.status == 415
        assert origin.connections == []


def test_unknown_coding_of_a_response_is_a_bad_gateway(decoding_proxy: Proxy, target: str) -> None:
    with Origin(serve(response(b"hello", "Content-Encoding: br"))) as origin:
        with Client(decoding_proxy.address) as client:
            answer = client.ask(get(target, via(origin)))
            assert (answer.status, answer.get("content-encoding")) == (555, None)
            assert b"hello" not in answer.body
        assert record_of(decoding_proxy, target)["answered_by"] == "filters"


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No Content")]
)
def test_unknown_coding_of_no_body_is_no_fault(decoding_client: Client, method: str, status: str) -> None:
    with Origin(serve(response_head("Content-Encoding: br", status=status))) as origin:
        answer = decoding_client.ask(get("/", via(origin), method=method), method)
        assert (answer.status, answer.get("content-encoding")) == (int(status[:3]), b"br")


@pytest.mark.parametrize("kept", [3, 15, -4])
def test_truncated_coding_of_a_request_is_a_400_and_no_clean_end(decoding_client: Client, kept: int) -> None:
    coded = gzip.compress(letters(3000) + bytes(range(256)) * 40)
    with Origin([expect_head(), expect_close()]) as origin:
        answer = decoding_client.ask(post("/", coded[:kept], via(origin), "Content-Encoding: gzip"))
        assert answer.status == 400
        for connection in origin.connections:
            assert not connection.received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("fault", ["cut", "garbage", "more"])
@CODINGS
def test_broken_coding_of_a_response_is_no_clean_end(
    decoding_client: Client, coding: str, fault: str
) -> None:
    coded = CODERS[coding][0](letters(3000))
    broken = {"cut": coded[:-3], "garbage": b"\x00" * 50, "more": coded + b"garbage"}[fault]
    with Origin(serve(response(broken, f"Content-Encoding: {coding}"))) as origin:
        decoding_client.send(get("/", via(origin), "X-Plain: response tail"))
        answer = decoding_client.read_response()
        assert not answer.is_complete or answer.status == 555
        assert b"<end>" not in answer.body


def test_bomb_in_bomb_is_refused(decoding_proxy: Proxy, decoding_client: Client) -> None:
    bomb = gzip.compress(gzip.compress(bytes(64 * MIB), 9), 9)
    before = decoding_proxy.rss()
    with Origin([expect_head(), expect_close()]) as origin:
        fields = via(origin), "Content-Encoding: gzip, gzip", "X-Plain: request drop"
        assert decoding_client.ask(post("/", bomb, *fields)).status == 400
    assert decoding_proxy.rss() - before < 8 * MIB


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ([], b"identity"),
        (["br, gzip;q=0.8"], b"gzip;q=0.8"),
        (["br", "deflate"], b"deflate"),
        (["zstd"], b"identity"),
    ],
)
def test_upstream_is_asked_for_what_can_be_decoded_and_all_of_it(
    decoding_client: Client, sent: list[str], asked: bytes
) -> None:
    with Origin(serve(echo)) as origin:
        fields = [f"Accept-Encoding: {line}" for line in sent]
        decoding_client.ask(get("/", via(origin), *fields, "Range: bytes=2-3", 'If-Range: "x"'))
        [request] = origin.requests
        assert request.get_all("accept-encoding") == [asked]
        assert (request.get("range"), request.get("if-range")) == (None, None)


def test_events_in_gzip_flow_one_by_one_through_a_filter_that_decodes(decoding_client: Client) -> None:
    asked = [threading.Event() for _ in range(3)]
    coder = zlib.compressobj(wbits=31)
    head = response_head("Content-Type: text/event-stream", "Content-Encoding: gzip")
    script: list[Any] = [expect_request(), send(head)]
    for number, event in enumerate(asked):
        coded = coder.compress(b"data: %d\n\n" % number) + coder.flush(zlib.Z_SYNC_FLUSH)
        script += [wait(event), send(coded)]
    script.append(send(coder.flush()))
    with Origin(script) as origin:
        decoding_client.send(get("/", via(origin), "X-Plain: response upper"))
        answer = decoding_client.read_response_head()
        pieces, decoder = decoding_client.stream_body_of(answer), zlib.decompressobj(31)
        for number, event in enumerate(asked):
            event.set()
            received = b""
            while not received.endswith(b"\n\n"):
                received += decoder.decompress(next(pieces))
            assert received == b"DATA: %d\n\n" % number
        assert decoder.decompress(b"".join(pieces)) == b"" and decoder.eof


def test_long_body_in_gzip_passes_in_little_memory(decoding_proxy: Proxy, decoding_client: Client) -> None:
    body = letters(10 * MIB)
    coded = gzip.compress(body, 1)
    with Origin(serve(response(coded, "Content-Encoding: gzip"))) as origin:
        decoding_client.ask(get("/", via(origin), "X-Plain: response upper"))
        before = decoding_proxy.rss()
        answer = decoding_client.ask(get("/", via(origin), "X-Plain: response upper"))
        assert decoding_proxy.rss() - before < 4 * MIB
    assert gzip.decompress(answer.body) == body.upper()


# --- nothing is left behind


def test_no_exchange_left_a_traceback_but_the_one_that_was_asked_for(proxy: Proxy) -> None:
    assert re.findall(r"^    (\w+Error): ", proxy.error_log(), re.M) in (["TypeError"], [])
