"""``basic_auth``."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from stock import Row

SECRET = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # as fast as a hash can be: what is left is the way to it


def rows(folder: Path) -> list[Row]:
    users = folder / "htpasswd"
    users.write_text(f"ada:{SECRET}\n")
    pair = f"Authorization: Basic {b64encode(b'ada:secret').decode()}"
    return [
        Row("basic_auth, pair known", f"file = {users}", pair),
        Row("basic_auth, pair new, without its hash", f"file = {users}\nremember = 0", pair, calls=200),
        Row("basic_auth, optional and nobody", f"file = {users}\noptional = yes"),
    ]
