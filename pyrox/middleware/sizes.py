"""Sizes among a middleware's options: ``65536``, ``64k``, ``1m`` or ``1g``."""

from __future__ import annotations

from pyrox.config_values import parse_size


def read_size(option: str, value: int | str) -> int:
    """Return a number of bytes; raises ``ValueError`` that names ``option`` for anything else."""
    try:
        return parse_size(str(value))
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
