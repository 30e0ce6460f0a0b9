"""Proofs that an answer belongs to its request, and is whole: what went wrong, or ``""``.

Each request carries a token that no other has, and what comes back is a function of it, so that an answer
that was crossed with another's, cut off, doubled or mixed up cannot pass.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random

_PIECE = 65536
_prefix = os.urandom(6).hex()
_count = itertools.count(1)


def new_token() -> str:
    """Return a text that nobody else uses."""
    return f"{_prefix}-{next(_count)}"


def size_between(least: int, most: int) -> int:
    """Return a size, small ones as likely as large ones: each doubling has the same share."""
    return round(least * (most / least) ** random.random())


def content_of(token: str, size: int) -> bytes:
    """Return what the demo upstream sends for ``/random/SIZE?seed=TOKEN``."""
    return b"".join(
        hashlib.shake_128(f"{token} {number}".encode()).digest(min(_PIECE, size - number * _PIECE))
        for number in range(-(-size // _PIECE))
    )


def fault_of_content(content: bytes | None, token: str, size: int) -> str:
    """Judge the body of ``/random``."""
    expected = content_of(token, size)
    if content == expected:
        return ""
    got = content or b""
    if len(got) != size:
        return f"{len(got)} bytes instead of {size}"
    at = next(n for n, (one, other) in enumerate(zip(got, expected, strict=True)) if one != other)
    return f"another content from byte {at} of {size} on"


def fault_of_echo(content: bytes | None, target: str, body: str) -> str:
    """Judge the report of ``/echo``, which says what the upstream was asked."""
    try:
        report = json.loads(content or b"")
    except ValueError:
        return f"no report: {(content or b'')[:60]!r}"
    if report.get("target") != target:
        return f"the answer to {report.get('target')} instead of {target}"
    if report.get("body", "") != body:
        return (
            f"a body of {len(report.get('body', ''))} bytes arrived, not the one of {len(body)} that was sent"
        )
    return ""


def fault_of_upload(content: bytes | None, body: bytes) -> str:
    """Judge the report of ``/upload``: size and hash of what arrived."""
    expected = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    try:
        report = json.loads(content or b"")
    except ValueError:
        return f"no report: {(content or b'')[:60]!r}"
    return "" if report == expected else f"{report} arrived instead of {expected}"


def fault_of_events(lines: list[str], count: int) -> str:
    """Judge the lines of ``/sse``: every event once, in order."""
    expected = [line for n in range(count) for line in (f"id: {n}", f"data: event {n}", "")]
    return "" if lines == expected else f"the events were {lines[:9]} ... ({len(lines)} lines)"
