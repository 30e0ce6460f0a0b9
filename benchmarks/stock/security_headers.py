"""``security_headers``."""

from __future__ import annotations

from pathlib import Path

from stock import Row


def rows(folder: Path) -> list[Row]:
    return [
        Row("security_headers"),
    ]
