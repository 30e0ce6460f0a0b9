"""``Place``: where in the configuration the middleware stands that is being made.

Its section names what it keeps beyond the process, so that two sections do not count in each other's books.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """``section``: its ``[[name]]``; ``route``: in whose stack it stands, None in that of all requests."""

    section: str
    route: str | None = None


_current: ContextVar[Place | None] = ContextVar("place", default=None)


def current_place() -> Place | None:
    """Return where the middleware stands whose constructor runs; None when no configuration says so."""
    return _current.get()


@contextmanager
def placed(place: Place) -> Iterator[None]:
    """Let ``current_place`` answer ``place`` in this block."""
    token = _current.set(place)
    try:
        yield
    finally:
        _current.reset(token)
