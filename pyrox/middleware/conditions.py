"""``when`` and ``mode``: options that every middleware has, whatever its constructor says.

``when`` is a rule of the routes' language; requests for which it does not hold pass the middleware by.
``mode = observe`` lets the middleware judge and change nothing; see ``observe``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from pyrox.config_report import did_you_mean
from pyrox.errors import ClientError
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.middleware.observe import Observer
from pyrox.middleware.options import Problem
from pyrox.routing.condition import Condition, compile_condition

_MODES = ("enforce", "observe")
OPTIONS_OF_ALL = ("when", "mode")


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a middleware is asked at all, and whether what it says counts."""

    when: Condition | None = None  # None: always
    is_observed: bool = False

    def apply(self, name: str, make: Callable[[App], App], app: App) -> App:
        """Return what stands around ``app`` in place of the middleware that ``make`` makes around it."""
        when = self.when
        if when is None:
            return Observer(app, name, make) if self.is_observed else make(app)
        if not self.is_observed:
            return _conditional(when, make(app), app)
        # It asks again, so that what the condition refuses is a verdict as well, and no more than that.
        observer = Observer(app, name, lambda inner: _conditional(when, make(inner), inner))
        return _conditional(_or_in_doubt(when), observer, app)


def take_conditions(
    target: Callable[..., object], options: MutableMapping[str, Any]
) -> tuple[Conditions, list[Problem]]:
    """Take ``when`` and ``mode`` out of ``options``; a constructor that names one itself keeps it."""
    own = _parameters_of(target)
    taken = {name: options.pop(name) for name in OPTIONS_OF_ALL if name in options and name not in own}
    problems: list[Problem] = []
    when, mode = None, taken.get("mode", "enforce")
    if mode not in _MODES:
        problems.append(("mode", f"{mode!r} is neither {' nor '.join(_MODES)}{did_you_mean(mode, _MODES)}"))
    if "when" in taken:
        try:
            when = compile_condition(taken["when"])
        except ValueError as error:  # a RuleError, or RE2 is missing
            problems.append(("when", str(error)))
    return Conditions(when, mode == "observe"), problems


def _parameters_of(target: Callable[..., object]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(target).parameters)
    except ValueError:  # a callable written in C that does not tell them
        return frozenset()


def _or_in_doubt(when: Condition) -> Condition:
    def holds(request: Request) -> bool:
        try:
            return when(request)
        except ClientError:
            return True

    return holds


def _conditional(when: Condition, middleware: App, app: App) -> App:
    def conditional(request: Request) -> Response:
        return middleware(request) if when(request) else app(request)

    return conditional
