"""A request body on its way upstream, and how the exchange that waits for the answer learns of its end."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from pyrox.errors import UpstreamClosed
from pyrox.green.attempt import UpstreamExchange
from pyrox.green.upload import Upload
from pyrox.green.upstream import UpstreamConnection
from pyrox.http.message import Request
from pyrox.upstreams.member import Member
from pyrox.upstreams.server import parse_server
from tests.unit.green.rig import PATIENCE, Rig, drain


def attempt_of(rig: Rig, body: Iterator[bytes]) -> UpstreamExchange:
    """An exchange whose upload is about to start."""
    stream, _ = rig.upstream()
    request = Request("POST", "/", {"Host": "a.test"}, body)
    server = parse_server("http://a.test")
    attempt = UpstreamExchange(Member(server), request)
    attempt.connection = UpstreamConnection(server, stream)
    attempt.upload = Upload(request, None, stream, chunked=True)
    return attempt


def raising(error: BaseException) -> Iterator[bytes]:
    yield b"first"
    raise error


def test_upload_that_was_sent_is_complete(rig: Rig) -> None:
    stream, peer = rig.upstream()
    upload = Upload(Request("POST", "/", body=iter([b"abc"])), None, stream, chunked=True)
    assert (upload.is_complete, upload.ended) == (False, None)
    gevent.idle()
    assert (upload.is_complete, upload.ended) == (True, rig.clock.now)
    assert drain(peer) == b"3\r\nabc\r\n0\r\n\r\n"


def test_time_for_the_first_byte_runs_although_the_body_broke_off(rig: Rig) -> None:
    """A body that is itself some server's response may end as if the destination had closed."""
    attempt = attempt_of(rig, raising(UpstreamClosed("another server's end")))
    rig.clock.pass_by(3)
    assert attempt.is_uploading  # the connection is dirty
    assert attempt.patience_left(PATIENCE) <= PATIENCE
    rig.clock.pass_by(PATIENCE)
    assert attempt.patience_left(PATIENCE) <= 0


@pytest.mark.parametrize("error", [LookupError("a mistake"), gevent.Timeout()])
def test_failure_of_the_body_reaches_whoever_waits_for_the_answer(rig: Rig, error: BaseException) -> None:
    attempt = attempt_of(rig, raising(error))
    with pytest.raises(type(error)) as raised:
        attempt.connection.stream.receive(PATIENCE)
    assert raised.value is error


def test_upload_that_is_stopped_has_ended_and_is_not_complete(rig: Rig) -> None:
    never = gevent.event.Event()

    def body() -> Iterator[bytes]:
        yield b"first"
        never.wait()

    attempt = attempt_of(rig, body())
    gevent.idle()
    assert attempt.upload is not None
    attempt.upload.stop()
    assert attempt.is_uploading
    assert attempt.upload.ended is not None
