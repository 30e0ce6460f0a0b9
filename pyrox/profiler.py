"""``Profiler``: where the CPU time of one process goes, by stack, also when greenlets take turns.

``cProfile`` pairs calls with returns. A greenlet that waits leaves its calls open while others run, so
that the time of the others becomes its own: a function that only sleeps is charged with everything that
happens meanwhile. A sample cannot be wrong in this way. The kernel's timer of CPU time sends SIGPROF, and
Python hands the handler the frame that runs: the top of a stack that is whole and the running greenlet's.
Each sample is weighed with the CPU time that the thread has spent since the last one, so waiting costs
nothing, and it does not matter how regularly the signal comes (every 1 to 10 ms of CPU time).
"""

from __future__ import annotations

import contextlib
import logging
import marshal
import os
import signal
import sys
from collections.abc import Iterator
from itertools import pairwise
from time import thread_time_ns
from types import CodeType, FrameType

from pyrox.settings import CoreSettings

log = logging.getLogger("pyrox")

Stack = tuple[CodeType, ...]  # innermost first
Function = tuple[str, int, str]  # what pstats knows a function by: file, first line, name
Cost = tuple[int, int, float, float]  # samples twice, seconds in the function, seconds below it too

_INTERVAL = 0.001  # seconds; the kernel rounds it up to its tick


@contextlib.contextmanager
def profiling(core: CoreSettings) -> Iterator[None]:
    """Profile the block, where ``enable_profiling`` asks for it, and say at its end where the files are."""
    if not core.enable_profiling:
        yield
        return
    profiler = Profiler()
    profiler.start()
    log.warning("this worker is profiled")
    try:
        yield
    finally:
        profiler.stop()
        try:
            written = profiler.write(core.profile_dir or os.curdir)
        except OSError as error:
            log.error("the profile cannot be written: %s", error)
        else:
            log.warning("profile written to %s", " and ".join(map(os.path.abspath, written)))


class Profiler:
    """Samples the main thread from ``start`` to ``stop``; its memory grows with the number of stacks."""

    def __init__(self) -> None:
        self._costs: dict[Stack, tuple[int, int]] = {}  # samples, nanoseconds
        self._last = 0

    def start(self) -> None:
        """Start sampling; to be called in the main thread."""
        self._last = thread_time_ns()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)

    def stop(self) -> None:
        """Stop sampling."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)  # one may be on its way, and would end the process

    def write(self, directory: str) -> tuple[str, str]:
        """Write the profile for ``pstats`` and the stacks for a flame graph; returns both paths.

        Raises ``OSError`` when a file cannot be written.
        """
        base = os.path.join(directory, f"pyrox-{os.getpid()}")
        paths = f"{base}.pstats", f"{base}.folded"
        with open(paths[0], "wb") as file:
            marshal.dump(self._statistics(), file)
        with open(paths[1], "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(self._folded())
        return paths

    def _sample(self, _: int, frame: FrameType | None) -> None:
        now = thread_time_ns()
        codes = []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        stack = tuple(codes)
        samples, spent = self._costs.get(stack, (0, 0))
        self._costs[stack] = samples + 1, spent + now - self._last
        self._last = now

    def _statistics(self) -> dict[Function, tuple[int, int, float, float, dict[Function, Cost]]]:
        """Return what ``cProfile`` would save; in place of calls it counts samples."""
        own: dict[Function, Cost] = {}
        callers: dict[Function, dict[Function, Cost]] = {}
        for stack, (samples, spent) in self._costs.items():
            functions, seconds = [_function_of(code) for code in stack], spent / 1e9
            leaf = functions[0]
            for function in set(functions):
                _add(own, function, samples, seconds * (function == leaf), seconds)
            # A pair of a recursion stands in the stack more than once, and is counted once.
            for number, (function, caller) in enumerate(dict.fromkeys(pairwise(functions))):
                _add(callers.setdefault(function, {}), caller, samples, seconds * (not number), seconds)
        return {function: (*cost, callers.get(function, {})) for function, cost in own.items()}

    def _folded(self) -> Iterator[str]:
        """Yield a line for each stack: its functions, outermost first, and its microseconds."""
        names: dict[CodeType, str] = {}
        for stack, (_, spent) in self._costs.items():
            for code in stack:
                names.setdefault(code, _name_of(code))
            yield f"{';'.join(names[code] for code in reversed(stack))} {round(spent / 1000)}\n"


def _add(costs: dict[Function, Cost], function: Function, samples: int, own: float, total: float) -> None:
    count, _, own_before, total_before = costs.get(function, (0, 0, 0.0, 0.0))
    costs[function] = count + samples, count + samples, own_before + own, total_before + total


def _function_of(code: CodeType) -> Function:
    return code.co_filename, code.co_firstlineno, code.co_qualname


def _name_of(code: CodeType) -> str:
    """Return ``Class.method (package/module.py:12)``, without what separates frames and their costs."""
    path = code.co_filename
    inside = max((len(entry) for entry in sys.path if entry and path.startswith(entry + os.sep)), default=-1)
    return f"{code.co_qualname} ({path[inside + 1 :]}:{code.co_firstlineno})".replace(";", ",").replace(
        "\n", " "
    )
