"""One call of an application in its greenlet, and who may interrupt it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import gevent.event
import pytest

from pyrox.errors import ClientGone, UpstreamTimeout
from pyrox.green.attempt import UpstreamExchange
from pyrox.green.wsgi import Applications
from pyrox.http.message import Request, Response
from pyrox.upstreams.member import Member
from pyrox.upstreams.server import parse_server
from tests.unit.green.rig import PATIENCE, Rig, soon

URL = "wsgi:a:b"


def answer(rig: Rig, application: Any) -> tuple[UpstreamExchange, Response]:
    attempt = UpstreamExchange(Member(parse_server(URL)), Request("GET", "/"))
    applications = Applications({URL: application}, rig.clock, multiprocess=False)
    return attempt, applications.answer(attempt, None, None, PATIENCE)


def test_stream_is_in_flight_until_it_is_closed(rig: Rig) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        yield b"b"

    attempt, response = answer(rig, application)
    assert attempt.member.in_flight == 1
    assert b"".join(response.stream()) == b"ab"
    assert response.close() == []
    assert attempt.member.in_flight == 0


@pytest.mark.parametrize("error", [ClientGone("left"), UpstreamTimeout("too long")])
def test_stream_that_was_given_up_between_two_pieces_makes_no_other(rig: Rig, error: Exception) -> None:
    """The application might wait for its next event for ever, and nobody would be there to interrupt it."""
    made: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        made.append("next")
        yield b"b"

    attempt, response = answer(rig, application)
    pieces = response.stream()
    assert next(pieces) == b"a"
    attempt.fail(error)
    gevent.idle()
    with pytest.raises(type(error)):
        next(pieces)
    assert made == []


@pytest.mark.parametrize(
    ("error", "is_interrupted"), [(ClientGone("left"), False), (UpstreamTimeout("too long"), True)]
)
def test_client_that_leaves_does_not_interrupt_what_has_not_answered(
    rig: Rig, error: Exception, is_interrupted: bool
) -> None:
    attempts: list[UpstreamExchange] = []
    go_on = gevent.event.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        go_on.wait()
        start_response("200 OK", [])
        return [b"done"]

    def ask() -> bytes:
        attempt = UpstreamExchange(Member(parse_server(URL)), Request("GET", "/"))
        attempts.append(attempt)
        applications = Applications({URL: application}, rig.clock, multiprocess=False)
        return applications.answer(attempt, None, None, PATIENCE).read_body()

    asking = soon(ask)
    gevent.idle()
    attempts[0].fail(error)
    gevent.idle()
    go_on.set()
    if is_interrupted:
        with pytest.raises(UpstreamTimeout):
            asking.get()
    else:
        assert asking.get() == b"done"
