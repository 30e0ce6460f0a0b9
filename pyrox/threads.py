"""Real threads, for work that would stall a worker: C code that computes for long and lets go of the GIL.

Everything else may block its greenlet and nobody notices. Password hashing, compression and the like do
not switch greenlets while they compute, so they stall every connection of the worker: hand them over.
The engine says how; without it, in a unit test or a tool, the work is done at once and in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Runner = Callable[..., Any]  # calls a function with arguments somewhere else, and returns its result


def _in_place(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


_run: Runner = _in_place


def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return ``function(*args, **kwargs)``, computed in a thread while other greenlets run.

    Worth it from some 100 us of computing on: the way there and back costs about 50. Raises what the
    function raises. The function must not touch what belongs to greenlets: no requests, no sockets.
    """
    result: T = _run(function, *args, **kwargs)
    return result


def use_runner(run: Runner | None) -> None:
    """Let ``run`` do the work from now on; None for in place. Called by the engine's worker."""
    global _run
    _run = run or _in_place
