"""What filters of the time do that nobody documented, and that once went wrong here."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import pyrox.filtering as filtering
from pyrox import Request, Response
from pyrox.filtering import FilterMiddleware, HttpFilterPipeline
from pyrox.http import HttpRequest
from pyrox.stock_filters.httpd import WebServer
from tests.compat.kit import FILTERS, scene
from tests.integration.kit import get
from tests.support.proxy import ROOT
from tests.support.wire import Client


def test_copies_of_messages_are_their_own() -> None:
    aliases = {"review": "review.Copies", "use_singletons": "yes"}
    with scene("review", "review", aliases) as stage:
        answer = stage.ask(get("/original", "Accept: text/plain"))
        assert stage.sent_up.startswith(b"GET /original HTTP/1.1\r\nHost: a.test\r\n")
        assert (answer.status, answer.get_all("x-copy")) == (200, [b"0", b"1", b"2"])
        assert answer.get_all("x-copies") == [b"HTTP/1.1 500 Copied", b"DELETE /copied HTTP/1.1"]
        stage.ask_plain()


def test_class_may_hold_what_pretends_to_have_every_attribute_and_decorators_without_wraps() -> None:
    with scene("", "review", {"review": "review.Remote"}) as stage:
        answer = stage.ask(get("/decorated"))
        assert (answer.get("x-calls"), answer.get("x-url")) == (b"1", b"/decorated")


def test_exit_of_a_filter_is_its_failure_and_not_the_end_of_the_worker() -> None:
    with scene("review", "review", {"review": "review.Exits"}, failures=2) as stage:
        workers = stage.proxy.worker_pids(1)
        assert stage.ask(get("/exit")).status == 400
        assert stage.sent_up == b""
        assert stage.ask(get("/exit-late")).status == 400
        stage.ask_plain()
        assert stage.proxy.worker_pids(1) == workers
        assert "SystemExit: no such tenant" in stage.proxy.error_log()


def test_filter_that_exits_when_it_is_made_fails_the_check_under_its_name(tmp_path: Path) -> None:
    aliases = "early = exits_when_imported.Filter\nlate = review.exits_when_made\nupstream = early, late\n"
    config = tmp_path / "pyrox.ini"
    config.write_text(f"[core]\nplugin_paths = {FILTERS}\n[pipeline]\n{aliases}")
    done = check(config)
    assert done.returncode == 2
    assert "[pipeline] early: cannot import exits_when_imported: SystemExit: no licence" in done.stderr
    assert "[pipeline] late: RuntimeError: filter 'late' called sys.exit('cannot be made')" in done.stderr


def test_pipeline_takes_none_for_no_filters() -> None:
    assert not HttpFilterPipeline(None).intercepts_req_body()


@pytest.mark.parametrize("also", [{}, {"AND_ROOT": "yes"}])
def test_filter_that_configures_logging_takes_the_log_from_nobody(
    tmp_path: Path, also: dict[str, str]
) -> None:
    own = tmp_path / "own.log"
    environment = {"OWN_LOG": str(own), **also}
    with scene("logs", "", {"logs": "logs_its_own_way.Fails"}, failures=1, env=environment) as stage:
        assert stage.ask(get("/logged")).status == 400
        assert "KeyError: 'what failed'" in stage.proxy.error_log()
    assert own.read_text() == "on its own: /logged\n"


@pytest.mark.parametrize("has_gone", [False, True])
def test_prints_that_nobody_reads_hold_up_and_fail_nothing(tmp_path: Path, has_gone: bool) -> None:
    config = tmp_path / "pyrox.ini"
    config.write_text(
        f"[core]\nplugin_paths = {FILTERS}\n[pipeline]\nchat = chatters.Chatters\nupstream = chat\n"
    )
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "pyrox", "-c", str(config), "--bind", "127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr is not None
        port = process.stderr.readline().partition(b"http://127.0.0.1:")[2].partition(b",")[0]
        if has_gone:
            os.close(reader)
        with Client(("127.0.0.1", int(port))) as client:
            for _ in range(2):  # of which each fills the pipe
                assert client.ask(get("/")).body == b"heard"
        process.terminate()
        assert b"BrokenPipeError" not in process.stderr.read()
    if not has_gone:
        os.close(reader)


def test_folder_with_a_name_in_no_encoding_is_redirected_to_as_it_is(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    request = HttpRequest()
    request.url = "/caf%E9?a=b"
    response, _ = WebServer(str(tmp_path)).on_request_head(request).payload
    assert response.header("Location").values == ["/caf%E9/?a=b"]


# --- what --check says ---

MODULE = """\
import json
import pyrox.filtering as filtering

class Head(filtering.HttpFilter):
    @filtering.handles_response_head
    @filtering.handles_response_body
    def on_response(self, response, request):
        pass

def with_rules(path):
    json.loads("no rules")

def forgetful():
    Head()

class Undecorated:
    def on_request(self, request):
        pass
"""


FAULTS = {
    "head = acme.one.Head\ndownstream = haed": "downstream: 'haed' is not defined by an option haed = dotted."
    "Class; did you mean head?",
    "downstream = acme.one.Head": "downstream: 'acme.one.Head' is no alias; define one, name = acme.one."
    "Head, and list its name",
    "head = acme.one\ndownstream = head": "head: acme.one is a module; name what is to be taken from it: "
    "acme.one.Class",
    "head = acne.one.Head\ndownstream = head": "head: cannot import acne.one: ModuleNotFoundError: No module "
    "named 'acne'; put the directory that it is in into [core] plugin_paths",
    "rules = acme.one.with_rules\nrules.path = a\nupstream = rules": "rules: JSONDecodeError: Expecting "
    "value: line 1 column 1 (char 0) ({one}, line 11)",
    "made = acme.one.forgetful\nupstream = made": "made: TypeError: None was made in place of a filter",
    "head = acme.one.Head\nupstream = head": "upstream: 'head' never runs here: it handles response head and "
    "response body; list it in downstream",
    "none = acme.one.Undecorated\nupstream = none": "upstream: 'none' never runs here: no method of it is "
    "decorated with @filtering.handles_...",
}


@pytest.mark.parametrize(("pipeline", "said"), FAULTS.items())
def test_check_names_the_place_and_the_fix(tmp_path: Path, pipeline: str, said: str) -> None:
    one = tmp_path / "acme" / "one.py"
    one.parent.mkdir()
    (one.parent / "__init__.py").touch()
    one.write_text(MODULE)
    config = tmp_path / "pyrox.ini"
    config.write_text(f"[core]\nplugin_paths = .\n[pipeline]\n{pipeline}\n")
    said_by_check = check(config).stderr
    assert f"{config}: [pipeline] {said.format(one=one)}\n" in said_by_check
    assert "Traceback" not in said_by_check


def test_check_says_a_wrong_option_once(tmp_path: Path) -> None:
    config = tmp_path / "pyrox.ini"
    pipeline = "chat = chatters.Chatters\nchat.loud = yes\nupstream = chat"
    config.write_text(f"[core]\nplugin_paths = {FILTERS}\n[pipeline]\n{pipeline}\n")
    assert check(config).stderr == f"{config}: [pipeline] chat.loud: unknown option\n"


def check(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyrox", "-c", str(config), "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


def test_check_that_a_factory_forgets_to_return_lets_no_request_pass() -> None:
    def upstream(request: Request) -> Response:
        raise AssertionError("reached")

    app = FilterMiddleware(upstream, [("guard", lambda: None)])
    with pytest.raises(TypeError, match="None was made in place of a filter"):
        app(Request("GET", "/"))


# --- memory ---


class Keeps(filtering.HttpFilter):
    """Keeps its messages, as nearly every filter does that has to know in one stage what another saw."""

    made: ClassVar[list[weakref.ref[Keeps]]] = []

    def __init__(self) -> None:
        self.made.append(weakref.ref(self))

    @filtering.handles_request_head
    @filtering.handles_response_head
    def on_head(self, head: Any) -> None:
        self.heads = [*getattr(self, "heads", ()), head]

    @filtering.handles_request_body
    @filtering.handles_response_body
    def on_body(self, part: bytes, output: Any) -> Any:
        return filtering.reject() if part == b"bad" else None


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("part", [b"good", b"bad"])
def test_filter_that_keeps_its_messages_goes_with_them(part: bytes) -> None:
    def echo(request: Request) -> Response:
        return Response(200, iter([*request.stream()]))

    Keeps.made.clear()
    both = [("keeps", Keeps)]
    app = FilterMiddleware(echo, both, both, use_singletons=True)
    response = app(Request("POST", "/", (), iter([part, b"more"])))
    assert b"".join(response.stream()) == (b"goodmore" if part == b"good" else b"")
    response.close()
    del response
    assert [filter_of() for filter_of in Keeps.made] == [None]
