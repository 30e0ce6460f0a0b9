"""The harness against itself: a client that talks straight to an origin."""

from __future__ import annotations

import os
import threading

import pytest

from tests.support.messages import Malformed, Message, WireRequest, WireResponse
from tests.support.origin import (
    OK,
    Origin,
    Step,
    expect_bytes,
    expect_head,
    expect_request,
    half_close,
    hang,
    reset,
    send,
    send_chunk,
    serve,
    wait,
)
from tests.support.processes import open_files
from tests.support.wire import Client, PeerClosed

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def client_of(origin: Origin, timeout: float = 10.0) -> Client:
    return Client(("127.0.0.1", origin.port), timeout)


def test_requests_of_every_framing_are_recorded_byte_by_byte() -> None:
    posts = [
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    ]
    with Origin(serve(OK)) as origin, client_of(origin) as client:
        client.send(GET + posts[0] + posts[1])
        assert [client.read_response().body for _ in range(3)] == [b"ok"] * 3
        requests = origin.wait_for_requests(3)
        assert [request.body for request in requests] == [b"", b"abc", b"abc"]
        assert [request.framing for request in requests] == ["none", "length", "chunked"]
        assert requests[2].trailers == [b"T: 1"]
        assert origin.connections[0].received == GET + posts[0] + posts[1]
        client.close()
        assert origin.wait_for_end().ended == "eof"


def test_steps_run_in_order_and_wait_for_events() -> None:
    go = threading.Event()
    script = [
        expect_head(),
        send(CHUNKED),
        wait(go),
        send_chunk(b"a"),
        send(b"1\r\n", b"b\r\n"),
        send_chunk(b""),
    ]
    with Origin(script) as origin, client_of(origin) as client:
        client.send(GET)
        head = client.read_response_head()
        assert head.framing == "chunked" and client.is_silent()
        go.set()
        client.read_body_of(head)
        assert (head.body, head.ended) == (b"ab", "boundary")
        assert origin.wait_for_end().ended == "script"


def test_the_nth_script_serves_the_nth_connection_and_the_last_one_all_others() -> None:
    scripts = [[expect_request(), send(b"HTTP/1.1 204 No\r\n\r\n")], serve(OK)]
    with Origin(*scripts) as origin:
        statuses = [client_of(origin).ask(GET).status for _ in range(3)]
        assert statuses == [204, 200, 200]
        assert len(origin.wait_for_connections(3)) == 3


@pytest.mark.parametrize(("end", "ended"), [(half_close(), "eof"), (reset(), "reset")])
def test_a_truncated_body_is_told_from_a_whole_one(end: Step, ended: str) -> None:
    sends = send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    with (
        Origin([expect_request(), sends, expect_bytes(1), end, hang()]) as origin,
        client_of(origin) as client,
    ):
        client.send(GET)
        head = client.read_response_head()
        assert client.read_exactly(2) == b"ab"
        client.send(b"x")
        client.read_body_of(head)
        assert (head.ended, head.is_complete) == (ended, False)
        origin.release()


def test_a_close_delimited_body_ends_whole_at_a_clean_end_only() -> None:
    with Origin([expect_request(), send(b"HTTP/1.0 200 OK\r\n\r\nabc")]) as origin:
        response = client_of(origin).ask(GET)
        assert (response.framing, response.body, response.ended) == ("close", b"abc", "boundary")


def test_informational_responses_are_passed_over_but_a_101_is_final() -> None:
    answers = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n"
    with Origin([expect_request(), send(*answers), hang()]) as origin, client_of(origin) as client:
        assert client.ask(GET).status == 101


def test_an_end_before_the_head_is_complete_is_told() -> None:
    sends = send(b"HTTP/1.1 200 OK\r\nA: b\r\n")
    with Origin([expect_request(), sends]) as origin, pytest.raises(PeerClosed) as caught:
        client_of(origin).ask(GET)
    assert caught.value.reset is False


def test_silence_ends_in_a_timeout_and_fails_the_origin_that_waited_in_vain() -> None:
    with pytest.raises(TimeoutError), Origin([expect_request()], timeout=0.05) as origin:
        connection = client_of(origin)
        origin.wait_until(lambda: origin.connections[:1] != [] and origin.connections[0].ended == "failed")
        connection.close()


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
        CHUNKED + b"1\r\nxy\r\n0\r\n\r\n",
    ],
)
def test_the_reader_refuses_what_is_in_doubt(response: bytes) -> None:
    with Origin([expect_request(), send(response)]) as origin, pytest.raises(Malformed):
        client_of(origin).ask(GET)


def test_fields_keep_their_case_and_order_and_are_found_without_either() -> None:
    message = Message(b"", [b"B: 1", b"a:\t2 ", b"b: 3"])
    assert message.fields == [(b"B", b"1"), (b"a", b"2"), (b"b", b"3")]
    assert message.get_all("b") == [b"1", b"3"]
    assert message.get("c") is None


def test_start_lines_are_taken_apart() -> None:
    request = WireRequest(b"PATCH /a?b HTTP/1.0", [])
    assert (request.method, request.target) == ("PATCH", "/a?b")
    assert WireResponse(b"HTTP/1.1 304 ", [b"Content-Length: 9"]).framing == "none"


def test_descriptor_that_is_closed_while_they_are_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*listed(path), "999999"])
    reader, writer = os.pipe()
    assert os.readlink(f"/proc/self/fd/{reader}") in open_files(os.getpid())
    os.close(reader)
    os.close(writer)
    assert open_files(999_999_999) == []
