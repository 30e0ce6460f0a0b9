"""What a configuration names by its dotted path: imported, with every failure told in one line."""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, cast

from pyrox.config_report import did_you_mean

_PYROX = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep


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
        raise ImportError(
            f"cannot import {module_name}: {failure_of(error)}{_hint(error, module_name)}"
        ) from error
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            if hasattr(module, "__path__") and find_spec(f"{module_name}.{part}"):
                raise ImportError(f"{path} is a module; name what is to be taken from it: {path}.Class")
            hint = did_you_mean(part, dir(target)) or _hint_at_namesake(module_name)
            raise ImportError(f"{module_name} has no {attribute}{hint}")
        target = getattr(target, part)
    if not callable(target):
        raise ImportError(f"{path} is {target!r}, which is not callable")
    return cast(Callable[..., Any], target)


def failure_of(error: BaseException) -> str:
    """Say what went wrong and in which line of its author's, for a report without a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_library(frame.filename)]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def _is_library(path: str) -> bool:
    if path.startswith(_STANDARD_LIBRARY):
        return "-packages" not in path  # what is installed for all users lies in a folder of it
    return path.startswith((_PYROX, "<frozen "))


def _hint_at_namesake(module_name: str) -> str:
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        return "; it is a module of Python's own: call yours otherwise"
    return ""


def _hint(error: BaseException, module_name: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
        return "; put the directory that it is in into [core] plugin_paths"
    return ""
