"""The error log: where it goes, what a record looks like, what it survives."""

import logging
import os
import re

import pytest

from pyrox import error_log
from pyrox.errors import HTTPError
from pyrox.http.message import Request
from pyrox.middleware.base import Middleware
from pyrox.middleware.stack import build_stack
from pyrox.settings import LoggingSettings

START = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \d+ "


@pytest.fixture(autouse=True)
def untouched_logging():
    """Give the root logger back as it was; pytest's own handlers come and go on it."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers.copy():
        if isinstance(handler, error_log.LogFileHandler):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "error.log"


def configure(logfile=None, console=False, verbosity="WARNING"):
    error_log.configure(
        LoggingSettings(console, str(logfile) if logfile else None, verbosity, None, "combined")
    )


def records(text):
    """Split a log into records: what starts a line with a time."""
    assert re.match(START, text)
    return re.split(rf"^(?={START})", text, flags=re.MULTILINE)[1:]


# --- where it goes ---


def test_logfile_gets_time_pid_level_and_message(path):
    configure(path)
    logging.getLogger("pyrox.upstream").warning("%s does not answer", "10.0.0.1")
    assert re.fullmatch(START + r"WARNING 10\.0\.0\.1 does not answer\n", path.read_text())
    assert path.read_text().split()[1] == str(os.getpid())


def test_console_is_standard_output(capfd):
    configure(console=True)
    logging.getLogger("pyrox").error("seen")
    out, err = capfd.readouterr()
    assert out.endswith(" ERROR seen\n") and err == ""


def test_console_and_logfile_both_get_everything(path, capfd):
    configure(path, console=True)
    logging.getLogger("some.library").error("seen")
    assert path.read_text() == capfd.readouterr().out != ""


def test_neither_means_standard_error_not_silence(capfd):
    configure()
    logging.getLogger("pyrox").warning("seen")
    out, err = capfd.readouterr()
    assert out == "" and err.endswith(" WARNING seen\n")


@pytest.mark.parametrize(
    ("verbosity", "seen"),
    [("DEBUG", 5), ("INFO", 4), ("WARNING", 3), ("ERROR", 2), ("CRITICAL", 1)],
)
def test_verbosity_is_the_least_level_logged(path, verbosity, seen):
    configure(path, verbosity=verbosity)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logging.getLogger("pyrox").log(level, "x")
    assert len(records(path.read_text())) == seen


def test_configuring_again_replaces_the_old_places_and_leaves_others_handlers(path, tmp_path):
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    before = len(os.listdir("/proc/self/fd"))
    configure(path)
    configure(tmp_path / "new.log")
    logging.getLogger("pyrox").error("x")
    assert path.read_text() == ""
    assert len(records((tmp_path / "new.log").read_text())) == 1
    assert other in logging.getLogger().handlers
    assert len(os.listdir("/proc/self/fd")) == before + 1
    logging.getLogger().removeHandler(other)


def test_logfile_that_cannot_be_opened_raises_and_changes_nothing(path, tmp_path):
    configure(path)
    with pytest.raises(FileNotFoundError):
        configure(tmp_path / "no" / "error.log")
    logging.getLogger("pyrox").error("still here")
    assert "still here" in path.read_text()


# --- gunicorn ---


def test_attached_logger_follows_verbosity_and_loses_its_own_handlers(path, capfd):
    gunicorn = logging.getLogger("gunicorn.test")
    gunicorn.addHandler(logging.StreamHandler())
    gunicorn.propagate = False
    gunicorn.setLevel(logging.INFO)
    configure(path)
    error_log.attach(gunicorn)
    gunicorn.info("Booting worker")
    gunicorn.error("Worker was killed")
    assert [record[-18:] for record in records(path.read_text())] == ["Worker was killed\n"]
    assert capfd.readouterr() == ("", "")


# --- what a record looks like ---


def test_no_text_can_forge_a_record_or_drive_a_terminal(path):
    configure(path)
    evil = "x\n2030-01-01T00:00:00.000+00:00 1 CRITICAL forged\r\x1b[2K\x9b31m\x00"
    try:
        raise ValueError(evil)
    except ValueError:
        logging.getLogger("pyrox").exception("bad target %s", evil)
    text = path.read_text()
    assert len(records(text)) == 1
    assert text.isascii() and all(line.isprintable() for line in text.splitlines())
    assert r"\x0D\x1B[2K\x9B31m\x00" in text


def test_other_languages_and_broken_surrogates_can_be_logged(path):
    configure(path)
    logging.getLogger("pyrox").error("größe → \ud800")
    assert path.read_text(encoding="utf-8").endswith("ERROR größe → \\ud800\n")


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize("arguments", [("%d files", "many"), ("%s", Unprintable()), ("%s %s", 1)])
def test_bad_log_call_costs_neither_an_exception_nor_a_traceback(path, capfd, monkeypatch, arguments):
    with monkeypatch.context() as context:
        context.setattr(logging.getLogger(), "handlers", [])  # pytest's handler raises, to tell its user
        configure(path)
        logging.getLogger("pyrox").warning(*arguments)
        error_log._handlers()[0].close()
    [record] = records(path.read_text())
    assert re.search(r"ERROR (TypeError|RuntimeError) in the log call at .*test_error_log\.py:\d+\n", record)
    assert capfd.readouterr() == ("", "")


# --- what it survives ---


def test_full_disk_is_silent_and_reported_when_it_is_over(path, tmp_path, capfd):
    path.symlink_to("/dev/full")
    configure(path)
    log = logging.getLogger("pyrox")
    log.error("lost")
    log.error("lost\nwith a second line")
    path.unlink()
    path.symlink_to(tmp_path / "real.log")
    error_log.reopen()
    log.error("back")
    log.error("again")
    ends = [
        record.partition(" ERROR ")[2] or record for record in records((tmp_path / "real.log").read_text())
    ]
    assert ends[0] == "back\n" and ends[2:] == ["again\n"]
    assert ends[1].endswith("WARNING error log: writing again; 3 lines were lost\n")
    assert capfd.readouterr() == ("", "")


def test_reopen_follows_the_path_after_a_rotation(path, tmp_path):
    configure(path)
    log = logging.getLogger("pyrox")
    log.error("before")
    os.rename(path, tmp_path / "error.log.1")
    log.error("between")
    error_log.reopen()
    log.error("after")
    assert len(records((tmp_path / "error.log.1").read_text())) == 2
    assert path.read_text().endswith("ERROR after\n")


def test_failed_reopen_is_said_in_the_old_file(tmp_path):
    (tmp_path / "dir").mkdir()
    configure(tmp_path / "dir" / "error.log")
    os.rename(tmp_path / "dir", tmp_path / "moved")
    error_log.reopen()
    assert "WARNING error log: cannot reopen: [Errno 2]" in (tmp_path / "moved" / "error.log").read_text()


def test_removed_file_does_not_disturb(path):
    configure(path)
    path.unlink()
    logging.getLogger("pyrox").error("into the void")
    error_log.reopen()
    logging.getLogger("pyrox").error("here")
    assert [record[-5:] for record in records(path.read_text())] == ["here\n"]


# --- failures ---


def fail(error):
    try:
        raise error
    except Exception as raised:
        error_log.log_failure("request failed", raised)


def test_failure_is_one_record_with_one_traceback(path):
    configure(path)
    fail(KeyError("tenant"))
    [record] = records(path.read_text())
    assert record.partition("\n")[0].endswith(" ERROR request failed")
    assert record.count("Traceback (most recent call last):") == 1
    assert record.endswith("KeyError: 'tenant'\n")


def test_failure_names_the_middleware_that_the_stack_blames(path):
    class Broken(Middleware):
        def __call__(self, request):
            raise ZeroDivisionError("oh")

    app = build_stack([("auth", Middleware), ("counter", Broken)], lambda request: None)
    configure(path)
    try:
        app(Request("GET", "/"))
    except ZeroDivisionError as error:
        error_log.log_failure("request failed", error)
    [record] = records(path.read_text())
    assert record.partition("\n")[0].endswith(" ERROR request failed in middleware 'counter'")


def test_failure_outside_the_stack_names_no_middleware(path):
    configure(path)
    fail(HTTPError(500))
    assert "in middleware" not in path.read_text()
