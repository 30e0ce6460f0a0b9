"""Bodies through pipes: exact under whatever the kernel says, and by another road where it says no."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest

from pyrox.errors import ClientGone, ClientTimeout, UpstreamClosed, UpstreamTimeout
from pyrox.green import body as bodies
from pyrox.green import pipes
from pyrox.green.body import LengthReader
from pyrox.green.mirror import _RecordingReader
from pyrox.green.stream import StreamSettings, UpstreamStream
from pyrox.green.tls import TlsClientStream, TlsStream, TlsUpstreamStream
from tests.unit.green.rig import PATIENCE, Rig, drain, fill, soon

SIZE = 1_000_003
NOISE = random.Random(1).randbytes(SIZE)

Splice = Callable[..., int]
real_splice, real_pipe2 = os.splice, os.pipe2


class Kernel:
    """Stands between the proxy and ``os.splice``: counts what went in and out of pipes, or says no."""

    def __init__(self) -> None:
        self.moved = {"in": 0, "out": 0}
        self.calls = 0
        self.asked = 0  # the most bytes that were asked for at once
        self.size: Callable[[int], int] = lambda size: size
        self.refusal: dict[str, int] = {}  # the error number, by direction
        self.refuses_after = 0  # bytes that went that way

    def splice(self, source: int, destination: int, size: int, *, flags: int) -> int:
        self.calls += 1
        self.asked = max(self.asked, size)
        way = "in" if is_pipe(destination) else "out"
        if way in self.refusal and self.moved[way] >= self.refuses_after:
            raise OSError(self.refusal[way], "no")
        moved = real_splice(source, destination, self.size(size), flags=flags)
        self.moved[way] += moved
        return moved


def is_pipe(descriptor: int) -> bool:
    return os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """The kernel's splice; in the end no pipe may be open, and no buffer in use."""
    kernel = Kernel()
    monkeypatch.setattr(os, "splice", kernel.splice)
    monkeypatch.setattr(pipes, "_is_possible", True)
    before = descriptors()
    yield kernel
    assert pipes._pipes == 0
    assert [fd for fd in descriptors() - before if fd.startswith("pipe:")] == []
    assert len(bodies._free_buffers) == bodies._buffers_made


def descriptors() -> set[str]:
    names = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.add(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue  # that of the listing itself
    return names


class Transfer:
    """A body from an upstream to a client, with a peer at each end that sends, and that takes."""

    def __init__(self, rig: Rig, data: bytes = NOISE) -> None:
        self.source, self.sender = rig.upstream()
        self.destination, self.receiver = rig.client()
        self.reader = LengthReader(self.source, len(data), PATIENCE)
        self.data = data
        self.received = bytearray()

    def run(self, *after: bytes) -> None:
        """Relay it, while the peers do their part; ``after`` follows the body on its connection."""
        helpers = [soon(self.send, self.data + b"".join(after)), soon(self.take, len(self.data))]
        self.reader.relay(self.destination)
        gevent.joinall(helpers)

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sender.send(rest) :]
            except BlockingIOError:
                gevent.idle()

    def take(self, size: int) -> None:
        while len(self.received) < size:
            self.received += drain(self.receiver)
            gevent.idle()


def test_body_goes_through_a_pipe_to_its_last_byte_and_not_one_more(rig: Rig, kernel: Kernel) -> None:
    transfer = Transfer(rig)
    transfer.run(b"next")
    assert transfer.received == NOISE
    assert kernel.moved == {"in": SIZE, "out": SIZE}
    assert kernel.asked == pipes._MOST_IN_A_ROUND  # then others have their turn
    reader = transfer.reader
    assert (reader.is_complete, reader.left, reader.wire_bytes) == (True, 0, SIZE)
    assert transfer.source.receive(PATIENCE) == b"next"


def test_what_was_received_already_goes_first(rig: Rig, kernel: Kernel) -> None:
    transfer = Transfer(rig)
    transfer.source.buffer, transfer.data = NOISE[:1001], NOISE[1001:]
    helpers = [soon(transfer.send, transfer.data), soon(transfer.take, SIZE)]
    transfer.reader.relay(transfer.destination)
    gevent.joinall(helpers)
    assert transfer.received == NOISE
    assert kernel.moved == {"in": SIZE - 1001, "out": SIZE - 1001}


@pytest.mark.parametrize("most", [1, 7, 4096, 70_001])
def test_kernel_that_moves_little_at_a_time_changes_nothing(rig: Rig, kernel: Kernel, most: int) -> None:
    data = NOISE[: min(SIZE, 2003 * most)]
    dice = random.Random(most)
    kernel.size = lambda size: min(size, dice.randint(1, most))
    transfer = Transfer(rig, data)
    transfer.run(b"next")
    assert transfer.received == data
    assert kernel.moved == {"in": len(data), "out": len(data)}
    assert transfer.source.receive(PATIENCE) == b"next"


def test_wake_up_without_bytes_is_waited_through(
    rig: Rig, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [BlockingIOError(), BlockingIOError()]

    def splice(*arguments: Any, **options: Any) -> int:
        if answers:
            raise answers.pop()
        return kernel.splice(*arguments, **options)

    monkeypatch.setattr(os, "splice", splice)
    transfer = Transfer(rig)
    transfer.run()
    assert transfer.received == NOISE


@pytest.mark.parametrize("at", [0, 1000])
def test_urgent_data_is_skipped_as_a_recv_does(rig: Rig, kernel: Kernel, at: int) -> None:
    """The socket stays readable and splice gets nothing: to wait again would occupy the worker."""
    transfer = Transfer(rig)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
    sock.setblocking(False)
    transfer.source = UpstreamStream(sock, StreamSettings(rig.clock, PATIENCE, 65536))
    transfer.reader = LengthReader(transfer.source, SIZE, PATIENCE)
    transfer.sender = sender
    sender.send(NOISE[:at])
    sender.send(b"!", socket.MSG_OOB)
    sender.setblocking(False)
    helpers = [soon(transfer.send, NOISE[at:] + b"next"), soon(transfer.take, SIZE)]
    with sender, closing(transfer.source):
        transfer.reader.relay(transfer.destination)
        gevent.joinall(helpers)
        assert transfer.received == NOISE
        assert transfer.source.receive(PATIENCE) == b"next"
    assert kernel.moved["out"] == at
    transfer = Transfer(rig)  # the next body is spliced again
    transfer.run()
    assert kernel.moved["out"] == at + SIZE


# --- where there is no splice, or no pipe


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP])
@pytest.mark.parametrize("way", ["in", "out"])
def test_refused_splice_loses_no_byte_and_is_not_asked_again(
    rig: Rig, kernel: Kernel, way: str, code: int
) -> None:
    kernel.refusal[way] = code
    for _ in range(2):
        transfer = Transfer(rig)
        transfer.run(b"next")
        assert transfer.received == NOISE
        assert transfer.reader.wire_bytes == SIZE
        assert transfer.source.receive(PATIENCE) == b"next"
    assert kernel.calls == (1 if way == "in" else 2)


def test_refusal_in_the_middle_loses_no_byte(rig: Rig, kernel: Kernel) -> None:
    kernel.size = lambda size: min(size, 5000)
    kernel.refusal, kernel.refuses_after = {"out": errno.EINVAL}, 123_000
    transfer = Transfer(rig)
    transfer.run()
    assert transfer.received == NOISE
    assert kernel.moved["out"] == 125_000


def no_descriptor(flags: int) -> tuple[int, int]:
    raise OSError(errno.EMFILE, "none left")


def test_body_without_a_descriptor_for_a_pipe_goes_through_a_buffer(
    rig: Rig, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pipe2", no_descriptor)
    transfer = Transfer(rig)
    transfer.run()
    assert (transfer.received, kernel.calls) == (NOISE, 0)
    monkeypatch.setattr(os, "pipe2", real_pipe2)  # there is one again
    transfer = Transfer(rig)
    transfer.run()
    assert kernel.moved["out"] == SIZE


@pytest.mark.parametrize(("granted", "is_used"), [(1 << 16, True), (1 << 13, False)])
def test_smaller_pipe_is_used_if_it_is_not_too_small(
    rig: Rig, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, granted: int, is_used: bool
) -> None:
    """An unprivileged user who has many pipes gets no larger ones, and in the end very small ones."""
    real_fcntl = fcntl.fcntl

    def control(descriptor: int, command: int, argument: int = 0) -> int:
        if command != fcntl.F_SETPIPE_SZ:
            return real_fcntl(descriptor, command, argument)
        real_fcntl(descriptor, command, granted)
        raise PermissionError(errno.EPERM, "too many pages")

    monkeypatch.setattr(fcntl, "fcntl", control)
    transfer = Transfer(rig)
    transfer.run()
    assert transfer.received == NOISE
    assert (kernel.calls > 0) is is_used


def test_pipe_of_unknown_size_is_not_used(rig: Rig, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    transfer = Transfer(rig)
    transfer.run()
    assert (transfer.received, kernel.calls) == (NOISE, 0)


def test_pipes_are_few_and_come_back(rig: Rig, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_MOST_PIPES", 1)
    first, second = Transfer(rig), Transfer(rig)
    running = soon(first.reader.relay, first.destination)
    gevent.idle()
    second.run()
    assert (second.received, kernel.calls) == (NOISE, 0)
    helpers = [soon(first.send, NOISE), soon(first.take, SIZE), running]
    gevent.joinall(helpers)
    assert kernel.moved["out"] == SIZE
    second = Transfer(rig)
    second.run()
    assert kernel.moved["out"] == 2 * SIZE


@pytest.mark.parametrize("kind", [TlsClientStream, TlsUpstreamStream])
def test_bytes_under_tls_are_not_on_the_socket_as_they_are(rig: Rig, kind: type[TlsStream]) -> None:
    plain, _ = rig.upstream()
    with socket.socket() as sock:
        under_tls = kind(sock, StreamSettings(rig.clock, PATIENCE, 1000))
        under_tls._tls = None
        assert pipes.open_pipe(plain, under_tls) is None
        assert pipes.open_pipe(under_tls, plain) is None
        under_tls.close()


def test_body_that_is_kept_for_a_mirror_is_read(rig: Rig, kernel: Kernel) -> None:
    transfer = Transfer(rig)
    kept: list[bytes] = []
    reader = _RecordingReader(transfer.reader, kept.append)
    sending = soon(transfer.send, NOISE)
    reader.relay(transfer.destination)
    assert b"".join(reader) == NOISE
    sending.join()
    assert (kept, kernel.calls) == ([NOISE], 0)


# --- ends before the end


def test_source_that_breaks_off_is_a_lost_peer_and_what_got_through_is_counted(
    rig: Rig, kernel: Kernel
) -> None:
    transfer = Transfer(rig)
    transfer.sender.send(b"x" * 1000)
    soon(transfer.sender.close)
    with pytest.raises(UpstreamClosed) as caught:
        transfer.reader.relay(transfer.destination)
    assert caught.value.proxy_status == "http_response_incomplete"
    assert drain(transfer.receiver) == b"x" * 1000
    assert (transfer.reader.left, transfer.reader.is_complete) == (SIZE - 1000, False)


def stuck(rig: Rig) -> Transfer:
    """A transfer whose receiver takes nothing."""
    transfer = Transfer(rig)
    fill(transfer.destination.sock)
    transfer.sender.send(NOISE[:5000])
    return transfer


def test_receiver_that_takes_nothing_is_late(rig: Rig, kernel: Kernel) -> None:
    transfer = stuck(rig)

    def pass_by() -> None:
        while not kernel.moved["in"]:
            gevent.idle()
        rig.clock.advance(PATIENCE + 1)

    soon(pass_by)
    with pytest.raises(ClientTimeout) as caught:
        transfer.reader.relay(transfer.destination)
    assert caught.value.proxy_status == "connection_write_timeout"
    assert kernel.moved == {"in": 5000, "out": 0}
    assert transfer.reader.left == SIZE


def test_source_that_sends_nothing_is_late(rig: Rig, kernel: Kernel) -> None:
    transfer = Transfer(rig)
    soon(rig.clock.advance, PATIENCE + 1)
    with pytest.raises(UpstreamTimeout):
        transfer.reader.relay(transfer.destination)


def test_patience_begins_anew_with_each_bit_of_progress(rig: Rig, kernel: Kernel) -> None:
    transfer = Transfer(rig, NOISE[:300])

    def drip() -> None:
        for at in range(0, 300, 100):
            rig.clock.pass_by(PATIENCE - 1)
            transfer.sender.send(NOISE[at : at + 100])
            gevent.idle()

    dripping = soon(drip)
    transfer.reader.relay(transfer.destination)
    dripping.join()
    assert drain(transfer.receiver) == NOISE[:300]
    assert rig.clock.now > 2 * PATIENCE


def test_receiver_that_leaves_ends_it(rig: Rig, kernel: Kernel) -> None:
    transfer = stuck(rig)
    soon(transfer.receiver.close)
    with pytest.raises(ClientGone):
        transfer.reader.relay(transfer.destination)


@pytest.mark.parametrize("end", ["source", "destination"])
@pytest.mark.parametrize("is_stuck", [True, False])
def test_failure_of_either_stream_ends_it(rig: Rig, kernel: Kernel, end: str, is_stuck: bool) -> None:
    """As a cancelled exchange fails them; who waits for the other stream hears of it with its next step."""
    transfer = stuck(rig) if is_stuck else Transfer(rig)
    error = ClientGone("cancelled")

    def fail() -> None:
        getattr(transfer, end).fail(error)
        gevent.idle()
        drain(transfer.receiver)
        transfer.sender.send(b"more")

    soon(fail)
    with pytest.raises(ClientGone) as caught:
        transfer.reader.relay(transfer.destination)
    assert caught.value is error


def test_stream_that_is_closed_while_the_other_is_waited_for_is_written_to_no_more(
    rig: Rig, kernel: Kernel
) -> None:
    """Its descriptor may be another connection's by then."""
    transfer = Transfer(rig)

    def close_and_speak() -> None:
        transfer.destination.close()
        transfer.sender.send(b"more")

    soon(close_and_speak)
    with pytest.raises(ClientGone):
        transfer.reader.relay(transfer.destination)
    assert kernel.moved["out"] == 0


def test_greenlet_that_is_killed_leaves_no_pipe(rig: Rig, kernel: Kernel) -> None:
    transfer = stuck(rig)
    running = soon(transfer.reader.relay, transfer.destination)
    while not kernel.moved["in"]:
        gevent.idle()
    assert pipes._pipes == 1
    running.kill()
