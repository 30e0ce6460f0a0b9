"""``Background``: a daemon whose starter waits until it serves, and learns when it does not."""

from __future__ import annotations

import contextlib
import os
import sys

_FAILED = 1


class Background:
    """Leaves the terminal; ``serving()`` lets the command that was typed end with status 0.

    Whoever started the daemon waits for that, so ``pyrox --daemon && curl ...`` works, and an init script
    sees a start that failed.
    """

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        if os.fork():
            os.close(self._writer)
            _wait_for_daemon(reader)
        os.close(reader)
        os.setsid()
        if os.fork():  # no longer the session's leader, it can get no terminal again
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)

    def serving(self) -> None:
        """Tell the starter that the workers serve; a second call does nothing."""
        if self._writer >= 0:
            with contextlib.suppress(BrokenPipeError):  # the starter was interrupted
                os.write(self._writer, b"\0")
            os.close(self._writer)
            self._writer = -1


def _wait_for_daemon(reader: int) -> None:
    if os.read(reader, 1):
        os._exit(0)
    print("pyrox: the daemon ended before it could serve; its log says why", file=sys.stderr, flush=True)
    os._exit(_FAILED)
