"""``body_limit``."""

from __future__ import annotations

from pathlib import Path

from stock import Row


def rows(folder: Path) -> list[Row]:
    return [
        Row("body_limit, no body", "request = 1m\nresponse = 1m"),
        Row("body_limit, by media type", "request = 1m\n[[[response_types]]]\napplication/json = 1m"),
    ]
