"""``Wait``: a pause, or a wait for something that is no socket, which the end of an exchange ends, too.

``Interruptible``: code that waits in its own way, and that the end of an exchange ends all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from greenlet import getcurrent

if TYPE_CHECKING:
    from pyrox.green.exchange import LiveExchange


class Wait:
    """Lets one greenlet wait on behalf of ``owner``, None when there is nobody who could give up."""

    def __init__(self, owner: LiveExchange | None) -> None:
        self._owner = owner
        self._event = Event()
        self._failure: BaseException | None = None

    def sleep(self, seconds: float) -> bool:
        """Wait at most ``seconds``, 0 for any time; returns whether ``wake`` was called, since the last time.

        Raises what the exchange was cancelled with.
        """
        owner = self._owner
        if owner is None:
            return self._sleep(seconds)
        if owner.cancelled is not None:
            raise owner.cancelled
        owner.waits += (self,)
        try:
            return self._sleep(seconds)
        finally:
            owner.waits = tuple(wait for wait in owner.waits if wait is not self)

    def wake(self) -> None:
        """End the wait, or the next one."""
        self._event.set()

    def fail(self, error: BaseException) -> None:
        """Make whoever waits raise ``error``."""
        self._failure = error
        self._event.set()

    def _sleep(self, seconds: float) -> bool:
        is_awake = self._event.wait(seconds or None)
        if self._failure is not None:
            raise self._failure
        self._event.clear()
        return bool(is_awake)


class Interruptible:
    """A ``with`` block that raises what ``owner`` is cancelled with, whatever it waits for then."""

    def __init__(self, owner: LiveExchange | None) -> None:
        self._owner = owner
        self._greenlet: Any = None  # that is in the block

    def __enter__(self) -> None:
        owner = self._owner
        if owner is None:
            return
        if owner.cancelled is not None:
            raise owner.cancelled
        self._greenlet = getcurrent()
        owner.waits += (self,)

    def __exit__(self, *_: object) -> None:
        self._greenlet = None
        if self._owner is not None:
            self._owner.waits = tuple(wait for wait in self._owner.waits if wait is not self)

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` in the block."""
        gevent.get_hub().loop.run_callback(self._throw, error)

    def _throw(self, error: BaseException) -> None:
        if self._greenlet is not None:
            self._greenlet.throw(error)
