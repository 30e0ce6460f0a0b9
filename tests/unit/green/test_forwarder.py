"""One request to one server and its response back, over socket pairs instead of a network."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from pyrox.errors import ClientGone, UpstreamError, UpstreamTimeout
from pyrox.green.body import LengthReader
from pyrox.green.upstream import State
from pyrox.http.message import Request, Response
from pyrox.middleware.base import BodyFilter
from tests.unit.green.bench import OK, Bench, received, request_of, sent, serve
from tests.unit.green.rig import PATIENCE, Rig, drain, soon

# --- what the server gets


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("GET", b"", b""),
        ("POST", b"", b"Content-Length: 0\r\n"),
        ("DELETE", b"", b""),
        ("POST", b"hello", b"Content-Length: 5\r\n"),
        ("GET", b"hello", b"Content-Length: 5\r\n"),
    ],
)
def test_request_with_a_body_in_memory_is_sent_at_once_with_its_length(
    rig: Rig, method: str, body: bytes, framing: bytes
) -> None:
    bench = Bench(rig, serve(OK))
    response = bench.forward(request_of(method, body))
    assert (response.status, response.read_body(), response.made_by) == (200, b"ok", "upstream")
    head = f"{method} /path?query HTTP/1.1\r\nHost: a.test\r\n".encode()
    assert sent(bench) == head + framing + b"\r\n" + body


def test_body_that_is_iterated_is_sent_chunked_with_its_trailers(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 100 Continue\r\n\r\n", OK))
    request = request_of("POST", iter([b"abc", b"", b"de"]))
    assert bench.forward(request).status == 200
    assert sent(bench).endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")


def test_filtered_body_is_sent_chunked(rig: Rig) -> None:
    class Upper(BodyFilter):
        def feed(self, chunk: bytes) -> bytes:
            return chunk.upper()

        def finish(self) -> bytes:
            return b"!"

    bench = Bench(rig, serve(b"HTTP/1.1 100 Continue\r\n\r\n", OK))
    request = request_of("PUT", b"abc")
    request.filter_body(Upper())
    assert bench.forward(request).status == 200
    assert sent(bench).endswith(b"\r\n\r\n3\r\nABC\r\n1\r\n!\r\n0\r\n\r\n")


@pytest.mark.parametrize(("preserve", "host"), [(True, b"a.test"), (False, b"one.test")])
def test_host_is_the_client_s_or_the_server_s_and_stands_first(rig: Rig, preserve: bool, host: bytes) -> None:
    bench = Bench(rig, serve(OK), preserve_host=preserve)
    bench.forward(request_of())
    assert sent(bench).split(b"\r\n")[1] == b"Host: " + host
    assert sent(bench).lower().count(b"host:") == 1


def test_request_without_a_host_gets_the_server_s(rig: Rig) -> None:
    bench = Bench(rig, serve(OK))
    bench.forward(Request("GET", "/"))
    assert b"Host: one.test\r\n" in sent(bench)


def test_upgrade_and_te_are_said_to_the_next_hop(rig: Rig) -> None:
    bench = Bench(rig, serve(OK), serve(OK))
    request = request_of()
    request.upgrade = "websocket"
    bench.forward(request)
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in sent(bench)
    request = request_of()
    request.accepts_trailers = True
    bench.forward(request)
    assert b"Connection: TE\r\nTE: trailers\r\n" in sent(bench, 1)


# --- what becomes of the connection


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (OK, State.IDLE),
        (b"HTTP/1.1 204 No Content\r\n\r\n", State.IDLE),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", State.CLOSED),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", State.CLOSED),
        (OK + b"more", State.CLOSED),
    ],
)
def test_connection_is_kept_when_both_messages_ended_on_their_boundary(
    rig: Rig, answer: bytes, state: State
) -> None:
    bench = Bench(rig, lambda peer: [serve(answer)(peer)])
    response = bench.forward(request_of())
    response.read_body()
    response.close()
    assert bench.states() == [state]


def test_connection_stays_in_use_until_a_streamed_body_was_read_and_closed(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", OK))
    response = bench.forward(request_of())
    assert bench.states() == [State.ACTIVE]
    bench.connector.peers[0].sendall(b"0\r\n\r\n")
    assert response.read_body() == b"ok"
    response.close()
    assert bench.states() == [State.IDLE]


@pytest.mark.parametrize(("more", "state"), [(b"", State.IDLE), (b"HTTP/1.1 200 OK\r\n\r\n", State.CLOSED)])
def test_what_follows_a_body_that_was_relayed_is_nobody_s_answer(rig: Rig, more: bytes, state: State) -> None:
    """The relay has left it in the kernel, and the next request may come before the hub hears of it."""
    bench = Bench(rig, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", OK))
    response = bench.forward(request_of())
    bench.connector.peers[0].sendall(b"x" * 100 + more)
    assert isinstance(response.body, LengthReader)
    response.body.relay(rig.client()[0])
    response.close()
    assert bench.states() == [state]


def test_response_that_is_closed_before_its_body_was_read_costs_the_connection(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", OK))
    bench.forward(request_of()).close()
    assert bench.states() == [State.CLOSED]


def test_early_answer_stops_the_upload_and_costs_the_connection(rig: Rig) -> None:
    never = gevent.event.Event()

    def body() -> Iterator[bytes]:
        yield b"first"
        never.wait()
        yield b"second"

    bench = Bench(rig, serve(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno", OK))
    response = bench.forward(request_of("POST", body()))
    assert (response.status, response.read_body()) == (413, b"no")
    assert bench.states() == [State.ACTIVE]
    response.close()
    assert bench.states() == [State.CLOSED]


# --- what servers do wrong


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_answer_that_is_none_is_an_upstream_error_and_costs_the_connection(rig: Rig, answer: bytes) -> None:
    bench = Bench(rig, serve(answer, OK))
    with pytest.raises(UpstreamError) as caught:
        bench.forward(request_of())
    assert caught.value.status == 502
    assert bench.states() == [State.CLOSED]


def test_silence_is_a_time_out_and_costs_the_connection(rig: Rig) -> None:
    bench = Bench(rig, lambda peer: None)
    rig.clock.advance(PATIENCE)
    with pytest.raises(UpstreamTimeout, match="no response within upstream_first_byte"):
        bench.forward(request_of())
    assert bench.states() == [State.CLOSED]


def test_time_for_the_first_byte_begins_when_the_request_is_complete(rig: Rig) -> None:
    finished: list[int] = []

    def body() -> Iterator[bytes]:
        for _ in range(3):
            rig.clock.pass_by(PATIENCE - 1)
            yield b"x"
        finished.append(rig.clock.now)
        for _ in range(PATIENCE + 2):
            gevent.spawn_later(0, rig.clock.advance)

    bench = Bench(rig, lambda peer: None)
    with pytest.raises(UpstreamTimeout):
        bench.forward(request_of("POST", body()))
    assert finished[0] == 3 * (PATIENCE - 1)
    assert rig.clock.now >= finished[0] + PATIENCE


# --- the exchange it is done for


def test_informational_responses_go_to_the_client_at_once(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK))
    request = request_of()
    exchange = bench.exchange(request)
    assert bench.forward(request).status == 200
    assert drain(bench.client).startswith(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n")
    assert exchange.bytes_sent == exchange.head_bytes_sent > 0


def test_cancelled_exchange_gives_up_its_server_at_once(rig: Rig) -> None:
    bench = Bench(rig, lambda peer: None)
    request = request_of()
    exchange = bench.exchange(request)
    forwarding = soon(bench.forward, request)
    gevent.idle()
    exchange.cancel(ClientGone("left"))
    with pytest.raises(ClientGone):
        forwarding.get()
    assert bench.states() == [State.CLOSED]


def test_exchange_that_was_cancelled_before_asks_no_server(rig: Rig) -> None:
    bench = Bench(rig, serve(OK))
    request = request_of()
    bench.exchange(request).cancel(ClientGone("left"))
    with pytest.raises(ClientGone):
        bench.forward(request)
    assert bench.connector.peers[0] not in received


def test_request_of_a_middleware_s_own_is_released_with_the_exchange_it_is_made_in(rig: Rig) -> None:
    bench = Bench(rig, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", OK))
    bench.owner = bench.exchange(request_of())
    closed: list[str] = []
    bench.forward(Request("GET", "/side")).on_close(lambda: closed.append("side"))
    bench.owner.release(Response(200))
    assert (bench.states(), closed) == ([State.CLOSED], ["side"])


def test_body_that_was_read_already_is_refused_before_anything_is_sent(rig: Rig) -> None:
    body = iter([b"abc"])
    bench = Bench(rig, serve(b"HTTP/1.1 100 Continue\r\n\r\n", OK), serve(OK))
    request = request_of("POST", body)
    exchange = bench.exchange(request)
    assert bench.forward(request).status == 200
    with pytest.raises(RuntimeError, match="read_body"):
        bench.forward(request)
    assert bench.connector.peers[1] not in received
    exchange.release(None)
