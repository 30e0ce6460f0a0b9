"""``error_pages``."""

from __future__ import annotations

from pathlib import Path

from stock import Row


def rows(folder: Path) -> list[Row]:
    return [
        Row("error_pages, no error"),
    ]
