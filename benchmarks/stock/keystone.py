"""``keystone``; what the service computes is not in it."""

from __future__ import annotations

import json
from pathlib import Path

from stock import Row
from stock._service import ok, serve

DOMAIN = {"id": "default", "name": "Default"}
TOKEN = {
    "methods": ["password"],
    "user": {"id": "b1f2c3", "name": "ada", "domain": DOMAIN},
    "project": {"id": "p-1", "name": "demo", "domain": DOMAIN},
    "roles": [{"id": "r-1", "name": "member"}, {"id": "r-2", "name": "reader"}],
    "issued_at": "2026-01-01T00:00:00.000000Z",
    "expires_at": "2999-01-01T00:00:00.000000Z",
}


def rows(folder: Path) -> list[Row]:
    # The same for the sign-in and for each token.
    url = serve(ok(json.dumps({"token": TOKEN}).encode(), "X-Subject-Token: own"))
    options = f"url = {url}\nuser = pyrox\npassword = s3cret"
    token = "X-Auth-Token: gAAAAABm0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
    return [
        Row("keystone, token known", options, token),
        Row("keystone, asked", f"{options}\ncache_ttl = 0", token, calls=200),
    ]
