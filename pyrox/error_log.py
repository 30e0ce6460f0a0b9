"""The error log: where ``logging`` goes, and how it behaves when it cannot.

A proxy's error log is read when things are bad, so it must be the last thing to fail: a full disk, a
removed file or a wrong ``%s`` in somebody's log call costs lines, never an exception and never a
traceback about logging itself. Each record starts a line with time, process id and level; what follows
its first line is indented, and control characters are escaped, so that no client can forge a record.

With neither ``console`` nor ``logfile`` the log goes to standard error. A proxy that fails silently
cannot be operated, and standard output may belong to the access log.
"""

from __future__ import annotations

import logging
from datetime import datetime

from pyrox.log_file import LogFile
from pyrox.settings import LoggingSettings

_STDOUT = 1
_STDERR = 2
_INDENT = "\n    "
# C0, DEL and C1: what ends a line or drives a terminal.
_CONTROLS = {code: f"\\x{code:02X}" for code in (*range(0x20), *range(0x7F, 0xA0))}

_log = logging.getLogger("pyrox")


class LineFormatter(logging.Formatter):
    """``2000-10-10T13:55:36.123-07:00 4711 WARNING what happened``, then the traceback, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(process)d %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines, without the last newline; never raises."""
        try:
            text = super().format(record)
        except Exception as error:  # arguments that do not fit the message; whose call it was helps more
            place = f"{record.pathname}:{record.lineno}"
            kind = type(error).__name__
            text = f"{self.formatTime(record)} {record.process} ERROR {kind} in the log call at {place}"
        return _INDENT.join(line.translate(_CONTROLS) for line in text.split("\n"))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's local time in RFC 3339; ``datefmt`` is not used."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


class LogFileHandler(logging.Handler):
    """Writes records to a ``LogFile``, which it owns."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self.file = file
        self.is_open = True
        self.setFormatter(LineFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``; what cannot be written is counted, and reported once something can be."""
        lines = self.format(record) + "\n"
        try:
            self.file.append(lines.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # there is no place left to say so; LogFile has counted the lines
        if self.file.lost and not self.file.has_pending:
            lost, self.file.lost = self.file.lost, 0
            _log.warning("error log: writing again; %d lines were lost", lost)

    def close(self) -> None:
        """Close the file."""
        self.is_open = False
        self.file.close()
        super().close()


def configure(settings: LoggingSettings) -> None:
    """Send every logger's records of at least ``verbosity`` to the configured places.

    Calling it again replaces what it set before, for a reload; handlers that others added stay. Raises
    ``OSError`` when the log file cannot be opened; then nothing has changed.
    """
    targets: list[str | int] = [settings.logfile] if settings.logfile else []
    if settings.console:
        targets.append(_STDOUT)
    handlers = [LogFileHandler(LogFile(target)) for target in targets or [_STDERR]]
    root = logging.getLogger()
    for old in _handlers():
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(settings.verbosity)


def reclaim(settings: LoggingSettings) -> None:
    """Configure again if imported code has taken the log away, as a filter's ``logging.config`` does.

    That closes every handler, also those it leaves, and by default disables every logger there was. What
    it has set up itself stays. Raises ``OSError`` as ``configure``.
    """
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in ("pyrox", "gunicorn"):
            logger.disabled = False
    handlers = _handlers()
    if not handlers or not all(handler.is_open for handler in handlers):
        configure(settings)


def attach(logger: logging.Logger) -> None:
    """Make ``logger`` speak through the error log, at its verbosity, and nowhere else.

    For loggers that bring their own handlers and level, as ``gunicorn.error`` does: its Logger class
    sets them anew in each ``setup()``, so call this after that.
    """
    for handler in logger.handlers.copy():
        logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def reopen() -> None:
    """Open the log file anew under its path, so that a rotated one can be moved away."""
    for handler in _handlers():
        try:
            handler.file.reopen()
        except OSError as error:
            _log.warning("error log: cannot reopen: %s; still writing to the old file", error)


def log_failure(message: str, error: BaseException) -> None:
    """Log an exception that nobody expected, once, with its traceback and the middleware it is from.

    ``message`` says what failed, without the error: ``"request failed"``. The stack leaves the
    middleware's name on the exception; see ``pyrox.middleware.stack.build_stack``.
    """
    middleware = getattr(error, "middleware", None)
    where = f" in middleware {middleware!r}" if middleware else ""
    _log.error("%s%s", message, where, exc_info=error)


def _handlers() -> list[LogFileHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LogFileHandler)]
