"""pyrox.ini -> ``Settings``: the file is read, parsed by configobj, and checked against configspec.ini.

Nothing stops at the first fault. Each step reports what it finds and goes on with what it has, so that
one ``ConfigError`` names every problem of the file: its syntax by line, all else by section and key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from configobj import ConfigObj, ConfigObjError, DuplicateError
from configobj.validate import Validator

from pyrox.config_clusters import CHECKS as CLUSTER_CHECKS
from pyrox.config_discovery import CHECKS as DISCOVERY_CHECKS
from pyrox.config_environment import References
from pyrox.config_report import Report
from pyrox.config_routes import CHECKS as ROUTE_CHECKS
from pyrox.config_rules import broken_rules, contradictions
from pyrox.config_sections import SectionReader, Tree
from pyrox.config_values import checks
from pyrox.config_verbatim import hide_verbatim
from pyrox.errors import ConfigError
from pyrox.settings import (
    CoreSettings,
    DiscoverySettings,
    HttpSettings,
    LimitSettings,
    LoggingSettings,
    MiddlewareSettings,
    RawValue,
    Settings,
    SslSettings,
    TemplatesSettings,
    TimeoutSettings,
    UpstreamSettings,
)

Overrides = Mapping[str, Mapping[str, object]]
FurtherCheck = Callable[[Settings], None]

_key_with_colon = re.compile(r"([A-Za-z_][\w.]*)\s*:(?!//)").match
_SPEC = os.path.join(os.path.dirname(__file__), "configspec.ini")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the spec.

    ``check`` is its type, range and default as the spec writes them, ``""`` for sections in a section;
    ``meaning`` is its comment. ``is_inner``: it stands in these ``[[name]]`` sections.
    """

    section: str
    name: str
    check: str
    meaning: str
    is_inner: bool = False


def load_settings(
    path: str, overrides: Overrides | None = None, further_checks: Iterable[FurtherCheck] = ()
) -> Settings:
    """Read the configuration file at ``path``.

    * ``overrides``: section -> key -> value; they come from the command line and win over the file.
    * ``further_checks``: each gets the settings and may raise ``ConfigError``; its problems are reported
      with all others. What was faulty in the file has its default in these settings.

    Relative paths are taken from the directory of the file. Raises ``ConfigError`` with every problem,
    also when the file cannot be read.
    """
    return parse_settings(_read(path), path, overrides, further_checks)


def parse_settings(
    text: str | Iterable[str],
    source: str = "<string>",
    overrides: Overrides | None = None,
    further_checks: Iterable[FurtherCheck] = (),
) -> Settings:
    """Read a configuration from its text or lines; else as ``load_settings``.

    ``source`` stands for the file: in messages, and for its directory.
    """
    report = Report(source, overrides or {})
    tree = _parse(text.split("\n") if isinstance(text, str) else list(text), report)
    _override(tree, overrides or {})
    settings = _build(source, tree, report)
    for section, key, reason in broken_rules(settings):
        report.add(section, key, reason)
    for check in further_checks:
        try:
            check(settings)
        except ConfigError as error:
            report.problems += error.problems
    report.raise_if_any()
    return settings


def read_given(path: str) -> dict[str, dict[str, str]]:
    """Return what the file at ``path`` sets, as section -> option -> text, without [[subsections]].

    The text is as written, less quotes; references are resolved and paths absolute. Raises ``ConfigError``
    for every fault that Pyrox would find in the file itself, whatever the machine it is read on.
    """
    report = Report(path, {})
    tree = _parse(_read(path).split("\n"), report)
    settings = _build(path, tree, report)
    for section, key, reason in contradictions(settings):
        report.add(section, key, reason)
    report.raise_if_any()
    return {
        section: {
            key: _as_text(getattr(getattr(settings, section), key) if _is_path(section, key) else value)
            for key, value in options.items()
            if not isinstance(value, dict)
        }
        for section, options in tree.items()
    }


def read_spec() -> tuple[dict[str, str], list[Option]]:
    """Return the meaning of each section, and every option, in the order of the spec."""
    spec = _spec()
    sections = {name: _comment(spec.comments[name] or spec.initial_comment) for name in spec.sections}
    options = []
    for section in spec.sections:
        for name in (*spec[section].scalars, *spec[section].sections):
            check = spec[section][name]
            meaning = _comment(spec[section].comments[name])
            options.append(Option(section, name, check if isinstance(check, str) else "", meaning))
            if not isinstance(check, str):
                inner = [(key, _comment(check.comments[key])) for key in check.scalars]
                options += [Option(section, key, check[key], text, True) for key, text in inner if text]
    return sections, options


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file"]) from None
    except IsADirectoryError:
        raise ConfigError([f"{path}: is a directory; name a file in it"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is not UTF-8 (byte 0x{content[error.start]:02x})"]) from None


def _parse(lines: list[str], report: Report) -> Tree:
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            report.add_line(number, "has a NUL byte; this is not a text file")
    report.raise_if_any()
    references = References(os.environ)
    hidden = hide_verbatim((references.hide(line) for line in lines), references)
    return _resolve(_parse_lines([*hidden], references, report), references, report)


def _parse_lines(lines: list[str], references: References, report: Report) -> ConfigObj:
    try:
        return ConfigObj(lines, interpolation=False)
    except ConfigObjError as error:
        for fault in error.errors:
            report.add_line(fault.line_number, _explain(fault, references))
        # Behind a broken section marker, options stand in the wrong section, and what they
        # would be blamed for is not their fault.
        if any(fault.line.lstrip().startswith("[") or "multiline" in fault.msg for fault in error.errors):
            report.raise_if_any()
        return error.config


def _explain(fault: ConfigObjError, references: References) -> str:
    """Say what is wrong with a line; its value stays out of the message, as it may be a secret."""
    line = references.show(fault.line).strip()
    key = line.partition("=")[0].strip()
    if isinstance(fault, DuplicateError):
        return f"{line if line.startswith('[') else key} stands here a second time; keep one"
    if line.startswith("["):
        return f"{line} is no section here; write [name], and below it [[name]] for its subsections"
    if "Parse error" in fault.msg:
        return f"{key}: the quotes or commas of its value do not match up"
    if line.startswith(";"):
        return "a comment begins with #"
    if fault.line[:1].isspace():
        return f"{line!r} is neither [section] nor key = value; a list stands on one line, a long text in '''"
    if with_colon := _key_with_colon(line):
        return f"{with_colon[1]} is followed by a colon; write {with_colon[1]} = ..."
    return f"{line!r} is neither [section] nor key = value"


def _resolve(section: Mapping[str, Any], references: References, report: Report, *path: str) -> Tree:
    """Return ``section`` and those in it as plain dicts, with references resolved."""
    tree: Tree = {}
    for hidden, value in section.items():
        key = references.show(hidden)
        try:
            if isinstance(value, Mapping):
                tree[key] = _resolve(value, references, report, *path, key)
            elif isinstance(value, list):
                tree[key] = [references.resolve(item) for item in value]
            else:
                tree[key] = references.resolve(value)
        except ValueError as error:
            section_name, subsection = (*path, "", "")[:2]
            report.add(section_name, key, str(error), subsection)
    return tree


def _override(tree: Tree, overrides: Overrides) -> None:
    for name, options in overrides.items():
        section = tree.setdefault(name, {})
        if isinstance(section, dict):
            for key, value in options.items():
                section[key] = [*map(str, value)] if isinstance(value, list | tuple) else str(value)


@cache
def _spec() -> ConfigObj:
    with open(_SPEC, encoding="utf-8") as file:
        return ConfigObj(file.read().split("\n"), _inspec=True, interpolation=False, raise_errors=True)


def _is_path(section: str, key: str) -> bool:
    check = _spec()[section].get(key, "")
    return isinstance(check, str) and check.startswith(("path", "output", "directory_list"))


def _as_text(value: RawValue | tuple[str, ...] | None) -> str:
    return (value or "") if isinstance(value, str | None) else ", ".join(value)


def _comment(lines: list[str]) -> str:
    """Return the last paragraph of ``lines`` without its comment signs."""
    text = "\n".join(line.removeprefix("#").strip() for line in lines)
    return text.strip().rpartition("\n\n")[2].replace("\n", " ")


def _build(source: str, tree: Tree, report: Report) -> Settings:
    directory = os.path.abspath(os.path.dirname(source))
    validator = Validator({**checks(directory), **CLUSTER_CHECKS, **DISCOVERY_CHECKS, **ROUTE_CHECKS})
    reader = SectionReader(tree, _spec(), validator.check, report)
    return Settings(
        source=source,
        core=CoreSettings(**reader.values("core")),
        ssl=SslSettings(**reader.values("ssl"), certificates=reader.certificates()),
        logging=LoggingSettings(**reader.values("logging")),
        pipeline=reader.pipeline(),
        routing=reader.routing(),
        clusters=reader.clusters(),
        discovery=DiscoverySettings(**reader.values("discovery")),
        routes=reader.routes(),
        templates=TemplatesSettings(**reader.values("templates")),
        middleware=MiddlewareSettings(**reader.values("middleware"), sections=reader.middleware_sections()),
        http=HttpSettings(**reader.values("http")),
        limits=LimitSettings(**reader.values("limits")),
        timeouts=TimeoutSettings(**reader.values("timeouts")),
        upstream=UpstreamSettings(**reader.values("upstream")),
    )
