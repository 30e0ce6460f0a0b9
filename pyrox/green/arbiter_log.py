"""``ArbiterLog``: gunicorn's messages through Pyrox's handlers, in files that the workers may write."""

from __future__ import annotations

import os
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

    A file that is somebody else's on purpose stays so when it is not root's. Raises ``OSError``.
    """
    user, group = worker_account(settings.core)
    if user == os.geteuid():
        return
    for path in (settings.logging.logfile, settings.logging.access_log):
        if path is not None and path != "-":
            LogFile(path).close()
            if os.stat(path).st_uid == os.geteuid():
                os.chown(path, user, group)
