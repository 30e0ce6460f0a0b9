"""A file of whole lines: short writes, full disks, rotation, pipes."""

import errno
import fcntl
import os
import resource
import select
import threading
from contextlib import contextmanager

import pytest

from pyrox import log_file
from pyrox.log_file import LogFile


@contextmanager
def largest_file(size):
    """Let the kernel cut every write at ``size`` bytes of file, as a disk does that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def log(tmp_path):
    log = LogFile(str(tmp_path / "log"))
    yield log
    log.close()


def content(log):
    with open(log.path, "rb") as file:
        return file.read()


def test_lines_are_added_to_what_is_there(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    log = LogFile(str(path))
    log.append(b"one\ntwo\n")
    log.append(b"three\n")
    log.close()
    assert path.read_bytes() == b"old\none\ntwo\nthree\n"


def test_two_writers_of_one_file_do_not_overwrite_each_other(log):
    other = LogFile(log.path)
    for _ in range(3):
        log.append(b"mine\n")
        other.append(b"theirs\n")
    other.close()
    assert content(log) == b"mine\ntheirs\n" * 3


def test_the_file_is_not_readable_by_everybody_and_not_inherited(log):
    assert os.stat(log.path).st_mode & 0o007 == 0
    assert not os.get_inheritable(log._descriptor)


def test_missing_directory_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        LogFile(str(tmp_path / "no" / "log"))


def test_full_disk_raises_and_counts_the_lines():
    log = LogFile("/dev/full")
    for _ in range(2):
        with pytest.raises(OSError) as raised:
            log.append(b"one\ntwo\n")
        assert raised.value.errno == errno.ENOSPC
    assert log.lost == 4
    log.close()


def test_short_write_counts_only_the_lines_that_are_not_whole(log):
    with largest_file(10), pytest.raises(OSError) as raised:
        log.append(b"one\ntwo\nthree\nfour\n")
    assert raised.value.errno == errno.EFBIG
    assert content(log) == b"one\ntwo\nth"
    assert log.lost == 2


def test_line_after_a_torn_one_starts_on_a_line_of_its_own(log):
    with largest_file(10):
        for data in (b"one\ntwo\nthree\n", b"four\n"):
            with pytest.raises(OSError):
                log.append(data)
    assert log.lost == 2
    log.append(b"five\n")
    log.append(b"six\n")
    assert content(log) == b"one\ntwo\nth\nfive\nsix\n"
    assert log.lost == 2


def test_torn_line_is_ended_in_its_own_file_and_nowhere_else(log, tmp_path):
    with largest_file(2), pytest.raises(OSError):
        log.append(b"torn\n")
    log.reopen()
    log.append(b"same file\n")
    assert content(log) == b"to\nsame file\n"
    with largest_file(15), pytest.raises(OSError):
        log.append(b"torn\n")
    os.rename(log.path, tmp_path / "log.1")
    log.reopen()
    log.append(b"new file\n")
    assert content(log) == b"new file\n"


def test_reopen_follows_the_path_after_a_rotation(log, tmp_path):
    log.append(b"before\n")
    os.rename(log.path, tmp_path / "log.1")
    log.append(b"still the old file\n")
    log.reopen()
    log.append(b"after\n")
    assert (tmp_path / "log.1").read_bytes() == b"before\nstill the old file\n"
    assert content(log) == b"after\n"


def test_failed_reopen_keeps_the_old_file(tmp_path):
    (tmp_path / "dir").mkdir()
    log = LogFile(str(tmp_path / "dir" / "log"))
    os.rename(tmp_path / "dir", tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        log.reopen()
    log.append(b"not lost\n")
    log.close()
    assert (tmp_path / "moved" / "log").read_bytes() == b"not lost\n"


def test_reopen_and_close_leak_no_descriptor(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    log = LogFile(str(tmp_path / "log"))
    for _ in range(5):
        log.reopen()
    log.close()
    log.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_somebody_elses_descriptor_is_neither_reopened_nor_closed():
    reader, writer = os.pipe()
    log = LogFile(writer)
    log.reopen()
    log.append(b"line\n")
    log.close()
    os.write(writer, b"still open")
    os.close(writer)
    assert os.read(reader, 100) == b"line\nstill open"
    os.close(reader)


def test_closed_descriptor_is_refused_at_once():
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError):
        LogFile(writer)


def test_pipe_whose_reader_has_gone_raises_and_counts():
    reader, writer = os.pipe()
    os.close(reader)
    log = LogFile(writer)
    with pytest.raises(BrokenPipeError):
        log.append(b"one\n")
    assert log.lost == 1
    os.close(writer)


def test_pipe_gets_whole_lines_in_pieces_that_no_other_writer_can_split(monkeypatch):
    reader, writer = os.pipe()
    log = LogFile(writer)
    long_line = b"y" * (select.PIPE_BUF + 5) + b"\n"
    data = b"".join(b"%04d" % number + b"x" * 395 + b"\n" for number in range(25)) + long_line + b"end\n"
    pieces = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, piece: pieces.append(bytes(piece)) or real(fd, piece))
    log.append(data)
    monkeypatch.undo()
    assert b"".join(pieces) == data == os.read(reader, 1 << 16)
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert [piece for piece in pieces if len(piece) > select.PIPE_BUF] == [long_line]
    assert len(pieces) < 7
    os.close(reader)
    os.close(writer)


def read_all(reader):
    """Read what is in a pipe now."""
    os.set_blocking(reader, False)
    received = b""
    try:
        while chunk := os.read(reader, 1 << 20):
            received += chunk
    except BlockingIOError:
        pass
    return received


@pytest.fixture
def pipe():
    """A pipe of the least size, 4 KiB, both ends blocking."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def numbered(start, stop):
    return b"".join(b"line %06d\n" % number for number in range(start, stop))


def test_full_pipe_keeps_lines_for_later_and_in_order(pipe):
    reader, writer = pipe
    log = LogFile(writer)
    log.append(numbered(0, 1000))  # 12 KB: a blocking write would hang here
    assert log.has_pending and log.lost == 0
    received = read_all(reader)
    log.append(numbered(1000, 1001))
    received += read_all(reader)
    while log.has_pending:
        log.append(b"")
        received += read_all(reader)
    log.close()
    assert received == numbered(0, 1001)


def test_full_pipe_of_which_nobody_reads_costs_bounded_memory_and_counted_lines(pipe):
    reader, writer = pipe
    log = LogFile(writer)
    written = 0
    with pytest.raises(BlockingIOError):
        for written in range(1000, 1_000_000, 1000):
            log.append(numbered(written - 1000, written))
    assert 0 < log.lost <= 1000
    assert len(log._pending) <= 1 << 20
    received = read_all(reader)
    while log.has_pending:
        log.append(b"")
        received += read_all(reader)
    log.close()
    assert received == numbered(0, written - log.lost)


def test_pipe_stays_blocking_for_those_who_share_it(pipe):
    reader, writer = pipe
    log = LogFile(writer)
    log.append(numbered(0, 1000))
    assert os.get_blocking(writer)
    while log.has_pending:
        read_all(reader)
        log.append(b"")
    log.close()


def test_close_waits_for_a_reader_that_reads(pipe):
    reader, writer = pipe
    log = LogFile(writer)
    log.append(numbered(0, 1000))
    received = []

    def read():
        while sum(map(len, received)) < len(numbered(0, 1000)):
            received.append(os.read(reader, 4096))

    thread = threading.Thread(target=read)
    thread.start()
    log.close()
    thread.join()
    assert b"".join(received) == numbered(0, 1000)
    assert log.lost == 0


def test_close_gives_up_on_a_reader_that_does_not(pipe, monkeypatch):
    monkeypatch.setattr(log_file, "_FAREWELL", 0.01)
    reader, writer = pipe
    log = LogFile(writer)
    log.append(numbered(0, 1000))
    log.close()
    assert read_all(reader) == numbered(0, 1000 - log.lost)
    assert log.lost > 0


def test_pipe_that_cannot_be_opened_again_is_used_as_it_is(pipe, monkeypatch):
    def refuse(path, *rest):
        raise PermissionError(errno.EACCES, "no", path)

    reader, writer = pipe
    with monkeypatch.context() as context:
        context.setattr(os, "open", refuse)
        log = LogFile(writer)
    log.append(b"line\n")
    log.close()
    os.write(writer, b"still open\n")
    assert read_all(reader) == b"line\nstill open\n"


def test_named_pipe_without_a_reader_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError) as raised:
        LogFile(str(tmp_path / "fifo"))
    assert raised.value.errno == errno.ENXIO


def test_file_gets_all_lines_in_one_call(log, monkeypatch):
    calls = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, piece: calls.append(len(piece)) or real(fd, piece))
    log.append(b"x" * 99 + b"\n" + b"line\n" * 20_000)
    assert calls == [100_100]
