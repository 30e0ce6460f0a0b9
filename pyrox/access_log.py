"""``AccessLog``: one line for each exchange, kept in memory for at most a second.

Writing a line costs a fifth of a system call's price because a call takes many of them. The price of
that is here too: what to do when the call fails. An access log must never cost an answer, so lines
that a full disk refuses are counted and dropped, and the error log says so once.
"""

from __future__ import annotations

import logging

from pyrox.exchange import Exchange
from pyrox.log_file import LogFile
from pyrox.log_format import compile_format, validate_format

__all__ = ["AccessLog", "validate_format"]

_STDOUT = 1
_MAX_LINES = 256
# Escaping makes four bytes of one: heads of 32 KiB must not add up to 256 lines of 128.
_LONG_LINE = 8192

_log = logging.getLogger("pyrox.access_log")


class AccessLog:
    """The access log of one worker; make it after the fork.

    * ``path``: a file that is appended to, ``-`` for standard output, None or ``""`` for no log.
    * ``format``: ``combined``, ``json`` or text with ``$name`` fields; see docs/access_log.md.
    * ``server_name``: what the field ``$server_name`` stands for.

    ``is_enabled`` is False when there is no log, or not any more: ``write`` does nothing then.
    Call ``flush()`` each second, ``reopen()`` after a rotation and ``close()`` at the end; only the
    constructor raises: ``OSError`` when the file cannot be opened, ``ValueError`` for a bad format.
    """

    def __init__(self, path: str | None, format: str, server_name: str = "pyrox") -> None:
        self._render = compile_format(format, server_name)
        self._lines: list[bytes] = []
        self._is_failing = False
        self._file = LogFile(_STDOUT if path == "-" else path) if path else None
        self.is_enabled = self._file is not None

    def write(self, exchange: Exchange) -> None:
        """Add the line of a finished exchange; the next ``flush`` writes it, or the 256th line."""
        if self._file is None:
            return
        line = self._render(exchange)
        lines = self._lines
        lines.append(line)
        if len(lines) >= _MAX_LINES or len(line) > _LONG_LINE:
            self.flush()

    def flush(self) -> None:
        """Write the lines kept so far; those the system does not take are lost, and counted."""
        if self._file is None or not (self._lines or self._file.has_pending):
            return
        lines, self._lines = self._lines, []
        try:
            self._file.append(b"".join(lines))
        except OSError as error:
            self._report_outage(self._file, error)
        else:
            self._report_recovery(self._file)

    def reopen(self) -> None:
        """Open the file anew under its path, so that a rotated one can be moved away."""
        if self._file is None:
            return
        self.flush()
        try:
            self._file.reopen()
        except OSError as error:
            _log.warning("access log: cannot reopen: %s; still writing to the old file", error)

    def close(self) -> None:
        """Write what is left and close the file; a second call does nothing."""
        if self._file is None:
            return
        self.flush()
        file, self._file, self.is_enabled = self._file, None, False
        file.close()
        if file.lost:
            _log.warning("access log: closed; %d lines were lost", file.lost)

    def _report_outage(self, file: LogFile, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.warning("access log: %s; %d lines lost so far", error.strerror, file.lost)

    def _report_recovery(self, file: LogFile) -> None:
        if self._is_failing and not file.has_pending:
            self._is_failing = False
            lost, file.lost = file.lost, 0
            _log.warning("access log: writing again; %d lines were lost", lost)
