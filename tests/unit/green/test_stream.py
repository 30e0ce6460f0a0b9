"""One socket: reading, heads, deadlines."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from pyrox.errors import ClientError, ClientTimeout, UpstreamClosed, UpstreamTimeout
from pyrox.http.head import HeadLimits
from tests.unit.green.rig import PATIENCE, Rig, fill, soon

LIMITS = HeadLimits()


def accept_anything(data: bytes, limits: HeadLimits) -> None:
    """A ``check_partial`` that finds every head worth waiting for."""


# --- reading


def test_receive_waits_for_bytes_and_returns_them(rig: Rig) -> None:
    stream, peer = rig.client()
    soon(peer.send, b"hello")
    assert stream.receive(PATIENCE) == b"hello"


def test_receive_takes_no_more_than_the_buffer_size(rig: Rig) -> None:
    stream, peer = rig.client(buffer_size=4)
    peer.send(b"hello")
    assert [stream.receive(PATIENCE), stream.receive(PATIENCE)] == [b"hell", b"o"]


def test_receive_into_fills_what_it_is_given(rig: Rig) -> None:
    stream, peer = rig.client()
    peer.send(b"hello")
    space = bytearray(4)
    assert stream.receive_into(memoryview(space), PATIENCE) == 4
    assert bytes(space) == b"hell"


def test_end_of_stream_is_empty_bytes(rig: Rig) -> None:
    stream, peer = rig.client()
    soon(peer.close)
    assert stream.receive(PATIENCE) == b""


@pytest.mark.parametrize(("side", "error"), [("client", ClientTimeout), ("upstream", UpstreamTimeout)])
def test_silence_is_a_time_out_of_the_side_after_exactly_the_patience(
    rig: Rig, side: str, error: type[Exception]
) -> None:
    stream, _ = getattr(rig, side)()
    reading = soon(stream.receive, 3)
    gevent.idle()
    rig.clock.pass_by(2)
    assert not reading.ready()
    rig.clock.pass_by(1)
    with pytest.raises(error):
        reading.get()


def test_stream_is_usable_after_a_time_out(rig: Rig) -> None:
    stream, peer = rig.client()
    rig.clock.advance(2)
    with pytest.raises(ClientTimeout):
        stream.receive(1)
    peer.send(b"late")
    assert stream.receive(PATIENCE) == b"late"


def test_bytes_that_arrive_wake_nobody_who_waits_elsewhere(rig: Rig) -> None:
    """A middleware that sleeps or waits for a lock must not be switched to by its client's bytes."""
    stream, peer = rig.client()
    lock, woken = Event(), []

    def wait_for_lock() -> None:
        woken.append(lock.wait())

    waiting = soon(wait_for_lock)
    gevent.idle()
    peer.send(b"hello")
    gevent.idle()
    assert woken == []
    lock.set()
    waiting.join()
    assert woken == [True]
    assert stream.receive(PATIENCE) == b"hello"


def test_bytes_that_nobody_waits_for_are_left_to_the_kernel(rig: Rig) -> None:
    stream, peer = rig.client()
    fill(peer)
    gevent.idle()
    with pytest.raises(BlockingIOError):
        peer.send(b"more")
    assert stream.buffer == b""
    assert not stream.is_watching  # the hub is not woken for them again and again


def test_unattended_is_asked_about_bytes_that_nobody_waits_for(rig: Rig) -> None:
    stream, peer = rig.client()
    asked = []

    def ask(which: object) -> None:
        asked.append(stream.probe())
        stream.pause()

    stream.unattended = ask
    peer.send(b"hello")
    gevent.idle()
    gevent.idle()
    assert asked == [b"h"]
    assert stream.receive(PATIENCE) == b"hello"


def test_unattended_is_asked_when_its_deadline_has_passed(rig: Rig) -> None:
    stream, _ = rig.client()
    asked = []
    stream.unattended = asked.append
    stream.read_deadline = 2
    rig.clock.pass_by(1)
    assert asked == []
    rig.clock.pass_by(3)
    assert asked == [stream]


def test_probe_tells_nothing_bytes_end_and_reset_apart(rig: Rig) -> None:
    stream, peer = rig.client()
    assert stream.probe() is None
    peer.send(b"xy")
    assert stream.probe() == b"x"
    assert stream.receive(PATIENCE) == b"xy"
    peer.close()
    assert stream.probe() == b""


def test_peer_is_quiet_until_it_speaks(rig: Rig) -> None:
    stream, peer = rig.client()
    assert stream.is_quiet()
    peer.send(b"x")
    assert not stream.is_quiet()
    assert stream.receive(PATIENCE) == b"x"
    assert stream.is_quiet()


def test_peer_that_has_closed_is_not_quiet(rig: Rig) -> None:
    stream, peer = rig.client()
    assert stream.is_quiet()
    peer.close()
    assert not stream.is_quiet()


# --- heads


@pytest.mark.parametrize("pieces", [[b"A\r\n\r\n"], [b"A\r\n", b"\r\n"], [b"A", b"\r", b"\n", b"\r", b"\n"]])
@pytest.mark.parametrize("rest", [b"", b"body"])
def test_head_is_read_to_its_empty_line_however_it_is_cut(rig: Rig, pieces: list[bytes], rest: bytes) -> None:
    stream, peer = rig.client()

    def send() -> None:
        for piece in [*pieces[:-1], pieces[-1] + rest]:
            peer.send(piece)
            gevent.idle()

    soon(send)
    assert stream.read_head(accept_anything, LIMITS, PATIENCE) == b"A\r\n\r\n"
    assert stream.buffer == rest


def test_head_that_is_buffered_already_is_read_without_waiting(rig: Rig) -> None:
    stream, _ = rig.client()
    stream.buffer = b"A\r\n\r\nB\r\n\r\n"
    assert stream.read_head(accept_anything, LIMITS, 1) == b"A\r\n\r\n"
    assert stream.read_head(accept_anything, LIMITS, 1) == b"B\r\n\r\n"


def test_end_before_a_head_is_none_and_within_one_an_error(rig: Rig) -> None:
    stream, peer = rig.upstream()
    peer.close()
    assert stream.read_head(accept_anything, LIMITS, PATIENCE) is None
    stream, peer = rig.upstream()
    peer.send(b"HTTP/1.1 200")
    soon(peer.close)
    with pytest.raises(UpstreamClosed, match="middle of a head"):
        stream.read_head(accept_anything, LIMITS, PATIENCE)


def test_partial_head_is_checked_each_time_and_kept_for_the_log(rig: Rig) -> None:
    stream, peer = rig.client()
    seen = []

    def check(data: bytes, limits: HeadLimits) -> None:
        seen.append(data)
        if len(data) > 2:
            raise ClientError("too long", status=431)

    def send() -> None:
        for letter in b"abc":
            peer.send(bytes([letter]))
            gevent.idle()

    soon(send)
    with pytest.raises(ClientError):
        stream.read_head(check, LIMITS, PATIENCE)
    assert seen == [b"a", b"ab", b"abc"]
    assert stream.buffer == b"abc"


def test_head_that_drips_is_late_as_a_whole(rig: Rig) -> None:
    """Each byte comes well within the patience; the head does not."""
    stream, peer = rig.client()

    def drip() -> None:
        while True:
            peer.send(b"x")
            rig.clock.pass_by(1)

    dripping = soon(drip)
    with pytest.raises(ClientTimeout):
        stream.read_head(accept_anything, LIMITS, 5)
    assert 5 <= rig.clock.now <= 7
    dripping.kill()
