"""How many exchanges may be in progress at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyrox import shared_memory
from pyrox.errors import HTTPError, UpstreamTimeout
from pyrox.http.forwarding import ClientSide
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.middleware.in_flight import InFlight
from pyrox.middleware.limiting.counts import SharedCounts, shared_counts
from pyrox.shared_memory import forget_own_memory, keep_shared_memory
from pyrox.testing import TestClient


@pytest.fixture(autouse=True)
def own_memory() -> None:
    forget_own_memory()


def request(address: str = "192.0.2.1") -> Request:
    return Request("GET", "/", client=ClientSide(address))


def limited(*limits: str, app: App = lambda request: Response(200), **options: Any) -> InFlight:
    return InFlight(app, limits=limits, **options)


def test_exchange_counts_until_its_response_is_closed() -> None:
    app = limited("2 per client")
    first, second = app(request()), app(request())
    with pytest.raises(HTTPError) as refused:
        app(request())
    assert (refused.value.status, dict(refused.value.headers)) == (503, {"Retry-After": "1"})
    assert app(request("192.0.2.2")).status == 200
    first.close()
    first.close()
    third = app(request())
    with pytest.raises(HTTPError):
        app(request())
    second.close()
    third.close()


def test_status_and_retry_after_are_options() -> None:
    app = limited("1", status=429, retry_after=30)
    app(request())
    with pytest.raises(HTTPError) as refused:
        app(request())
    assert (refused.value.status, dict(refused.value.headers)) == (429, {"Retry-After": "30"})


@pytest.mark.parametrize("error", [UpstreamTimeout("late"), ValueError("bug"), SystemExit(), GeneratorExit()])
def test_exception_ends_the_exchange(error: BaseException) -> None:
    def fail(request: Request) -> Response:
        raise error

    app = limited("1", app=fail)
    for _ in range(3):
        with pytest.raises(type(error)):
            app(request())
    app.app = lambda request: Response(200)
    assert app(request()).status == 200


def test_response_that_is_closed_already_does_not_count() -> None:
    def closed(request: Request) -> Response:
        response = Response(200)
        response.close()
        return response

    app = limited("1", app=closed)
    assert [app(request()).status for _ in range(3)] == [200] * 3


def test_refusal_by_one_limit_leaves_the_others_as_they_were() -> None:
    app = limited("3", "1 per client")
    kept = app(request())
    for _ in range(10):
        with pytest.raises(HTTPError):
            app(request())
    others = [app(request(f"192.0.2.{n}")) for n in (2, 3)]
    with pytest.raises(HTTPError):
        app(request("192.0.2.4"))
    for response in (kept, *others):
        response.close()
    assert [app(request(f"192.0.2.{n}")).status for n in (1, 2, 3)] == [200] * 3


def test_it_names_itself_in_the_stack() -> None:
    client = TestClient((InFlight, {"limits": ["1"]}), lambda request: Response(200, b"ok"))
    assert [client.get("/").status for _ in range(3)] == [200] * 3


def test_room_for_keys_is_reused_and_when_there_is_none_new_keys_are_refused() -> None:
    app = limited("1 per client", max_keys=64)
    for _ in range(3):
        kept = []
        refused = 0
        for number in range(300):
            try:
                kept.append(app(request(f"10.0.{number >> 8}.{number & 255}")))
            except HTTPError:
                refused += 1
        assert len(kept) >= 64
        assert refused > 0
        for response in kept:
            response.close()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"limits": []}, "limits: there is none"),
        ({"limits": ["0"]}, "limits: '0' is not like '20 per client'"),
        ({"limits": ["many"]}, "limits: 'many' is not like"),
        ({"limits": ["3 per cleint"]}, "'cleint' is no key"),
        ({"limits": ["3", "4"]}, "limits: two have the same key"),
        ({"limits": ["3"], "retry_after": 0}, "retry_after: 0 is not between 1"),
        ({"limits": ["3"], "max_keys": 3}, "max_keys: 3 is not between 64"),
        ({"limits": ["3"], "ipv6_prefix": 129}, "ipv6_prefix: 129 is not between"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TestClient((InFlight, options))


# --- several workers


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make this process a master whose children share memory, for one test."""
    monkeypatch.setattr(shared_memory, "_descriptor", None)
    monkeypatch.setattr(shared_memory, "_opened", {})
    keep_shared_memory({})
    yield
    for file in shared_memory._opened.values():
        os.close(file._file)
    assert shared_memory._descriptor is not None
    os.close(shared_memory._descriptor)


class Worker:
    """A process that does as it is told, step by step."""

    def __init__(self, act: Callable[[SharedCounts], Any]) -> None:
        told, self._tell = os.pipe()
        self._done, done = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                counts = shared_counts("test", 64)
                while os.read(told, 1):
                    act(counts)
                    os.write(done, b"x")
            finally:
                os._exit(0)

    def go(self) -> None:
        os.write(self._tell, b"x")
        assert os.read(self._done, 1)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def test_workers_count_together_and_a_killed_one_counts_no_more(master: None) -> None:
    workers = [Worker(lambda counts: counts.add("k", 100)) for _ in range(3)]
    for worker in workers:
        worker.go()
        worker.go()
    counts = shared_counts("test", 64)
    assert counts.add("k", 6) is None
    assert counts.add("k", 2, of_worker=True) is not None
    workers[1].kill()
    slots = [counts.add("k", 6), counts.add("k", 6)]  # one and four are there
    assert None not in slots[:1]
    assert slots[1] is None
    successor = Worker(lambda counts: counts.add("k", 100))  # takes the column of the dead
    successor.go()
    assert counts.add("k", 7) is None
    assert counts.add("k", 8) is not None
    for worker in (*workers[::2], successor):
        worker.kill()


def test_successor_of_a_killed_worker_starts_from_nothing(master: None) -> None:
    worker = Worker(lambda counts: counts.add("k", 100))
    worker.go()
    worker.kill()
    counts = shared_counts("test", 64)
    assert counts.add("k", 1) is not None
    assert counts.add("k", 1) is None


def test_section_in_two_stacks_of_one_worker_is_one_book(master: None) -> None:
    assert shared_counts("test", 64) is shared_counts("test", 64)
    assert shared_counts("test", 64) is not shared_counts("other", 64)
