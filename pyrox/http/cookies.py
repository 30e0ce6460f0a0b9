"""The Cookie field: one of its cookies found, or taken out (RFC 6265 4.2)."""

from __future__ import annotations

from pyrox.http.headers import Field, Headers


def find_cookie(headers: Headers, name: bytes) -> bytes | None:
    """Return the value of the first cookie called ``name``, as sent, or None."""
    for field in headers.fields:
        if field[0] == b"cookie" and name in field[2]:
            for pair in field[2].split(b";"):
                key, _, value = pair.partition(b"=")
                if key.strip() == name:
                    return value.strip()
    return None


def take_cookie(headers: Headers, name: bytes) -> bytes | None:
    """Do as ``find_cookie``, and remove every cookie of that name; the others stay as they were sent."""
    value = find_cookie(headers, name)
    if value is not None:
        headers.fields = [kept for field in headers.fields if (kept := _without(field, name)) is not None]
    return value


def _without(field: Field, name: bytes) -> Field | None:
    if field[0] != b"cookie" or name not in field[2]:
        return field
    pairs = [pair.strip() for pair in field[2].split(b";")]
    kept = [pair for pair in pairs if pair and pair.partition(b"=")[0].strip() != name]
    return (field[0], field[1], b"; ".join(kept)) if kept else None
