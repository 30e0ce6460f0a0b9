"""``EmptyFilter`` has no handlers."""

from __future__ import annotations

from pyrox.compat_handlers import STAGES, handlers_of
from pyrox.stock_filters.empty import EmptyFilter


def test_it_handles_nothing() -> None:
    assert handlers_of(EmptyFilter) == dict.fromkeys(STAGES, ())
