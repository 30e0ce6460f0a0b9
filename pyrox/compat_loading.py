"""From ``[pipeline]`` to ``FilterMiddleware``: aliases are imported and given their options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyrox.compat_filters import FilterMiddleware, make_member
from pyrox.compat_handlers import REQUEST_BODY, REQUEST_HEAD, RESPONSE_BODY, RESPONSE_HEAD
from pyrox.config_report import Report, did_you_mean
from pyrox.middleware.base import App
from pyrox.middleware.importing import failure_of, import_target
from pyrox.settings import Settings

_SECTION = "pipeline"

_NO_HANDLERS = "no method of it is decorated with @filtering.handles_..."
_STAGES = {"upstream": (REQUEST_HEAD, REQUEST_BODY), "downstream": (RESPONSE_HEAD, RESPONSE_BODY)}


@dataclass(frozen=True, slots=True)
class ConfiguredFilters:
    """Makes the middleware of both pipelines; call it with the next app."""

    name: str
    settings: Settings
    factories: Mapping[str, Callable[[], Any]]  # by alias

    def __call__(self, app: App) -> FilterMiddleware:
        """Raises what a filter's constructor raises, when filters are made once for a worker."""
        pipeline, templates = self.settings.pipeline, self.settings.templates
        return FilterMiddleware(
            app,
            self._listed(pipeline.upstream),
            self._listed(pipeline.downstream),
            pipeline.filter_lifetime,
            pipeline.use_singletons,
            templates.rejection_sc,
            templates.pyrox_error_sc,
        )

    def _listed(self, aliases: Sequence[str]) -> list[tuple[str, Callable[[], Any]]]:
        return [(alias, self.factories[alias]) for alias in aliases]

    def check(self, report: Report) -> list[str]:
        """Make each filter once; returns the warnings, one line each, about those that can never run.

        What a constructor raises, and a handler with the wrong arguments, becomes a problem of ``report``.
        """
        warnings = Report(self.settings.source, {})
        for alias, factory in self.factories.items():
            try:
                _, _, handlers = make_member(alias, factory)
            except Exception as error:  # a constructor may fail in any way
                report.add(_SECTION, alias, failure_of(error))
                continue
            for key, stages in _STAGES.items():
                if alias in getattr(self.settings.pipeline, key) and not any(handlers[s] for s in stages):
                    handled = " and ".join(stage for stage, found in handlers.items() if found)
                    other = "upstream" if key == "downstream" else "downstream"
                    reason = f"it handles {handled}; list it in {other}" if handled else _NO_HANDLERS
                    warnings.add(_SECTION, key, f"{alias!r} never runs here: {reason}")
        return warnings.problems


def configure_filters(name: str, settings: Settings, report: Report) -> ConfiguredFilters:
    """Import what the aliases in use name; what is wrong goes into ``report``. ``name`` is the layer's."""
    pipeline = settings.pipeline
    factories = {}
    for alias in dict.fromkeys((*pipeline.upstream, *pipeline.downstream)):
        if alias not in pipeline.aliases:  # which the rules of the configuration have reported
            continue
        options = pipeline.options.get(alias, {})
        try:
            target = import_target(pipeline.aliases[alias])
        except ImportError as error:
            report.add(_SECTION, alias, str(error))
            continue
        misfits = _misfits(target, options)
        for option, reason in misfits:
            report.add(_SECTION, f"{alias}.{option}", reason)
        if not misfits:
            factories[alias] = partial(target, **options) if options else target
    return ConfiguredFilters(name, settings, factories)


def _misfits(target: Any, options: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the options that ``target`` does not take, and those that it needs and does not get."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # written in C, and silent about its parameters
        return []
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    misfits = []
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        unknown = [option for option in options if option not in named]
        misfits = [(option, "unknown option" + did_you_mean(option, named)) for option in unknown]
    required = [name for name, p in named.items() if p.default is p.empty and name not in options]
    return misfits + [(name, "required, but missing") for name in required]
