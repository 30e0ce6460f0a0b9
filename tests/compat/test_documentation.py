"""Every code sample of the documentation of 0.4.5, as it was printed, in the running proxy.

``documentation/samples.txt`` has the samples as a scan of the printed pages gave them, ``samples/`` the same
as Python.
"""

from __future__ import annotations

import ast
import re
import uuid
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.compat.kit import FILTERS, HERE, PLAIN, SAMPLES, Scene, chunked, request_line_and, scene
from tests.integration.kit import get, post, response, response_head
from tests.support.origin import Origin, serve

PRINTED = dict(
    re.findall(
        r"^### (\S+)\n(.*?)(?=^###|\Z)",
        (HERE / "documentation/samples.txt").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)
ALL = ["heads", "bodies", "stacked", "local_data", "passing", "consuming", "rejecting", "routing"]

HELLO = response(b"hello", "Content-Type: text/plain", "Date: today")


def test_every_printed_sample_is_one_of_the_files_and_of_the_tests() -> None:
    assert {*PRINTED} == {path.name for path in SAMPLES.iterdir() if path.suffix} == {f"{n}.py" for n in ALL}


@pytest.mark.parametrize("name", ALL)
def test_sample_is_what_was_printed(name: str) -> None:
    """But for what the scan did to it: white space, the shape of quotes or their loss, a doubled dot."""
    code = (SAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert without_damage(code) == without_damage(PRINTED[f"{name}.py"])


def without_damage(text: str) -> str:
    return re.sub(r"[\s'\"\u2018\u2019\u201c\u201d]", "", text).replace("..", ".")


def play(name: str, **options: object) -> AbstractContextManager[Scene]:
    """The sample in both pipelines."""
    aliases = {"sample": f"{name}.FilterTest"}
    return scene("sample", "sample", aliases, plugins=[SAMPLES], **options)  # type: ignore[arg-type]


def play_before_witness(name: str) -> AbstractContextManager[Scene]:
    """The sample, and a filter behind it that marks what it gets to see."""
    aliases = {"sample": f"{name}.FilterTest", "witness": "witness.Witness"}
    return scene("sample, witness", "sample, witness", aliases, plugins=[SAMPLES, FILTERS])


def printed(stage: Scene, *ignored: str) -> list[str]:
    """What the filters printed; the proxy's own lines begin with its name, or with a date."""
    lines = stage.proxy.error_log().splitlines()
    return [line for line in lines if not re.match(r"pyrox |\d{4}-\d\d-\d\dT", line)]


def test_head_decorators() -> None:
    with play("heads", answers={"/a": HELLO}) as stage:
        assert stage.ask(post("/a", b"body")).body == b"hello"
        assert stage.sent_up == request_line_and("Content-Length: 4", target="/a", method="POST") + b"body"
        assert stage.sent_down == (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: today\r\nVia: 1.1 pyrox\r\n"
            b"Content-Length: 5\r\n\r\nhello"
        )
        stage.ask_plain()
    assert printed(stage) == [
        "Got request head with verb: POST",
        "Got response head with status: 200 OK",
        "Got request head with verb: GET",
        "Got response head with status: 200 OK",
    ]


def test_body_decorators() -> None:
    with play("bodies", answers={"/a": HELLO}) as stage:
        assert stage.ask(post("/a", b"body")).body == b"hello"
        assert stage.sent_up.endswith(b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"body"))
        assert stage.sent_down == (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: today\r\nVia: 1.1 pyrox\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"hello")
        )
        stage.ask_plain()
    assert printed(stage) == [
        "Got request content chunk: b'body'",
        "Got request content chunk: b''",
        "Got response content chunk: b'hello'",
        "Got response content chunk: b''",
        "Got response content chunk: b'plain'",
        "Got response content chunk: b''",
    ]


def test_body_decorators_see_chunks_and_send_them_on() -> None:
    answer = response_head("Transfer-Encoding: chunked", "Date: today") + chunked(b"one", b"two")
    with play("bodies", answers={"/a": answer}) as stage:
        request = get("/a", "Transfer-Encoding: chunked", method="PUT") + chunked(b"three", b"four")
        assert stage.ask(request).body == b"onetwo"
        [sent] = stage.origin.requests
        assert (sent.method, sent.body, sent.framing) == ("PUT", b"threefour", "chunked")
        stage.ask_plain()
    assert b"".join(seen("request", stage)) == b"threefour"
    assert b"".join(seen("response", stage)) == b"onetwoplain"


def seen(side: str, stage: Scene) -> list[bytes]:
    start = f"Got {side} content chunk: "
    chunks = [line.removeprefix(start) for line in printed(stage) if line.startswith(start)]
    return [ast.literal_eval(chunk) for chunk in chunks]


def test_stacked_decorators() -> None:
    with play("stacked", answers={"/a": HELLO}) as stage:
        assert stage.ask(post("/a", b"body")).body == b"hello"
        assert stage.origin.requests[0].body == b"body"
        stage.ask_plain()
    assert [re.sub(r" at 0x\w+", "", line) for line in printed(stage)] == [
        "Got msg head: <pyrox.http.model.HttpRequest object>",
        "Got message content part: b'body'",
        "Got message content part: b''",
        "Got msg head: <pyrox.http.model.HttpResponse object>",
        "Got message content part: b'hello'",
        "Got message content part: b''",
        "Got msg head: <pyrox.http.model.HttpRequest object>",
        "Got msg head: <pyrox.http.model.HttpResponse object>",
        "Got message content part: b'plain'",
        "Got message content part: b''",
    ]


def test_local_data_travels_to_the_next_filter_and_on_to_the_response() -> None:
    with play_before_witness("local_data") as stage:
        answer = stage.ask(get("/a"))
        [transaction] = stage.origin.requests[0].get_all("x-transaction")
        assert str(uuid.UUID(transaction.decode())).encode() == transaction
        assert answer.get_all("x-transaction") == [transaction]
        stage.ask_plain()
        assert stage.origin.requests[1].get("x-transaction") not in (None, b"none", transaction)


def test_local_data_modifies_nothing() -> None:
    with play("local_data") as stage:
        stage.ask(get("/a"))
        assert stage.sent_up == request_line_and(target="/a")
        stage.ask_plain()


def test_passed_stages_reach_the_next_filter() -> None:
    with play_before_witness("passing") as stage:
        assert stage.ask(get("/a")).get("x-transaction") == b"none"
        assert stage.sent_up == request_line_and("X-Transaction: none", target="/a")
        stage.ask_plain()


def test_consumed_stage_goes_on_but_not_to_the_next_filter() -> None:
    with play_before_witness("consuming") as stage:
        answer = stage.ask(post("/a", b"body"))
        assert stage.sent_up == request_line_and("Content-Length: 4", target="/a", method="POST") + b"body"
        assert answer.get("x-transaction") == b"none"  # the sample consumes no response
        stage.ask_plain()


def test_rejected_request_gets_the_405_and_nothing_goes_upstream() -> None:
    with play("rejecting") as stage:
        for method in ("POST", "PUT", "DELETE"):
            stage.ask(post("/a", b"body", method=method))
            assert stage.sent_down == (
                b"HTTP/1.1 405 Method Not Allowed\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
            )
        assert stage.origin.connections == []
        stage.ask_plain()


def test_rejected_request_with_a_body_of_many_reads_leaves_the_connection_usable() -> None:
    with play("rejecting") as stage:
        assert stage.ask(post("/a", bytes(60_000))).status == 405
        assert stage.origin.connections == []
        stage.ask_plain()


# --- route(): the sample says google.com:80 ---


def play_route(*, name: str = "routing", folder: Path = SAMPLES, **env: str) -> AbstractContextManager[Scene]:
    aliases = {"sample": f"{name}.FilterTest", "names": "phone_book.PhoneBook"}
    return scene("names, sample", "", aliases, plugins=[folder, FILTERS], env=env)


def test_routed_request_goes_to_its_target() -> None:
    with Origin(serve(response(b"from google", "Date: today"))) as google:
        with play_route(GOOGLE=str(google.port)) as stage:
            assert stage.ask(get("/a")).body == b"from google"
            assert stage.ask(post("/b", b"body")).body == b"from google"
            assert stage.origin.connections == []
        received = bytes(google.connections[0].received)
    upload = request_line_and("Content-Length: 4", target="/b", method="POST") + b"body"
    assert received == request_line_and(target="/a") + upload
    assert printed(stage) == ["looked up google.com port 80"]


def test_target_that_is_not_found_is_a_502_that_names_it_in_the_log_only() -> None:
    with play_route() as stage:
        answer = stage.ask(get("/a"))
        assert (answer.status, answer.get("proxy-status")) == (502, b"pyrox; error=dns_error")
        assert b"google" not in answer.body
        assert stage.ask(get("/b")).status == 502
        assert stage.origin.connections == []
    assert "http://google.com:80: [Errno -2] no such name here" in stage.proxy.error_log()


@pytest.mark.parametrize("form", ["{}", "http://{}"])
def test_routed_request_needs_no_name(tmp_path: Path, form: str) -> None:
    with Origin(serve(PLAIN)) as target:
        code = (SAMPLES / "routing.py").read_text().replace("google.com:80", form.format(target.address))
        (tmp_path / "routed.py").write_text(code)
        with play_route(name="routed", folder=tmp_path) as stage:
            assert stage.ask(get("/a")).body == b"plain"
            assert stage.ask(get("/b")).body == b"plain"
            assert stage.origin.connections == []
        assert [request.target for request in target.requests] == ["/a", "/b"]
