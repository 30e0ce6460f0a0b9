"""What filters print: it is seen at once, and never gets into the way of what they do."""

from __future__ import annotations

import sys
from contextlib import suppress
from io import RawIOBase, TextIOWrapper
from typing import Any

from pyrox.log_file import LogFile


class _Printed(RawIOBase):
    """Standard output, to which a write neither fails nor waits for the reader of a pipe."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._file = LogFile(descriptor)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        # A reader that has gone is told so by the access log and the error log; a filter can not help it.
        with suppress(OSError):
            self._file.append(bytes(data))
        return len(data)


def print_at_once() -> None:
    """Let what a filter prints be seen while it runs: Python holds up to 8 KiB back from a file or a pipe.

    A character that the terminal's encoding lacks, or a pipe whose reader has gone or stands still, must
    be no exception in the filter, which would reject every request.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # it may be None, or somebody's own
        sys.stdout.flush()
        printed = _Printed(sys.stdout.fileno())
        encoding = sys.stdout.encoding
        sys.stdout = TextIOWrapper(printed, encoding, "backslashreplace", line_buffering=True)
