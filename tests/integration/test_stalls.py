"""A worker whose loop does not run: the log says what keeps it, and says it before that has ended."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get
from tests.integration.plugins import stalling
from tests.support.config import Config
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

FILE = PLUGINS / "stalling.py"


def config(**core: object) -> Config:
    layers = {"mine": {"class": "stalling.Stalls"}, "stack": "request_id, mine, headers"}
    return {"core": core, "middleware": layers}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(config(), workers=2, python_path=[PLUGINS]) as proxy:
        yield proxy


def line_of(function: str) -> int:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    [number] = [n for n, line in enumerate(lines, 1) if line.endswith(f"# line of {function}")]
    return number


@pytest.mark.parametrize("way", stalling.WAYS)
def test_middleware_file_and_line_are_named(proxy: Proxy, way: str) -> None:
    with Client(proxy.address) as client:
        client.send(get(f"/{way}"))
        # A loop of two lines may be met at either.
        lines = f"(?:{line_of(way)}|{line_of(way) + 1})"
        named = re.compile(
            rf"WARNING worker \d+ is stalled by middleware 'mine' at .*/stalling\.py:{lines} in {way}\n"
        )
        proxy.wait_until(lambda: named.search(proxy.error_log()) is not None, f"the line of {way}")
        assert client.read_response().status == 200


def test_code_that_runs_outside_of_the_stack_has_its_file_and_line_named(proxy: Proxy) -> None:
    with Client(proxy.address) as client:
        assert client.ask(get("/in_a_body")).body == b"piece"
    proxy.wait_for_log(f"is stalled by {FILE}:{line_of('feed')} in feed\n")


def test_worker_that_was_stopped_is_not_blamed() -> None:
    with running_proxy(config(), python_path=[PLUGINS]) as proxy:
        [worker] = proxy.worker_pids(1)
        with Client(proxy.address) as client:
            assert client.ask(get("/")).status == 200
            os.kill(worker, signal.SIGSTOP)
            time.sleep(1.0)  # twice as long as it takes to be blamed; nothing else tells of what is not said
            os.kill(worker, signal.SIGCONT)
            assert client.ask(get("/loop")).status == 200
        proxy.wait_for_log("in loop\n")
        assert proxy.error_log().count("is stalled") == 1


def test_switched_off_it_says_nothing() -> None:
    with running_proxy(config(stall_warning=0), python_path=[PLUGINS]) as proxy:
        with Client(proxy.address) as client:
            assert client.ask(get("/sleep_in_c")).status == 200
        assert "is stalled" not in proxy.error_log()
