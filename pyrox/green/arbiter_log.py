"""``ArbiterLog``: gunicorn's messages through Pyrox's handlers, in files that the workers may write."""

from __future__ import annotations

import os
import stat
from typing import Any

from gunicorn.glogging import Logger

from pyrox import error_log
from pyrox.accounts import worker_account
from pyrox.log_file import LogFile
from pyrox.settings import Settings


class ArbiterLog(Logger):  # type: ignore[misc]
    """The logger that gunicorn asks for; ``cfg.pyrox`` is Pyrox's settings."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn at start and at reload."""
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        error_log.configure(cfg.pyrox.logging)
        error_log.attach(self.error_log)

    def reopen_files(self) -> None:
        """USR1: reopen the error log."""
        error_log.reopen()


def give_logs_to_workers(settings: Settings) -> None:
    """Make the log files the workers' own: they reopen them after a rotation, without root's rights.

    A file that is somebody else's on purpose stays so when it is not root's. Neither a link nor a file with
    two names is given away: whoever may write to the folder could have put another file's there. Raises
    ``OSError``.
    """
    user, group = worker_account(settings.core)
    if user == os.geteuid():
        return
    for path in (settings.logging.logfile, settings.logging.access_log):
        if path is not None and path != "-":
            LogFile(path).close()
            _give(path, user, group)


def _give(path: str, user: int, group: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            return
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise OSError(f"{path!r} is no file of its own")
        os.fchown(descriptor, user, group)
    finally:
        os.close(descriptor)
