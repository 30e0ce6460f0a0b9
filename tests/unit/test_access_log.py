"""One line for each exchange, whatever the disk says."""

import logging
import os
import tracemalloc

import pytest

from pyrox.access_log import AccessLog, validate_format
from pyrox.exchange import Exchange
from pyrox.http.message import Request


def make_exchange(target="/", headers=()):
    exchange = Exchange("192.0.2.1", started=1.0)
    exchange.request = Request("GET", target, headers)
    exchange.status, exchange.finished = 200, 1.5
    return exchange


@pytest.fixture
def warnings(caplog):
    """The messages logged so far; call to get them."""
    caplog.set_level(logging.DEBUG)
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.log"


@pytest.fixture
def log(path):
    log = AccessLog(str(path), "$request_uri")
    yield log
    log.close()


@pytest.fixture
def disk(tmp_path, path):
    """A disk that is full until ``disk.empty()``: the path leads to /dev/full, then to a file."""

    class Disk:
        def __init__(self):
            path.symlink_to("/dev/full")

        def empty(self):
            path.unlink()
            path.symlink_to(tmp_path / "real.log")

        def content(self):
            return (tmp_path / "real.log").read_text()

    return Disk()


# --- buffering ---


def test_lines_reach_the_file_at_flush_in_order(log, path):
    for number in range(3):
        log.write(make_exchange(f"/{number}"))
    assert path.read_text() == ""
    log.flush()
    assert path.read_text() == "/0\n/1\n/2\n"
    log.flush()
    assert path.read_text() == "/0\n/1\n/2\n"


def test_256th_line_flushes(log, path):
    for number in range(255):
        log.write(make_exchange(f"/{number}"))
    assert path.read_text() == ""
    log.write(make_exchange("/255"))
    assert path.read_text().split() == [f"/{number}" for number in range(256)]


def test_long_line_flushes_so_that_hostile_heads_do_not_add_up(log, path):
    log.write(make_exchange("/"))
    log.write(make_exchange("/" + "x" * 9000))
    assert len(path.read_text()) > 9000


def test_close_writes_what_is_left(log, path):
    log.write(make_exchange("/last"))
    log.close()
    log.close()
    assert path.read_text() == "/last\n"
    assert not log.is_enabled


def test_default_format_is_written_for_standard_output(capfd):
    log = AccessLog("-", "combined")
    log.write(make_exchange("/out"))
    log.close()
    out = capfd.readouterr().out
    assert out.startswith("192.0.2.1 - - [") and '"GET /out HTTP/1.1" 200 0 "-" "-"\n' in out
    os.fstat(1)  # still open: it is not the log's


@pytest.mark.parametrize("nowhere", [None, ""])
def test_no_log_is_free_and_harmless(nowhere):
    log = AccessLog(nowhere, "combined")
    assert not log.is_enabled
    log.write(None)  # not even looked at
    log.flush()
    log.reopen()
    log.close()


def test_bad_format_or_path_is_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"\$nonsense"):
        AccessLog(None, "$nonsense")
    with pytest.raises(FileNotFoundError):
        AccessLog(str(tmp_path / "no" / "log"), "combined")
    with pytest.raises(ValueError, match="did you mean json"):
        validate_format("jsn")


# --- rotation ---


def test_reopen_after_rotation_loses_no_line(log, path, tmp_path):
    log.write(make_exchange("/before"))
    os.rename(path, tmp_path / "access.log.1")
    log.write(make_exchange("/between"))
    log.reopen()
    log.write(make_exchange("/after"))
    log.flush()
    assert (tmp_path / "access.log.1").read_text() == "/before\n/between\n"
    assert path.read_text() == "/after\n"


def test_removed_file_is_made_again_by_reopen(log, path):
    path.unlink()
    log.write(make_exchange("/gone"))
    log.reopen()
    log.write(make_exchange("/here"))
    log.flush()
    assert path.read_text() == "/here\n"


def test_failed_reopen_warns_and_goes_on_with_the_old_file(tmp_path, warnings):
    (tmp_path / "dir").mkdir()
    log = AccessLog(str(tmp_path / "dir" / "log"), "$request_uri")
    os.rename(tmp_path / "dir", tmp_path / "moved")
    log.reopen()
    log.write(make_exchange("/kept"))
    log.close()
    assert (tmp_path / "moved" / "log").read_text() == "/kept\n"
    [warning] = warnings()
    assert warning.startswith("access log: cannot reopen: ") and "No such file" in warning


# --- outages ---


def test_full_disk_is_reported_once_and_once_more_when_it_is_over(disk, path, warnings):
    log = AccessLog(str(path), "$request_uri")
    for _ in range(600):
        log.write(make_exchange())
    log.flush()
    assert warnings() == ["access log: No space left on device; 256 lines lost so far"]
    disk.empty()
    log.reopen()
    log.write(make_exchange("/back"))
    log.flush()
    log.write(make_exchange("/again"))
    log.flush()
    assert warnings()[1:] == ["access log: writing again; 600 lines were lost"]
    assert disk.content() == "/back\n/again\n"
    log.close()
    assert len(warnings()) == 2


def test_second_outage_is_reported_again_and_counted_from_nothing(disk, path, warnings, tmp_path):
    log = AccessLog(str(path), "$request_uri")
    for target in ("/dev/full", tmp_path / "real.log", "/dev/full"):
        path.unlink()
        path.symlink_to(target)
        log.reopen()
        log.write(make_exchange())
        log.flush()
    assert [warning.rpartition("; ")[2] for warning in warnings()] == [
        "1 lines lost so far",
        "1 lines were lost",
        "1 lines lost so far",
    ]
    log.close()
    assert warnings()[-1] == "access log: closed; 1 lines were lost"


def test_full_disk_leaves_no_traceback_and_no_exception(disk, path, caplog):
    log = AccessLog(str(path), "combined")
    for _ in range(1000):
        log.write(make_exchange())
    log.close()
    assert caplog.records
    assert all(record.exc_info is None and record.levelno == logging.WARNING for record in caplog.records)


def test_full_disk_does_not_fill_the_memory(disk, path):
    log = AccessLog(str(path), "combined")
    exchange = make_exchange(headers=[("User-Agent", "x" * 500)])
    for _ in range(512):
        log.write(exchange)
    tracemalloc.start()
    for _ in range(5120):
        log.write(exchange)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log.close()
    assert grown < 50_000  # the lines alone are 3 MB


def test_closed_pipe_is_reported_like_a_full_disk(tmp_path, warnings):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(fifo), "$request_uri")
    os.close(reader)
    log.write(make_exchange())
    log.flush()
    assert warnings() == ["access log: Broken pipe; 1 lines lost so far"]
    log.close()


def test_reader_that_stands_still_is_reported_once_and_not_waited_for(tmp_path, warnings):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(fifo), "$request_uri")
    exchange = make_exchange("/" + "x" * 2000)
    written = 2000
    for _ in range(written):  # 4 MB: more than the pipe and the memory for it hold
        log.write(exchange)
    log.flush()
    [outage] = warnings()
    assert outage.startswith("access log: Resource temporarily unavailable; ")
    received = os.read(reader, 1 << 20)
    log.flush()
    assert len(warnings()) == 1  # there is room again, but the backlog is still there
    while log._file.has_pending:
        received += os.read(reader, 1 << 20)
        log.flush()
    received += os.read(reader, 1 << 20)
    lost = written - received.count(b"\n")
    assert warnings()[1:] == [f"access log: writing again; {lost} lines were lost"]
    log.close()
    os.close(reader)
