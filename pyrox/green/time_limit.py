"""``limit_time``: how ``pyrox.time_limit`` ends a block in a worker: by an exception in its greenlet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from pyrox.time_limit import TimeIsUp


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Raise ``TimeIsUp`` when the block takes longer than ``seconds``."""
    timeout = gevent.Timeout.start_new(max(seconds, 0.0))
    try:
        yield
    except gevent.Timeout as raised:
        if raised is not timeout:
            raise
        raise TimeIsUp(f"not at its end within {seconds:g} s") from None
    finally:
        timeout.close()
