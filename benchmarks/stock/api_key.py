"""``api_key``."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from stock import Row

KEYS = f"[[[keys]]]\nacme = {sha256(b'k3y').hexdigest()}, role:reader"


def rows(folder: Path) -> list[Row]:
    return [
        Row("api_key, in a field", KEYS, "X-API-Key: k3y"),
        Row("api_key, in the query", f"header =\nquery = key\n{KEYS}", target="/v1/items/17?full=1&key=k3y"),
        Row("api_key, optional and nobody", f"optional = yes\n{KEYS}"),
    ]
