"""``in_flight``, in memory that is shared as among workers: with its locks."""

from __future__ import annotations

from pathlib import Path

from pyrox.shared_memory import keep_shared_memory
from stock import Row


def rows(folder: Path) -> list[Row]:
    keep_shared_memory({})
    return [
        Row("in_flight, one limit", "limits = 1000 per client", calls=100),
        Row("in_flight, two limits", "limits = 1000 per client, 100000", calls=100),
    ]
