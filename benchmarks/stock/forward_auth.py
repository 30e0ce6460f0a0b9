"""``forward_auth``; what the service computes is not in it."""

from __future__ import annotations

from pathlib import Path

from stock import Row
from stock._service import ok, serve


def rows(folder: Path) -> list[Row]:
    url = serve(ok(b"", "Remote-User: ada", "Remote-Groups: editors"))
    options = f"url = {url}\ncopy_headers = Remote-User, Remote-Groups\nuser_from = Remote-User"
    return [
        Row("forward_auth, asked", options, calls=200),
        Row("forward_auth, answer known", f"{options}\ncache_ttl = 3600"),
    ]
