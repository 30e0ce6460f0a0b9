"""One socket: writing, failing, closing."""

from __future__ import annotations

import socket

import gevent
import pytest

from pyrox.errors import ClientGone, ClientTimeout, UpstreamClosed, UpstreamTimeout
from tests.unit.green.rig import PATIENCE, Rig, drain, soon

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
