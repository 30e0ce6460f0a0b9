"""Answers of filters, reject and reply, at every stage, and what the connection is good for afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.proxies import REJECTION, STAGES, Log, Ran, act, check_kept, echo, run_in
from tests.integration.kit import get, post, record_of, records_of, response, via
from tests.support.messages import WireResponse
from tests.support.origin import Origin, serve
from tests.support.proxy import Proxy
from tests.support.wire import Client

BEFORE_UPSTREAM = ("request head", "request body")

# What the client gets as the body of each kind of reply, and how it is framed.
REPLIES = {
    "reject with response": (b"", "length"),
    "reply none": (b"", "length"),
    "reply bytes": (b"as bytes", "length"),
    "reply str": ("as str: \u20ac".encode(), "length"),
    "reply file": (b"0123456789" * 20000, "chunked"),
    "reply text": ("as text: \u20ac".encode(), "chunked"),
    "reply iterable": (b"one, two, three", "chunked"),
    "reply list": (b"a list of two", "chunked"),
    "reply lies": (b"longer than it says", "length"),
}


@pytest.fixture
def proxy(acting_proxy: Proxy) -> Proxy:
    return acting_proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address) as client:
        yield client


ANSWERING = pytest.mark.parametrize("action", ["reject", *REPLIES])


def check_answer(answer: WireResponse, action: str) -> None:
    """``answer`` must be that of the filter, to the byte."""
    assert answer.is_complete
    if action == "reject":
        assert (answer.status, answer.body, answer.framing) == (REJECTION, b"", "length")
        assert answer.get("x-made") is None
        return
    assert answer.start_line == b"HTTP/1.1 451 Because I Say So"
    assert (answer.body, answer.framing) == REPLIES[action]
    assert answer.get_all("x-made") == [b"by the filter"]
    assert answer.get_all("set-cookie") == [b"a=1", b"b=2"]


@pytest.mark.parametrize("stage", BEFORE_UPSTREAM)
@ANSWERING
def test_filter_answers_before_anything_goes_upstream(
    proxy: Proxy, client: Client, ran: Ran, target: str, stage: str, action: str
) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(post(target, b"hello", via(origin), act(stage, action)))
        check_answer(answer, action)
        assert origin.connections == []
        expected = run_in(("request head",), without=stage)
        if stage == "request body":
            expected += ["first request body hello", "acts request body hello"]
        assert without_closes(ran) == expected
        record = record_of(proxy, target)
        assert (record["answered_by"], record["status"]) == ("filters.acts", answer.status)
        assert record["error"] is None
        check_kept(client, origin)


@ANSWERING
def test_filter_answers_in_place_of_the_upstream(
    proxy: Proxy, client: Client, ran: Ran, target: str, action: str
) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(post(target, b"hello", via(origin), act("response head", action)))
        check_answer(answer, action)
        assert len(origin.requests) == 1
        assert without_closes(ran) == run_in(STAGES[:3], without="response head")
        record = record_of(proxy, target)
        assert (record["answered_by"], record["status"]) == ("filters.acts", answer.status)
        check_kept(client, origin)


def without_closes(ran: Ran) -> list[str]:
    return [line for line in ran() if not line.endswith("closed")]


@pytest.mark.parametrize("stage", [*BEFORE_UPSTREAM, "response head"])
@pytest.mark.parametrize("source", ["file", "iterable"])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_source_of_a_reply_is_closed(
    proxy: Proxy, client: Client, ran: Ran, target: str, stage: str, source: str, method: str
) -> None:
    with Origin(serve(echo, response(b"", status="200 OK"))) as origin:
        fields = via(origin), act(stage, f"reply {source}")
        client.ask(post(target, b"hello", *fields, method=method), method)
        record_of(proxy, target)
    # A generator that never began has no finally to run; a file is closed whether it was read or not.
    is_closed = method == "POST" or source == "file"
    assert ran().count(f"{source} closed") == is_closed


@pytest.mark.parametrize("action", ["reject", "reply bytes", "reply file", "reply none"])
def test_answer_to_head_has_no_body_and_keeps_the_connection(client: Client, action: str) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(get("/", via(origin), act("request head", action), method="HEAD"), "HEAD")
        assert answer.status == (REJECTION if action == "reject" else 451)
        assert answer.get("content-length") == {"reply bytes": b"8", "reply file": None}.get(action, b"0")
        check_kept(client, origin)


@pytest.mark.parametrize("action", ["reject", "reply bytes", "reply iterable"])
def test_answer_to_http_10_ends_with_the_connection(client: Client, action: str) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(get("/", via(origin), act("request head", action), version="1.0"))
        assert answer.framing == ("close" if action == "reply iterable" else "length")
        assert answer.body == REPLIES.get(action, (b"",))[0]
        assert client.read_until_closed() == (b"", "eof")
        assert origin.connections == []


def test_answer_to_a_kept_http_10_connection_keeps_it(client: Client) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(
            get("/", via(origin), act("request head", "reject"), "Connection: keep-alive", version="1.0")
        )
        assert (answer.status, answer.get("connection")) == (REJECTION, b"keep-alive")
        check_kept(client, origin)


@pytest.mark.parametrize("stage", [*BEFORE_UPSTREAM, "response head"])
def test_pipelined_requests_are_answered_in_order(client: Client, stage: str) -> None:
    with Origin(serve(echo)) as origin:
        rejected = post("/rejected", b"a", via(origin), act(stage, "reject"))
        passed = post("/passed", b"b", via(origin))
        client.send((rejected + passed) * 3)
        answers = [client.read_final_response() for _ in range(6)]
    assert [answer.status for answer in answers] == [REJECTION, 200] * 3
    assert [answer.body for answer in answers] == [b"", b"echo: b"] * 3


def test_answer_before_a_long_body_reaches_the_client(client: Client) -> None:
    with Origin(serve(echo)) as origin:
        fields = via(origin), act("request body", "reply bytes"), f"Content-Length: {8 << 20}"
        client.send(get("/", *fields, method="POST"))
        client.send(bytes(1000))
        answer = client.read_final_response()
        assert (answer.status, answer.get("connection")) == (451, b"close")
        assert origin.connections == []


@pytest.mark.parametrize("stage", [*BEFORE_UPSTREAM, "response head"])
@pytest.mark.parametrize("action", ["reply number", "nonsense", "fail"])
def test_answer_that_makes_no_sense_is_a_rejection_logged_once(
    proxy: Proxy,
    client: Client,
    new_log: Log,
    target: str,
    stage: str,
    action: str,
) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(post(target, b"hello", via(origin), act(stage, action)))
        assert (answer.status, answer.body) == (REJECTION, b"")
        assert record_of(proxy, target)["answered_by"] == "filters.acts"
        assert len(origin.connections) == (stage == "response head")
        log = new_log()
        assert (log.count("Traceback"), log.count(" ERROR "), log.count("filter 'acts'")) == (1, 1, 1)
        check_kept(client, origin)


def test_hundred_rejections_on_one_connection_leave_nothing_behind(proxy: Proxy, client: Client) -> None:
    with Origin(serve(echo)) as origin:
        client.ask(post("/", b"x", via(origin)))
        descriptors = proxy.fd_count()
        for number in range(100):
            stage = (*BEFORE_UPSTREAM, "response head")[number % 3]
            answer = client.ask(post("/many", b"hello", via(origin), act(stage, "reply file")))
            assert answer.status == 451
        check_kept(client, origin)
        proxy.wait_until(lambda: proxy.fd_count() <= descriptors, f"return to {descriptors} descriptors")
    assert len(records_of(proxy, "/many", 100)) == 100
