"""Stalls: code that keeps a worker's loop from running, named while it does.

A middleware that computes for long, or blocks in C code, stalls every connection of its worker. Nothing in
the worker's Python can tell of it then: a signal handler or a thread needs the interpreter, which a
backtracking regular expression does not let go of. So a thread of C, ``faulthandler``'s, which needs
nothing, writes where the worker is into a file in memory, unless the loop comes by in time to put it off;
and the master, which has the same file open, reads it and says so in the log.
"""

from __future__ import annotations

import faulthandler
import os
import re
import sysconfig
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LONGEST_DUMP = 1 << 20
# The functions of layers are called so by ``build_stack``.
_layer_name = re.compile(r"middleware (['\"])(.*)\1").fullmatch
_frame = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)').fullmatch
_STANDARD_LIBRARY = os.path.join(sysconfig.get_path("stdlib"), "")
_LOOP = os.path.join("gevent", "hub.py")
_ENGINE = os.path.join(os.path.dirname(__file__), "")


class StallRecord:
    """Where one worker writes that it stalls; made by the master before the fork.

    In the worker call ``watch``; in the master ``take``, several times a second, and ``close`` at the end.
    """

    def __init__(self) -> None:
        # Not a pipe: what is too long for one is lost at its end, which is where the main thread stands.
        self._fd = os.memfd_create("pyrox-stalls")
        self._main = f"{threading.main_thread().ident:#018x}"  # the same after the fork
        self._seen = 0
        self._timer: Any = None

    @property
    def is_pending(self) -> bool:
        """Whether something was written that ``take`` has not returned yet."""
        return self._seen > 0

    def watch(self, loop: Any, patience: float) -> None:
        """From now on, record where this process is when ``loop`` does not run for ``patience`` seconds."""
        self._timer = loop.timer(patience / 2, patience / 2)
        self._timer.start(self._put_off, patience)
        self._put_off(patience)

    def _put_off(self, patience: float) -> None:
        faulthandler.dump_traceback_later(patience, file=self._fd)

    def unwatch(self) -> None:
        """Record no more."""
        if self._timer is not None:
            faulthandler.cancel_dump_traceback_later()
            self._timer.close()
            self._timer = None

    def take(self) -> str:
        """Return what to say of what was written, once nothing was added to it since the last call.

        ``""`` when there is nothing.
        """
        size = os.fstat(self._fd).st_size
        is_settled, self._seen = size == self._seen, size
        if not size or not is_settled:
            return ""
        dump = os.pread(self._fd, min(size, _LONGEST_DUMP), 0)
        # Both processes have one position in the file; the next dump begins at its start again.
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._seen = 0
        return describe(dump.decode(errors="replace"), self._main)

    def close(self) -> None:
        """Forget it; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True, slots=True)
class _Frame:
    file: str
    line: str
    function: str

    @property
    def is_standard(self) -> bool:
        """Whether it is a function of Python itself, whose line says little."""
        return self.file.startswith(_STANDARD_LIBRARY) and "site-packages" not in self.file

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def describe(dump: str, main: str) -> str:
    """Return in words where the thread ``main`` of ``dump`` is; ``""`` when it is the engine that it is in.

    The engine computes nothing for long: then the machine was late, or the process was stopped.
    """
    frames = _frames_of(dump, main)
    layer, inside = _innermost_layer(frames)
    where = next((frame for frame in inside if not frame.is_standard), None)
    if where is None or where.file.startswith(_ENGINE) or frames[0].file.endswith(_LOOP):
        return ""
    blame = f"middleware {layer!r} at " if layer else ""
    trace = "\n".join(f"    {frame}" for frame in frames)
    return f"{blame}{where}\n{trace}"


def _frames_of(dump: str, main: str) -> list[_Frame]:
    """Return the frames of one thread, innermost first."""
    _, _, section = dump.partition(f"Thread {main} ")
    lines = section.partition("\n\n")[0].splitlines()[1:]
    return [_Frame(*found.groups()) for line in lines if (found := _frame(line))]


def _innermost_layer(frames: Sequence[_Frame]) -> tuple[str, Sequence[_Frame]]:
    """Return the name of the middleware that runs, ``""`` for none, and the frames that are its own."""
    for depth, frame in enumerate(frames):
        if depth and (layer := _layer_name(frame.function)):
            return layer[2], frames[:depth]
    return "", frames
