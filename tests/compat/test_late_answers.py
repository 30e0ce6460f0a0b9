"""Answers of filters that come too late: a part of the message has been passed on already."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.proxies import ERROR, REJECTION, Log, Ran, act, check_kept, check_over, echo, notes_of
from tests.integration.kit import get, post, record_of, response, via
from tests.support.origin import Origin, expect_close, expect_head, send, serve
from tests.support.proxy import Proxy
from tests.support.wire import Client, PeerClosed


@pytest.fixture
def proxy(acting_proxy: Proxy) -> Proxy:
    return acting_proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address) as client:
        yield client


TOO_LATE = ("reject", "reject with response", "reply bytes", "reply iterable", "fail")


@pytest.mark.parametrize("action", TOO_LATE)
def test_request_body_rejected_when_its_head_is_upstream_aborts_the_exchange(
    proxy: Proxy, client: Client, target: str, action: str
) -> None:
    abandoned = [expect_head(), expect_close()]
    with Origin(abandoned, serve(echo)) as origin:
        fields = via(origin), act("request body 2", action), "Transfer-Encoding: chunked"
        client.send(get(target, *fields, method="POST") + b"5\r\nfirst\r\n")
        origin.wait_for_requests(1)
        client.send(b"6\r\nsecond\r\n")
        answer = client.read_final_response()
        assert (answer.status, answer.get("x-made")) == (ERROR, None)
        received = origin.wait_for_end().received
        assert b"second" not in received and not received.endswith(b"0\r\n\r\n")
        record = record_of(proxy, target)
        assert (record["status"], record["answered_by"]) == (ERROR, "pyrox")
        assert answer.get("connection") == b"close"  # its body has not come to an end
        client.half_close()
        check_over(client, proxy, origin)


@pytest.mark.parametrize("action", TOO_LATE)
def test_request_body_rejected_at_its_end_aborts_the_exchange(
    proxy: Proxy, client: Client, target: str, action: str
) -> None:
    with Origin([expect_head(), expect_close()], serve(echo)) as origin:
        fields = via(origin), act("request body 2", action)
        answer = client.ask(post(target, b"all of it", *fields))
        assert answer.status == ERROR
        assert not origin.wait_for_end().received.endswith(b"0\r\n\r\n")
        assert record_of(proxy, target)["error"] != ""
        check_kept(client, origin)


@pytest.mark.parametrize("action", TOO_LATE)
def test_head_goes_first_when_the_client_expects_a_100(
    proxy: Proxy, client: Client, ran: Ran, target: str, action: str
) -> None:
    script = [expect_head(), send(b"HTTP/1.1 100 Continue\r\n\r\n"), expect_close()]
    with Origin(script, serve(echo)) as origin:
        fields = via(origin), act("request body", action), "Expect: 100-continue", "Content-Length: 5"
        client.send(get(target, *fields, method="POST"))
        assert client.read_response().status == 100
        assert "acts request body" not in " ".join(ran())
        client.send(b"hello")
        assert client.read_response().status == ERROR
        assert b"hello" not in origin.wait_for_end().received
        assert record_of(proxy, target)["status"] == ERROR


def test_upstream_may_still_refuse_a_body_that_a_filter_would_have_rejected(client: Client, ran: Ran) -> None:
    with Origin([expect_head(), send(response(b"no", status="417 Expectation Failed")), expect_close()]) as o:
        fields = via(o), act("request body", "reject"), "Expect: 100-continue", "Content-Length: 5"
        client.send(get("/", *fields, method="POST"))
        answer = client.read_response()
        assert (answer.status, answer.body) == (417, b"no")
    assert notes_of(ran, "acts request body") == []


def test_head_expecting_a_100_is_rejected_without_one(client: Client, proxy: Proxy) -> None:
    with Origin(serve(echo)) as origin:
        fields = via(origin), act("request head", "reject"), "Expect: 100-continue", "Content-Length: 5"
        client.send(get("/", *fields, method="POST"))
        assert client.read_response().status == REJECTION
        assert origin.connections == []
        client.half_close()
        check_over(client, proxy, origin)


@pytest.mark.parametrize("action", TOO_LATE)
@pytest.mark.parametrize("stage", ["response body", "response body 2"])
def test_response_body_that_is_rejected_is_an_error_and_aborted(
    proxy: Proxy, client: Client, new_log: Log, target: str, stage: str, action: str
) -> None:
    with Origin(serve(response(b"from upstream"))) as origin:
        client.send(get(target, via(origin), act(stage, action)))
        answer = client.read_response()
        assert (answer.status, answer.is_complete, answer.get("x-made")) == (200, False, None)
        assert answer.body == (b"" if stage == "response body" else b"from upstream")
        record = record_of(proxy, target)
        assert record["answered_by"] == "upstream" and record["error"]
        log = new_log()
        assert log.count("Traceback") == (action == "fail")
        assert "ERROR filter 'acts'" in log and "aborted" in log
        with Client(proxy.address) as other:
            assert other.ask(get("/after", via(origin))).body == b"from upstream"


@pytest.mark.parametrize("action", ["reject", "reply bytes"])
def test_rejected_response_body_of_http_10_is_no_clean_end(proxy: Proxy, client: Client, action: str) -> None:
    with Origin(serve(response(b"from upstream"))) as origin:
        client.send(get("/", via(origin), act("response body 2", action), version="1.0"))
        try:
            answer = client.read_response()
        except PeerClosed as closed:
            assert closed.reset
        else:
            assert not answer.is_complete


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_body_stage_that_does_not_come_acts_on_nothing(client: Client, ran: Ran, method: str) -> None:
    status = "200 OK" if method == "HEAD" else "204 No Content"
    with Origin(serve(f"HTTP/1.1 {status}\r\n\r\n".encode())) as origin:
        for _ in range(2):
            answer = client.ask(get("/", via(origin), act("response body", "reject"), method=method), method)
            assert (answer.status, answer.body) == (int(status[:3]), b"")
    assert notes_of(ran, "acts response body") == []
