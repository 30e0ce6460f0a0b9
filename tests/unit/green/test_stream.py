"""One socket: reading, writing, deadlines, ends."""

from __future__ import annotations

import socket
import struct

import gevent
import pytest
from gevent.event import Event

from pyrox.errors import ClientError, ClientGone, ClientTimeout, UpstreamClosed, UpstreamTimeout
from pyrox.http.head import HeadLimits
from tests.unit.green.rig import PATIENCE, Rig, drain, fill, soon

LIMITS = HeadLimits()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


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
    assert not stream._watching  # the hub is not woken for them again and again


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


# --- writing


def test_send_that_does_not_fit_waits_for_the_peer(rig: Rig) -> None:
    stream, peer = rig.client()
    data = bytes(range(256)) * 8192
    received = bytearray()

    def take() -> None:
        while len(received) < len(data):
            received.extend(drain(peer))
            gevent.idle()

    taking = soon(take)
    stream.send(data)
    taking.join()
    assert received == data


def test_send_to_a_peer_that_takes_nothing_is_late(rig: Rig) -> None:
    stream, _ = rig.client(write_patience=3)
    sending = soon(stream.send, bytes(1 << 22))
    gevent.idle()
    rig.clock.pass_by(2)
    assert not sending.ready()
    rig.clock.pass_by(1)
    with pytest.raises(ClientTimeout) as caught:
        sending.get()
    assert caught.value.proxy_status == "connection_write_timeout"


def test_send_to_a_peer_that_takes_a_little_each_time_is_never_late(rig: Rig) -> None:
    stream, peer = rig.client(write_patience=3)
    sending = soon(stream.send, bytes(1 << 21))
    gevent.idle()
    while not sending.ready():
        drain(peer)
        rig.clock.pass_by(2)
    sending.get()
    assert rig.clock.now > 3


def test_send_to_a_peer_that_has_closed_is_a_lost_peer(rig: Rig) -> None:
    stream, peer = rig.upstream()
    peer.close()
    with pytest.raises(UpstreamClosed):
        for _ in range(3):
            stream.send(b"x")


def test_peer_that_closes_while_a_send_waits_ends_it(rig: Rig) -> None:
    stream, peer = rig.upstream()
    sending = soon(stream.send, bytes(1 << 22))
    gevent.idle()
    peer.close()
    with pytest.raises(UpstreamClosed):
        sending.get()


def test_one_greenlet_reads_while_another_writes(rig: Rig) -> None:
    stream, peer = rig.client()
    sending = soon(stream.send, bytes(1 << 20))
    gevent.idle()
    assert not sending.ready()
    peer.send(b"hello")
    assert stream.receive(PATIENCE) == b"hello"
    while not sending.ready():
        drain(peer)
        gevent.idle()
    sending.get()


# --- failing and closing


def test_failure_reaches_reader_and_writer_and_whoever_comes_next(rig: Rig) -> None:
    stream, _ = rig.client()
    reading, sending = soon(stream.receive, PATIENCE), soon(stream.send, bytes(1 << 22))
    gevent.idle()
    stream.fail(ClientGone("cancelled"))
    stream.fail(ClientGone("the second one does not count"))
    for waiting in (reading, sending):
        with pytest.raises(ClientGone, match="cancelled"):
            waiting.get()
    for use in (lambda: stream.receive(1), lambda: stream.send(b"x"), lambda: stream.wait_writable(1)):
        with pytest.raises(ClientGone, match="cancelled"):
            use()


def test_failure_that_ends_the_writer_through_the_reader_is_delivered_once(rig: Rig) -> None:
    """As an exchange does that is cancelled: its greenlet reads, and kills the upload that writes."""
    stream, _ = rig.upstream()
    upload = soon(stream.send, bytes(1 << 22))

    def exchange() -> str:
        try:
            stream.receive(PATIENCE)
        except ClientGone:
            upload.kill()
            stream.close()
        return "clean"

    running = soon(exchange)
    gevent.idle()
    stream.fail(ClientGone("left"))
    assert running.get() == "clean"


def test_interrupt_wakes_the_reader_and_leaves_the_stream_usable(rig: Rig) -> None:
    stream, peer = rig.client()
    reading = soon(stream.receive, PATIENCE)
    gevent.idle()
    rig.clock.hub.loop.run_callback(stream.interrupt, UpstreamTimeout("too long"))
    with pytest.raises(UpstreamTimeout):
        reading.get()
    stream.send(b"504")
    assert drain(peer) == b"504"


def test_close_wakes_those_who_wait_and_refuses_those_who_come(rig: Rig) -> None:
    stream, _ = rig.upstream()
    reading = soon(stream.receive, PATIENCE)
    gevent.idle()
    stream.close()
    with pytest.raises(UpstreamClosed):
        reading.get()
    idle, _ = rig.upstream()
    idle.close()
    for use in (lambda: idle.receive(1), lambda: idle.send(b"x")):
        with pytest.raises(UpstreamClosed):
            use()


def test_close_twice_is_close_once(rig: Rig) -> None:
    stream, peer = rig.client()
    stream.close()
    stream.close()
    stream.abort()
    assert peer.recv(1) == b""
    assert "closed" in repr(stream)


def test_shut_down_ends_writing_only(rig: Rig) -> None:
    stream, peer = rig.client()
    stream.shut_down()
    assert peer.recv(1) == b""
    peer.send(b"still there")
    assert stream.receive(PATIENCE) == b"still there"


def test_abort_resets_so_that_nobody_takes_it_for_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    rig = Rig()
    pair, theirs = rig.client()
    pair.sock.close()
    pair.sock = accepted
    pair.abort()
    client.settimeout(5)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()
    theirs.close()
    rig.close()


def test_linger_reads_until_the_peer_has_ended(rig: Rig) -> None:
    stream, peer = rig.client()
    stream.buffer = b"unread"

    def talk() -> None:
        for _ in range(3):
            peer.send(bytes(1000))
            gevent.idle()
        assert peer.recv(1) == b""  # our end was announced before theirs
        peer.close()

    talking = soon(talk)
    stream.linger(PATIENCE)
    assert stream.is_closed
    assert rig.clock.now == 0
    talking.get()


def test_linger_ends_although_the_peer_goes_on(rig: Rig) -> None:
    stream, peer = rig.client()

    def talk() -> None:
        while True:
            peer.send(b"x")
            rig.clock.pass_by(1)

    talking = soon(talk)
    stream.linger(4)
    assert stream.is_closed
    assert 4 <= rig.clock.now <= 6
    talking.kill(block=True)


def test_linger_ends_when_the_peer_is_silent(rig: Rig) -> None:
    stream, _ = rig.client()
    rig.clock.advance(4)
    stream.linger(4)
    assert stream.is_closed
