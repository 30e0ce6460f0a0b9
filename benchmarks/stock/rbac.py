"""``rbac``."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from stock import Row

KEY = ("api_key", f"[[[keys]]]\nacme = {sha256(b'k3y').hexdigest()}, role:reader")
FIELD = "X-API-Key: k3y"


def rows(folder: Path) -> list[Row]:
    more = "\n".join(f"GET /v1/things{number}/* = role:admin" for number in range(50))
    last = "GET|HEAD /v1/items/* = role:reader\n/** = nobody"
    return [
        Row("rbac, two rules", f"[[[rules]]]\n{last}", FIELD, outer=(KEY,)),
        Row("rbac, 52 rules", f"[[[rules]]]\n{more}\n{last}", FIELD, outer=(KEY,)),
        Row("rbac, a path with two readings", f"[[[rules]]]\n{last}", FIELD, "/v1/items/a;b", outer=(KEY,)),
    ]
