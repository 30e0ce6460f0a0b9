"""What a configuration names by its dotted path: imported, with every failure told in one line."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from typing import Any, cast

from pyrox.config_report import did_you_mean


def import_target(path: object) -> Callable[..., Any]:
    """Import ``package.module.Class`` or ``package.module:Class``; every failure is an ImportError."""
    if not isinstance(path, str):
        raise ImportError("must be one dotted name, as in 'class = package.module.Class'")
    module_name, _, attribute = path.rpartition(":" if ":" in path else ".")
    if not module_name or not attribute:
        raise ImportError(f"{path!r} is not package.module.Class")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a module may fail in any way; operators need to know in which
        raise ImportError(f"cannot import {module_name}: {failure_of(error)}") from error
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            raise ImportError(f"{module_name} has no {attribute}{did_you_mean(part, dir(target))}")
        target = getattr(target, part)
    if not callable(target):
        raise ImportError(f"{path} is {target!r}, which is not callable")
    return cast(Callable[..., Any], target)


def failure_of(error: BaseException) -> str:
    """Say what went wrong and in which line, for a report without a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"
