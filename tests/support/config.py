"""Configuration files from dicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Value = str | int | float | bool | list[str] | Mapping[str, "Value"]
Config = Mapping[str, Mapping[str, Value]]


def as_ini(config: Config, folder: Path) -> str:
    """Write ``config`` as an ini file; the access log goes to ``folder`` unless ``config`` says where.

    A dict inside a section becomes a ``[[subsection]]``, a list the values between commas.
    """
    logs: dict[str, Value] = {"console": True, "access_log": str(folder / "access.log")}
    sections = {**config, "logging": {**logs, **config.get("logging", {})}}
    return "\n".join(line for name, section in sections.items() for line in _section(name, section, 1))


def _section(name: str, options: Mapping[str, Value], depth: int) -> list[str]:
    lines = ["[" * depth + name + "]" * depth]
    lines += [f"{key} = {_text(value)}" for key, value in options.items() if not isinstance(value, Mapping)]
    for key, value in options.items():
        if isinstance(value, Mapping):
            lines += _section(key, value, depth + 1)
    return lines


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) + ("," if len(value) < 2 else "")
    return str(value)
