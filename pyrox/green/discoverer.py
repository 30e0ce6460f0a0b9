"""``Discoverer``: asks each source which servers there are, in a greenlet of its own, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from random import random
from time import monotonic

import gevent
from gevent.event import Event

from pyrox.error_log import log_failure
from pyrox.upstreams.discovery import Discovery, Source

# Workers, and hosts, that have started together do not ask together for long.
_JITTER = 0.1
# Seconds that a start waits for an answer when it could do with what was found last.
_PATIENCE = 1.0


class Discoverer:
    """The sources of all clusters of one worker."""

    def __init__(self, discoveries: Sequence[Discovery]) -> None:
        self._sources = [source for discovery in discoveries for source in discovery.sources]
        self._greenlets: list[gevent.Greenlet] = []

    def start(self, timeout: float) -> None:
        """Ask each source, and wait until all have been asked, but no longer than ``timeout`` seconds.

        For those that have not answered soon, what was found last will do.
        """
        first = [Event() for _ in self._sources]
        for source, asked in zip(self._sources, first, strict=True):
            self._greenlets.append(gevent.spawn(_run, source, asked))
        gevent.wait(first, timeout=min(timeout, _PATIENCE))
        for source in self._sources:
            source.recall(monotonic())
        unknown = [asked for source, asked in zip(self._sources, first, strict=True) if not source.found]
        gevent.wait(unknown, timeout=max(timeout - _PATIENCE, 0.0))

    def close(self) -> None:
        """Ask no more."""
        gevent.killall(self._greenlets, block=False)
        for source in self._sources:
            try:
                source.resolver.close()
            except Exception as error:
                log_failure(f"closing the resolver {source.name} failed", error)


def _run(source: Source, asked: Event) -> None:
    pause = _refresh(source)
    asked.set()
    while True:
        gevent.sleep(pause * (1.0 - _JITTER * random()))
        pause = _refresh(source)


def _refresh(source: Source) -> float:
    try:
        return source.refresh(monotonic)
    except (gevent.Timeout, SystemExit) as error:  # its resolver's own, which are no reason to ask no more
        return source.failed(error)
