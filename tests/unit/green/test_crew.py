"""Greenlets that serve one connection after another."""

from __future__ import annotations

from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any
from weakref import ref

import gevent
import pytest
from gevent.event import Event
from greenlet import getcurrent

from pyrox.green.crew import _MOST_IDLE, Crew
from pyrox.green.engine import Engine

user: ContextVar[str] = ContextVar("user", default="nobody")


def run(crew: Crew, *jobs: Any) -> None:
    """Run the jobs one after the other."""
    for job in jobs:
        crew.run(job)
        gevent.idle()


def test_next_job_is_done_by_a_greenlet_that_is_done_with_the_one_before() -> None:
    seen: list[Any] = []
    run(Crew(), *[lambda: seen.append(getcurrent())] * 3)
    assert seen[0] is seen[1] is seen[2]


def test_job_gets_its_arguments_each_time() -> None:
    crew, seen = Crew(), []
    for number in range(3):
        crew.run(lambda *given: seen.append(given), number, str(number))
        gevent.idle()
    assert seen == [(0, "0"), (1, "1"), (2, "2")]


def test_jobs_at_the_same_time_have_greenlets_of_their_own() -> None:
    crew, done, seen = Crew(), Event(), []

    def wait() -> None:
        seen.append(getcurrent())
        done.wait()

    run(crew, *[wait] * 3)
    done.set()
    gevent.idle()
    assert len(set(seen)) == 3


def test_context_variables_of_one_job_are_not_seen_by_the_next() -> None:
    seen = []

    def job() -> None:
        seen.append(user.get())
        user.set("alice")

    run(Crew(), job, job)
    assert seen == ["nobody", "nobody"]


def test_attributes_of_the_greenlet_are_not_seen_by_the_next_job() -> None:
    seen: list[Any] = []

    def job() -> None:
        me: Any = getcurrent()
        seen.append((getattr(me, "user", None), hasattr(me, "loop")))
        me.user = "alice"

    run(Crew(), *[job] * 3)
    assert seen == [(None, True)] * 3


def test_what_a_job_was_given_is_let_go_when_it_is_done() -> None:
    crew, things = Crew(), []
    for _ in range(2):  # in a new greenlet, and in one that is used again
        thing = Event()
        things.append(ref(thing))
        crew.run(Event.set, thing)
        del thing
        gevent.idle()
        gevent.idle()
    assert [thing() for thing in things] == [None, None]


def test_no_more_than_a_burst_of_greenlets_waits_for_work() -> None:
    crew, done = Crew(), Event()
    for _ in range(_MOST_IDLE + 5):
        crew.run(done.wait)
    gevent.idle()
    done.set()
    gevent.idle()
    assert len(crew._idle) == _MOST_IDLE


@pytest.mark.filterwarnings("ignore")
def test_greenlet_that_a_forgotten_timeout_finds_idle_gets_no_more_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    crew, seen = Crew(), []
    run(crew, lambda: seen.append(getcurrent()))
    gevent.get_hub().loop.run_callback(seen[0].throw, gevent.Timeout(1))
    gevent.idle()
    run(crew, lambda: seen.append(getcurrent()))
    assert seen[1] is not seen[0]
    assert "Timeout" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_job_is_not_lost_with_a_greenlet_that_ends_before_it_begins(
    capsys: pytest.CaptureFixture[str],
) -> None:
    crew, seen = Crew(), []
    run(crew, lambda: seen.append(getcurrent()))
    gevent.get_hub().loop.run_callback(seen[0].throw, gevent.Timeout(1))
    crew.run(lambda: seen.append(getcurrent()))
    gevent.idle()
    gevent.idle()
    assert len(seen) == 2
    assert seen[1] is not seen[0]
    assert "Timeout" in capsys.readouterr().err


def test_greenlet_left_behind_by_one_connection_does_not_belong_to_the_next() -> None:
    """It is asked who it works for when it sends a request: its client would be another one."""
    crew, go_on, seen = Crew(), Event(), []
    connections: dict[Any, Any] = {}
    engine: Any = SimpleNamespace(connections=connections)

    def left_behind() -> None:
        seen.append(Engine.current_exchange(engine))
        go_on.wait()
        seen.append(Engine.current_exchange(engine))

    def serve(name: str) -> None:
        connections[getcurrent()] = SimpleNamespace(exchange=name)
        if name == "first":
            gevent.spawn(left_behind)
            gevent.sleep(0)
        else:
            go_on.set()
            gevent.sleep(0)
        del connections[getcurrent()]

    for name in ("first", "second"):
        crew.run(serve, name)
        gevent.idle()
        gevent.idle()
    assert seen == ["first", None]
