"""``rate_limit``, in memory that is shared as among workers: with its locks."""

from __future__ import annotations

from pathlib import Path

from pyrox.shared_memory import keep_shared_memory
from stock import Row

QUOTA = "100000000/day"


def rows(folder: Path) -> list[Row]:
    keep_shared_memory({})
    bucket = f"policies = {QUOTA} per client using token_bucket"
    return [
        Row("rate_limit, sliding window", f"policies = {QUOTA} per client", calls=100),
        Row("rate_limit, without fields", f"policies = {QUOTA} per client\nfields = no", calls=100),
        Row("rate_limit, token bucket", bucket, calls=100),
        Row(
            "rate_limit, three policies",
            f"policies = {QUOTA} per client, {QUOTA} per header:Cookie, {QUOTA}",
            calls=100,
        ),
    ]
