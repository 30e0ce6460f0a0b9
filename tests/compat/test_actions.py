"""Every action of a filter at every stage of an exchange, and what the connection is good for afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.kit import (
    get,
    post,
    record_of,
    records_of,
    response,
    via,
)
from tests.support.messages import WireResponse
from tests.support.origin import Origin, expect_close, expect_head, expect_request, send, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

PLUGINS = [Path(__file__).parent / "plugins", Path(__file__).parents[1] / "integration" / "plugins"]

# Neither is a default, so that it is seen that they are used.
REJECTION, ERROR = 418, 555

ALIASES = ("first", "acts", "last")
STAGES = ("request head", "request body", "response head", "response body")
PASSING = ("none", "next", "pass_event", "consume")

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

Ran = Callable[[], list[str]]


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    filters = {f"{alias}.name": alias for alias in ALIASES}
    config = {
        "templates": {"rejection_sc": REJECTION, "pyrox_error_sc": ERROR},
        "logging": {"access_log_format": "json"},
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "middleware": {"stack": ["by_field"], "by_field": {"class": "routing.RouteByField"}},
        "pipeline": {
            "first": "acting.Notes",
            "acts": "acting.Acts",
            "last": "acting.Notes",
            **filters,
            "upstream": list(ALIASES),
            "downstream": list(ALIASES),
        },
    }
    with running_proxy(config, python_path=PLUGINS) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address) as client:
        yield client


@pytest.fixture
def ran(proxy: Proxy) -> Ran:
    """What filters have written down since the test began."""
    notes = proxy.folder / "ran.txt"
    start = len(notes.read_text()) if notes.exists() else 0
    return lambda: [line.rstrip() for line in notes.read_text()[start:].splitlines()]


@pytest.fixture
def new_log(proxy: Proxy) -> Callable[[], str]:
    """What was added to the error log since the test began."""
    start = len(proxy.error_log())
    return lambda: proxy.error_log()[start:]


@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """A request target that no other test uses, to find its record in the access log."""
    return "/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def act(stage: str, action: str) -> str:
    """The field line that makes the filter ``acts`` do ``action`` at ``stage``."""
    return f"X-Act: {stage}: {action}"


def check_kept(client: Client, origin: Origin) -> None:
    """The connection must serve another exchange, in which every filter passes everything on."""
    answer = client.ask(post("/after", b"more", via(origin)))
    assert (answer.status, answer.body) == (200, b"echo: more")
    assert (origin.requests[-1].target, origin.requests[-1].body) == ("/after", b"more")


def check_over(client: Client, proxy: Proxy, origin: Origin) -> None:
    """The connection is over, but the proxy serves others."""
    assert client.read_until_closed()[0] == b""
    with Client(proxy.address) as other:
        check_kept(other, origin)


def echo(request: object) -> bytes:
    return response(b"echo: " + request.body)  # type: ignore[attr-defined]


# --- actions that let the exchange go on


def run_in(stages: tuple[str, ...] = STAGES, without: str = "") -> list[str]:
    """What runs in an exchange whose bodies come in one part, when ``last`` misses the stage ``without``."""
    parts = {"request head": [""], "request body": ["hello", ""]}
    parts |= {"response head": [""], "response body": ["echo: hello", ""]}
    return [
        f"{alias} {stage} {part}".rstrip()
        for stage in stages
        for part in parts[stage]
        for alias in ALIASES
        if stage != without or alias != "last"
    ]


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
    heads = [*run_in(("request head", "response head"))]
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


def notes_of(ran: Ran, prefix: str) -> list[str]:
    return [line.removeprefix(prefix).strip() for line in ran() if line.startswith(prefix)]


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
    proxy: Proxy, client: Client, new_log: Callable[[], str], target: str, where: str
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
    proxy: Proxy, client: Client, ran: Ran, new_log: Callable[[], str], stage: str
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


# --- answers of filters

ANSWERING = pytest.mark.parametrize("action", ["reject", *REPLIES])
BEFORE_UPSTREAM = ("request head", "request body")


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
    new_log: Callable[[], str],
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


# --- answers that come too late

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
    proxy: Proxy, client: Client, new_log: Callable[[], str], target: str, stage: str, action: str
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


# --- reload of what was answered


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
