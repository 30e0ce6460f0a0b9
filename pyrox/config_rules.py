"""What no option can know by itself: rules between options, and between options and this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pyrox.config_clusters import cluster_problems
from pyrox.config_report import did_you_mean
from pyrox.config_routes import route_problems
from pyrox.config_rules_process import process_problems
from pyrox.config_tls import tls_problems
from pyrox.log_format import validate_format
from pyrox.settings import PipelineSettings, Settings

Problem = tuple[str, str, str]  # section, key, reason


def broken_rules(settings: Settings) -> Iterator[Problem]:
    """Yield every rule that ``settings`` breaks."""
    if missing := [path for path in settings.core.plugin_paths if not os.path.isdir(path)]:
        yield "core", "plugin_paths", "; ".join(f"{path!r} is not a directory" for path in missing)
    if settings.core.enable_profiling and (reason := _no_place(settings.core.profile_dir or os.curdir)):
        yield "core", "profile_dir", reason
    yield from process_problems(settings.core)
    yield from tls_problems(settings)
    yield from contradictions(settings)


def contradictions(settings: Settings) -> Iterator[Problem]:
    """Yield the rules that are broken whatever the machine: between the options of a file."""
    yield from _pipeline_problems(settings.pipeline)
    yield from _limit_problems(settings)
    yield from cluster_problems(settings)
    if settings.discovery.min_ttl > settings.discovery.max_ttl:
        bound = f"max_ttl, {settings.discovery.max_ttl:g} s"
        yield "discovery", "min_ttl", f"{settings.discovery.min_ttl:g} s is more than {bound}"
    yield from route_problems(settings)
    if reason := _format_problem(settings.logging.access_log_format):
        yield "logging", "access_log_format", reason
    if settings.upstream.proxy_protocol != "off" and "demo" in settings.routing.upstream_hosts:
        yield "upstream", "proxy_protocol", "the demo upstream does not understand it; set it to off"


def _no_place(directory: str) -> str:
    """Return why no file can be made in ``directory``, or ``""``."""
    if not os.path.isdir(directory):
        return f"{directory!r} is not a directory"
    return "" if os.access(directory, os.W_OK) else f"no file can be made in {directory!r} by this user"


def _limit_problems(settings: Settings) -> Iterator[Problem]:
    limits = settings.limits
    if limits.request_line > limits.head_size:
        yield "limits", "request_line", f"{limits.request_line} is more than head_size, {limits.head_size}"
    if limits.chunk_extension > limits.chunk_extensions:
        bound = f"chunk_extensions, {limits.chunk_extensions}"
        yield "limits", "chunk_extension", f"{limits.chunk_extension} is more than {bound}"


def _pipeline_problems(pipeline: PipelineSettings) -> Iterator[Problem]:
    for key, listed in (("upstream", pipeline.upstream), ("downstream", pipeline.downstream)):
        for alias in dict.fromkeys(listed):
            if "." in alias:
                yield "pipeline", key, f"{alias!r} is no alias; define one, name = {alias}, and list its name"
            elif alias not in pipeline.aliases:
                hint = did_you_mean(alias, list(pipeline.aliases))
                yield "pipeline", key, f"{alias!r} is not defined by an option {alias} = dotted.Class{hint}"
    for alias, target in pipeline.aliases.items():
        if not target:
            yield "pipeline", alias, "names no class; write dotted.Class"
    for alias, options in pipeline.options.items():
        if alias not in pipeline.aliases:
            key = f"{alias}.{next(iter(options))}"
            yield "pipeline", key, f"{alias!r} is not defined{did_you_mean(alias, list(pipeline.aliases))}"


def _format_problem(log_format: str) -> str:
    try:
        validate_format(log_format)
    except ValueError as error:
        return str(error)
    return ""
