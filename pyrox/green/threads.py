"""``run_in_pool``: how ``pyrox.threads`` gets its work done in a worker: in the threads of gevent's hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent


def run_in_pool(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` in a thread of the hub's pool and wait for it; others run meanwhile."""
    # gevent prints what is raised in its threads, so it is brought back as a value.
    result, error = gevent.get_hub().threadpool.apply(_outcome, (function, args, kwargs))
    if error is not None:
        raise error
    return result


def _outcome(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Exception | None]:
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error
