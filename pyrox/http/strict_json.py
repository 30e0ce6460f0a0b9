"""JSON (RFC 8259) that everybody reads alike, or not at all.

Who changes a document on its way decides about what the next one reads, so whatever parsers disagree on
is refused: a name that stands twice in an object, NaN and Infinity, numbers beyond a double's range,
bytes that are not UTF-8, nesting that makes the next parser fail.
"""

from __future__ import annotations

import json
import marshal
from typing import Any, NoReturn

# .NET's System.Text.Json takes 64 levels, PHP 512; Python's own reader and any function that walks down
# a document fails at some hundreds.
MOST_LEVELS = 128


def load_json(data: bytes) -> Any:
    """Decode a document; a byte order mark before it is ignored (RFC 8259 8.1).

    Raises ``ValueError`` when it is no JSON, or such that readers may disagree about it.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object_of,
            parse_float=_float_of,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels") from None
    if data.count(b"[") + data.count(b"{") > MOST_LEVELS:
        _check_depth(value)
    return value


def dump_json(value: Any) -> bytes:
    """Encode ``value`` without white space; raises ``TypeError`` or ``ValueError`` when it is no JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can only write as an escape
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def json_digest(value: Any) -> bytes | None:
    """Return what is equal for values that make the same document; None for what makes none.

    To tell whether somebody changed ``value``: marshal takes a fifth of the time that JSON does. Its version
    2 is the last that writes a value the same whoever else refers to it.
    """
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        return None


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has two members of the same name")
    return members


def _float_of(text: str) -> float:
    value = float(text)
    if value - value != 0.0:  # infinite
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer if type(outer) is list else ())
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels")
