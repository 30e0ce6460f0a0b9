"""Whether the proxy is about to end: then it should be sent no more, though it serves whatever comes.

The engine knows; without it, in a unit test or a tool, nothing ends.
"""

from __future__ import annotations

from collections.abc import Callable

Asked = Callable[[], bool]


def _never() -> bool:
    return False


_asked: Asked = _never


def is_about_to_end() -> bool:
    """Return whether the master was told to stop, and no other takes over."""
    return _asked()


def use_departure(asked: Asked | None) -> None:
    """Let ``asked`` say so from now on; None for never. Called by the engine's worker."""
    global _asked
    _asked = asked or _never
