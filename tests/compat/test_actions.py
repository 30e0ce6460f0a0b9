"""Actions of filters that let an exchange go on, at every stage: next, consume and route."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.proxies import ALIASES, REJECTION, STAGES, Log, Ran, act, check_kept, echo, notes_of, run_in
from tests.integration.kit import get, post, record_of, response, via
from tests.support.origin import Origin, expect_close, expect_request, send, serve
from tests.support.proxy import Proxy
from tests.support.wire import Client

PASSING = ("none", "next", "pass_event", "consume")


@pytest.fixture
def proxy(acting_proxy: Proxy) -> Proxy:
    return acting_proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address) as client:
        yield client


# --- next and consume


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("action", PASSING)
def test_exchange_goes_on(
    proxy: Proxy, client: Client, ran: Ran, target: str, stage: str, action: str
) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(post(target, b"hello", via(origin), act(stage, action)))
        assert (answer.status, answer.body, answer.framing) == (200, b"echo: hello", "chunked")
        assert ran() == run_in(without=stage if action == "consume" else "")
        [request] = origin.requests
        assert (request.body, request.framing, request.get("x-act")) == (b"hello", "chunked", None)
        assert record_of(proxy, target)["answered_by"] == "upstream"
        check_kept(client, origin)
    assert len(origin.connections) == 1


def test_exchange_without_bodies_has_no_request_body_stage(client: Client, ran: Ran) -> None:
    with Origin(serve(response(b""))) as origin:
        answer = client.ask(get("/", via(origin)))
        assert (answer.status, answer.body) == (200, b"")
        assert origin.requests[0].framing == "none"
    heads = run_in(("request head", "response head"))
    assert ran() == [*heads, *(f"{alias} response body" for alias in ALIASES)]


def test_consumed_part_is_only_that_part(proxy: Proxy, client: Client, ran: Ran) -> None:
    fields = act("request body 2", "consume"), "Transfer-Encoding: chunked"
    with Origin([expect_request(), send(response(b"ok")), expect_close()]) as origin:
        client.send(get("/", via(origin), *fields, method="PUT"))
        for part in ("first", "second", "third"):
            client.send(f"{len(part):x}\r\n{part}\r\n".encode())
            proxy.wait_until(lambda part=part: part in notes_of(ran, "acts request body"), f"note of {part}")
        client.send(b"0\r\n\r\n")
        assert client.read_final_response().status == 200
        assert origin.requests[0].body == b"firstsecondthird"
    assert notes_of(ran, "last request body") == ["first", "third", ""]
    assert notes_of(ran, "acts request body") == ["first", "second", "third", ""]


# --- route


@pytest.mark.parametrize("form", ["http://{address}", "http://{address}/", "{address}"])
def test_route_goes_to_its_target_and_ends_the_stage(
    proxy: Proxy, client: Client, ran: Ran, target: str, form: str
) -> None:
    with Origin(serve(echo)) as origin, Origin(serve(response(b"from elsewhere"))) as elsewhere:
        there = form.format(address=elsewhere.address)
        answer = client.ask(post(target, b"hello", via(origin), act("request head", f"route {there}")))
        assert answer.body == b"from elsewhere"
        assert ran()[:2] == ["first request head", "acts request head"]
        assert notes_of(ran, "last request body") == ["hello", ""]  # another stage: it goes on there
        assert origin.requests == []
        record = record_of(proxy, target)
        assert (record["answered_by"], record["upstream"].rstrip("/")) == ("upstream", elsewhere.url)
        check_kept(client, origin)


@pytest.mark.parametrize("where", ["ftp://a.test", "http://a.test/path", "http://"])
def test_route_to_what_is_no_server_is_a_fault_of_the_filter(
    proxy: Proxy, client: Client, new_log: Log, target: str, where: str
) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(get(target, via(origin), act("request head", f"route {where}")))
        assert (answer.status, answer.body) == (REJECTION, b"")
        assert origin.connections == []
        assert record_of(proxy, target)["answered_by"] == "filters.acts"
        assert new_log().count("Traceback") == 1
        check_kept(client, origin)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_route_behind_the_request_head_is_an_error_that_is_logged_and_ignored(
    proxy: Proxy, client: Client, ran: Ran, new_log: Log, stage: str
) -> None:
    with Origin(serve(echo)) as origin:
        answer = client.ask(post("/", b"hello", via(origin), act(stage, "route 127.0.0.1:1")))
        assert (answer.status, answer.body) == (200, b"echo: hello")
        assert ran() == run_in()
        check_kept(client, origin)
    lines = new_log().splitlines()
    assert len(lines) == (2 if stage.endswith("body") else 1)  # once for each part
    for line in lines:
        assert line.endswith(f" ERROR filter 'acts' returned route() at the {stage}; ignored")
