"""``Settings`` -> an ini file that reads as the same ``Settings``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from pyrox.config_environment import escape
from pyrox.config_verbatim import RULES, VERBATIM_ROUTE_OPTIONS, read_rule, write_verbatim
from pyrox.errors import ConfigError
from pyrox.settings import RawOptions, RawValue, Settings

_Value = TypeVar("_Value")

# What configobj takes without quotes, less some that it would take.
_is_plain = re.compile(r"[^\s'\",#]+(?: [^\s'\",#]+)*").fullmatch
_is_plain_name = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*").fullmatch


def render_settings(settings: Settings) -> str:
    """Return ``settings`` as the text of a configuration file, every option written out.

    Raises ``ConfigError`` when a value, which then came out of the environment, cannot be written in
    the syntax of the file.
    """
    sections = {name: values for name, values in asdict(settings).items() if name != "source"}
    writer = _Writer(settings.source)
    for name, values in sections.items():
        writer.section(name)
        for key, value in values.items():
            if not isinstance(value, Mapping) and (key != "upstream_hosts" or value):
                writer.option((name,), key, _text_of(value))
        if name == "pipeline":
            writer.aliases(settings.pipeline.aliases, settings.pipeline.options)
        elif name == "middleware":
            writer.subsections(("middleware",), settings.middleware.sections)
        elif name == "ssl":
            writer.subsections(("ssl",), _subsections(settings.ssl.certificates))
        elif name == "routes":
            writer.routes(_subsections(settings.routes.sections))
        elif name == "clusters":
            writer.subsections(("clusters",), _subsections(settings.clusters.sections))
    if writer.problems:
        raise ConfigError(writer.problems)
    return "\n".join(writer.lines) + "\n"


class _Writer:
    """Writes sections and options, and notes what cannot be written."""

    def __init__(self, source: str) -> None:
        self.lines = [f"# What {source!r}, the environment and the command line come to."]
        self.problems: list[str] = []
        self._source = source

    def section(self, name: str, depth: int = 1) -> None:
        gap = [""] if depth == 1 else []
        self.lines += [*gap, "[" * depth + _quote_name(name) + "]" * depth]

    def option(self, path: tuple[str, ...], key: str, value: RawValue) -> None:
        self._write(path, key, value, _quote)

    def _write(self, path: tuple[str, ...], key: str, value: _Value, quote: Callable[[_Value], str]) -> None:
        try:
            self.lines.append(f"{_quote_name(key)} = {quote(value)}")
        except ValueError as error:
            place = " ".join("[" * depth + name + "]" * depth for depth, name in enumerate(path, 1))
            self.problems.append(f"{self._source}: {place} {key}: cannot be written: {error}")

    def aliases(self, aliases: Mapping[str, str], options: Mapping[str, Mapping[str, str]]) -> None:
        for alias, target in aliases.items():
            self.option(("pipeline",), alias, target)
        for alias, values in options.items():
            for option, value in values.items():
                self._write(("pipeline",), f"{alias}.{option}", value, _quote_verbatim)

    def routes(self, sections: Mapping[str, RawOptions]) -> None:
        for name, options in sections.items():
            self.section(name, 2)
            for key, value in options.items():
                if not value:
                    continue
                if isinstance(value, str) and key in VERBATIM_ROUTE_OPTIONS:
                    self._write(
                        ("routes", name), key, value, _quote_rule if key in RULES else _quote_verbatim
                    )
                elif not isinstance(value, Mapping):
                    self.option(("routes", name), key, value)

    def subsections(self, path: tuple[str, ...], sections: Mapping[str, RawOptions]) -> None:
        for name, options in sections.items():
            self.section(name, 2)
            for key, value in _scalars_first(options):
                if isinstance(value, Mapping):
                    self.section(key, 3)
                    for inner, inner_value in value.items():
                        self.option((*path, name, key), inner, inner_value)
                elif path == ("middleware",) and key == "when" and isinstance(value, str):
                    self._write((*path, name), key, value, _quote_rule)
                else:
                    self.option((*path, name), key, value)


def _subsections(sections: Mapping[str, Any]) -> dict[str, RawOptions]:
    return {
        name: {option.name: _text_of(getattr(values, option.name)) for option in fields(values)}
        for name, values in sections.items()
    }


def _scalars_first(options: RawOptions) -> Iterator[tuple[str, RawValue | Mapping[str, RawValue]]]:
    # What follows a subsection would belong to it.
    return iter(sorted(options.items(), key=lambda item: isinstance(item[1], Mapping)))


def _text_of(value: object) -> str | list[str]:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, tuple):
        return [str(item) for item in value] if len(value) > 1 else str(value[0])
    return str(value)


def _quote(value: RawValue) -> str:
    """Return ``value`` in the syntax of the file.

    Raises ``ValueError`` when there is none: configobj knows no escapes, only a choice of quotes.
    """
    if isinstance(value, list):
        return ", ".join(_quote_text(_escape(item), in_list=True) for item in value) + "," * (len(value) < 2)
    return _quote_text(_escape(value), in_list=False)


def _quote_verbatim(value: str) -> str:
    """Return ``value``, which is read as it stands, in the syntax of the file; raises as ``_quote``."""
    text = _escape(value)
    return write_verbatim(text) or _quote_text(text, in_list=False)


def _quote_rule(rule: str) -> str:
    text = _escape(rule)
    return write_verbatim(text, read_rule) or _quote_text(text, in_list=False)


def _escape(text: str) -> str:
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it is not UTF-8")
    return escape(text)


def _quote_text(text: str, in_list: bool) -> str:
    if _is_plain(text):
        return text
    one_line = "\n" not in text
    for quotes in ('"', "'"):
        if one_line and quotes not in text:
            return quotes + text + quotes
    for quotes in ("'''", '"""'):
        if not in_list and quotes not in text and "\r\n" not in text:
            return quotes + text + quotes
    raise ValueError("it has quotes or line breaks that cannot stand together")


def _quote_name(name: str) -> str:
    if _is_plain_name(name):
        return name
    return f"'{name}'" if '"' in name else f'"{name}"'
