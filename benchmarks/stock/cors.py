"""``cors``."""

from __future__ import annotations

from pathlib import Path

from stock import Row


def rows(folder: Path) -> list[Row]:
    return [
        Row("cors, no Origin", "origins = https://a.example"),
        Row("cors, exact origin", "origins = https://a.example", fields="Origin: https://a.example"),
        Row("cors, sub-domain", "origins = https://*.a.example", fields="Origin: https://b.a.example"),
        Row("cors, pattern", "origins = 're:https://[a-z]+.a.example'", fields="Origin: https://b.a.example"),
    ]
