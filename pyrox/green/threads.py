"""``run_in_pool``: how ``pyrox.threads`` gets its work done in a worker: in threads of its own.

Not in those of gevent's hub, where names are looked up: a name server that does not answer keeps them all
for half a minute, and no password would be verified and no response coded meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import gevent
from gevent.hub import Hub
from gevent.threadpool import ThreadPool

_THREADS = 10  # of a worker, made when there is work for them; as many as gevent's hub has


def run_in_pool(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` in a thread of the worker's pool and wait for it; others run meanwhile."""
    # gevent prints what is raised in its threads, so it is brought back as a value.
    result, error = _pool_of(gevent.get_hub()).apply(_outcome, (function, args, kwargs))
    if error is not None:
        raise error
    return result


@cache
def _pool_of(hub: Hub) -> ThreadPool:
    return ThreadPool(_THREADS, hub=hub)


def _outcome(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Exception | None]:
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error
