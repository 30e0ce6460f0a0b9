"""``Crew``: greenlets that serve one client connection after another.

A connection with one request took 84 us when each had a new greenlet, and takes 69: CPython maps memory for
its frames, the kernel fills it with zeros at the first touch, and both are undone at the end. So those that
are done wait here for the next connection, as threads do in a pool. What belonged to the connection before is
forgotten: context variables, attributes of the greenlet, and gevent's locals of a tree of greenlets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from greenlet import getcurrent, greenlet

# Greenlets that may wait for work: a burst's worth. One holds about 20 KiB.
_MOST_IDLE = 64


class Crew:
    """Runs each job in a greenlet of its own, a new one only when none is idle."""

    def __init__(self) -> None:
        self._idle: list[greenlet] = []
        hub = gevent.get_hub()
        self._run_callback = hub.loop.run_callback
        self._wait = hub.switch

    def run(self, job: Callable[..., object], *arguments: Any) -> None:
        """Start ``job`` soon, as ``gevent.spawn_raw`` does. What it raises ends its greenlet."""
        if self._idle:
            self._run_callback(self._hand_over, self._idle.pop(), job, arguments)
        else:
            gevent.spawn_raw(self._serve, [(job, arguments)])

    def _hand_over(self, idle: greenlet, job: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        if idle.dead:  # since it was chosen
            self.run(job, *arguments)
        else:
            idle.switch(job, arguments)

    def _serve(self, first: list[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
        me = getcurrent()
        own = me.__dict__
        me.__dict__ = own.copy()
        job, arguments = first.pop()  # what a greenlet is started with lives as long as it does
        while True:
            job(*arguments)
            if len(self._idle) >= _MOST_IDLE:
                return
            del arguments  # nothing of a connection lives on in one that waits
            me.gr_context = None
            me.__dict__ = {**own, "spawn_tree_locals": {}}
            job, arguments = self._next(me)

    def _next(self, me: greenlet) -> tuple[Callable[..., object], tuple[Any, ...]]:
        self._idle.append(me)
        try:
            job, arguments = self._wait()
        except BaseException:
            # Something from before, such as a timeout that was never cancelled, has found it.
            if me in self._idle:
                self._idle.remove(me)
            raise
        return job, arguments
