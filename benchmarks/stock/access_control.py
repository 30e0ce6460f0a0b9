"""``access_control``."""

from __future__ import annotations

from pathlib import Path

from stock import Row


def rows(folder: Path) -> list[Row]:
    return [
        Row("access_control, one network denied", "deny = 192.0.2.0/24"),
        Row("access_control, kept from other paths", "deny = 127.0.0.1\npaths = /admin/**,"),
    ]
