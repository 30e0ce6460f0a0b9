"""``WatchedFile``: a file of an operator's, parsed anew when it changes while the proxy runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar

log = logging.getLogger("pyrox.middleware")

T = TypeVar("T")

_INTERVAL = 1.0  # seconds between two looks at the file


class WatchedFile(Generic[T]):
    """What ``parse`` makes of the bytes at ``path``; ``current()`` is the newest that was good.

    At most once a second a call looks whether the file is another one. It is taken when two looks in a row
    have seen the same: a tool that writes into the file in place is then done with it. Whoever asks gets
    either all of the old or all of the new. A file that is gone or that ``parse`` refuses changes nothing
    and is told in the log, once.

    Raises ``ValueError`` that begins with ``option`` when the file cannot be read, or parsed, at first.
    """

    def __init__(
        self, option: str, path: Path, parse: Callable[[bytes], T], clock: Callable[[], float] = monotonic
    ) -> None:
        self._path = path
        self._parse = parse
        self._clock = clock
        self._seen = self._pending = _look(path)  # first, so that what changes now is new later
        try:
            self._value = parse(path.read_bytes())
        except OSError as error:
            raise ValueError(f"{option}: {path}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{option}: {path}: {error}") from None
        self._next_look = clock() + _INTERVAL

    def current(self) -> T:
        """Return what the file says, as of some two seconds ago."""
        if self._clock() >= self._next_look:
            self._next_look = self._clock() + _INTERVAL
            found = _look(self._path)
            if found != self._seen and found == self._pending:
                self._seen = found
                self._take()
            self._pending = found
        return self._value

    def _take(self) -> None:
        try:
            self._value = self._parse(self._path.read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            log.error("%s: %s; what it said before stays in use", self._path, reason)
        else:
            log.info("%s has changed and is used from now on", self._path)


def _look(path: Path) -> tuple[int, ...] | None:
    """Return what tells one state of the file from another; None when there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
