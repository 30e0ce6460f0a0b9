"""Loggers of old filters speak through the error log; the version has one source."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrox
from pyrox import about, error_log, log
from pyrox.settings import LoggingSettings


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers.copy()
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@pytest.mark.parametrize("get_logger", [log.get_logger, log.getLogger])
def test_any_logger_reaches_the_error_log_at_its_verbosity(get_logger: object, tmp_path: Path) -> None:
    assert callable(get_logger)
    early = get_logger("myfilters.auth")  # at import, before the error log is configured
    error_log.configure(LoggingSettings(False, str(tmp_path / "x.log"), "INFO", None, "combined"))
    early.debug("unheard")
    early.info("let in %s", "ada")
    get_logger("").error("somebody")
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert [line.partition(" INFO ")[2] or line.partition(" ERROR ")[2] for line in lines] == [
        "let in ada",
        "somebody",
    ]


def test_asking_twice_gives_the_same_logger() -> None:
    assert log.get_logger("myfilters.auth") is log.getLogger("myfilters.auth")


def test_version_is_the_package_s() -> None:
    assert pyrox.__version__ == about.VERSION
