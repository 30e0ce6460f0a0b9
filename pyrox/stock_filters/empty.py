"""``EmptyFilter``: no handlers. It fills a place in a pipeline, or a class is made of it."""

from __future__ import annotations

import pyrox.filtering as filtering


class EmptyFilter(filtering.HttpFilter):
    """Sees nothing and changes nothing."""
