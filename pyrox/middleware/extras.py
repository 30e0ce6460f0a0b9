"""Libraries that only some middleware need, and how to say that one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import ``module``, which ``pip install 'pyrox[extra]'`` brings; call it in a constructor.

    Raises ``ValueError`` with that line when it is not installed: a problem of the configuration.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise ValueError(
            f"needs the library {missing!r}; install it with: pip install 'pyrox[{extra}]'"
        ) from error
