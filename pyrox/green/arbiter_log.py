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
    ``OSError`` after all that can be given were.
    """
    user, group = worker_account(settings.core)
    if user == os.geteuid():
        return
    errors = []
    for path in (settings.logging.logfile, settings.logging.access_log):
        if path is not None and path != "-":
            try:
                LogFile(path).close()
                _give(path, user, group)
            except OSError as error:
                errors.append(str(error))
    if errors:
        raise OSError("; ".join(errors))


def _give(path: str, user: int, group: int) -> None:
    is_pipe = stat.S_ISFIFO(os.stat(path).st_mode)  # as /dev/stdout may be, which is a link
    follow = 0 if is_pipe else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_WRONLY | follow | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            return
        is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if not (stat.S_ISFIFO(status.st_mode) if is_pipe else is_plain):
            raise OSError(f"{path!r} is no file of its own")
        os.fchown(descriptor, user, group)
    finally:
        os.close(descriptor)
