"""Configuration by parts, as filters written for Pyrox 0.4 and 0.5 read their own ini files.

A part is a class for one section: ``CacheConfiguration`` reads ``[cache]``. ``load_config`` finds the
parts of a module, reads a file with a ``ConfigParser``, and hands out one object with an attribute for
each part: ``load_config("my_filters.config", "/etc/my_filters.conf").cache``. Pyrox's own parts are in
``pyrox.compat_settings``; nothing in Pyrox itself is configured this way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from configparser import BasicInterpolation, ConfigParser, MissingSectionHeaderError, ParsingError
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from pyrox.errors import ConfigError

Defaults = Mapping[str, Mapping[str, Any]]  # section -> option -> value

_SUFFIX = "Configuration"


class ConfigurationError(ConfigError):
    """The configuration cannot be used; ``msg`` says why, one line for each fault."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg.split("\n"))
        self.msg = msg


class Options(Protocol):
    """What a part asks of its ``cfg``: some methods of a ``ConfigParser``."""

    def has_section(self, section: str) -> bool: ...
    def has_option(self, section: str, option: str) -> bool: ...
    def options(self, section: str) -> list[str]: ...
    def get(self, section: str, option: str) -> str: ...
    def getint(self, section: str, option: str) -> int: ...
    def getboolean(self, section: str, option: str) -> bool: ...


class ConfigurationPart:
    """The options of one section, which is named by the class: ``LoggingConfiguration`` is [logging].

    * ``cfg``: a ``ConfigParser``, or what has its methods. Other sections in it do not matter.
    * ``defaults``: section -> option -> the value when the file does not set the option. It is given as
      it stands here, never converted.

    An option can also be read as an attribute, as by ``get``, if the class has no attribute of that name.
    """

    def __init__(self, cfg: Options, defaults: Defaults | None = None) -> None:
        self._cfg = cfg
        self._defaults = defaults or {}

    def __getattr__(self, name: str) -> Any:
        # An attribute of the class comes here when it raised AttributeError itself.
        if name.startswith("_") or hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no {name!r}, or it failed", name=name, obj=self)
        return self.get(name)

    def name(self) -> str:
        """Return the name of the section: that of the class in lower case, without "Configuration"."""
        return type(self).__name__.removesuffix(_SUFFIX).lower()

    def options(self) -> list[str]:
        """Return the names of the options that the file sets; none when it has no such section."""
        return self._cfg.options(self.name()) if self._cfg.has_section(self.name()) else []

    def has_option(self, option: str) -> bool:
        """Say whether the file sets ``option``; a default does not count."""
        return self._cfg.has_option(self.name(), option)

    def get(self, option: str) -> Any:
        """Return the text of ``option`` as the file has it, or its default, or None."""
        if self.has_option(option):
            return self._cfg.get(self.name(), option)
        return self._default(option)

    def getboolean(self, option: str) -> Any:
        """Return ``option`` as a bool (yes/no, true/false, on/off, 1/0), or its default, or None.

        Raises ``ValueError`` for any other text.
        """
        if self.has_option(option):
            return self._cfg.getboolean(self.name(), option)
        return self._default(option)

    def getint(self, option: str) -> Any:
        """Return ``option`` as an int, or its default, or None; ``ValueError`` when it is no number."""
        if self.has_option(option):
            return self._cfg.getint(self.name(), option)
        return self._default(option)

    def _default(self, option: str) -> Any:
        return self._defaults.get(self.name(), {}).get(option)


class Configuration:
    """One attribute for each part, named after its section."""

    def __init__(
        self, cfg_cls_list: Iterable[type[ConfigurationPart]], cfg: Options, defaults: Defaults | None
    ) -> None:
        for part_class in cfg_cls_list:
            part = part_class(cfg, defaults)
            setattr(self, part.name(), part)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no part of this configuration is named {name!r}", name=name, obj=self)


def load_config(
    cfg_module_name: str, location: str | os.PathLike[str], defaults: Defaults | None = None
) -> Configuration:
    """Read the ini file at ``location`` with the parts that the module ``cfg_module_name`` has.

    Parts are the subclasses of ``ConfigurationPart`` whose names end in "Configuration", also those the
    module has imported; its own win when two are for the same section. Raises ``ConfigurationError`` when
    the file cannot be read, naming the file and the line.
    """
    parser = _read_ini(os.fspath(location))
    return Configuration(_parts_of(import_module(cfg_module_name)), parser, defaults)


class _OldInterpolation(BasicInterpolation):
    """What the ``ConfigParser`` of Python 2 did otherwise: a lone ``%`` is text, ``""`` is nothing."""

    def before_read(self, parser: Any, section: str, option: str, value: str) -> str:
        return "" if value == '""' else super().before_read(parser, section, option, value)

    def before_get(self, parser: Any, section: str, option: str, value: str, defaults: Any) -> str:
        return super().before_get(parser, section, option, value, defaults) if "%(" in value else value


def _read_ini(location: str) -> ConfigParser:
    # Not strict, and with these comments: so files were read by the ConfigParser of Python 2.
    parser = ConfigParser(strict=False, inline_comment_prefixes=(";",), interpolation=_OldInterpolation())
    try:
        with open(location, encoding="utf-8-sig") as file:
            parser.read_file(file, location)
    except OSError as error:
        raise ConfigurationError(f"{location}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{location}: is not UTF-8") from error
    except ParsingError as error:
        raise ConfigurationError("\n".join(_faults(location, error))) from error
    return parser


def _faults(location: str, error: ParsingError) -> list[str]:
    """Say which lines are wrong; what they hold stays out of the message, as it may be a secret."""
    if isinstance(error, MissingSectionHeaderError):
        return [f"{location}:{error.lineno}: stands before the first [section]"]
    return [f"{location}:{line}: is neither [section] nor option = value" for line, _ in error.errors]


def _parts_of(module: ModuleType) -> list[type[ConfigurationPart]]:
    parts = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, ConfigurationPart)
        and value.__name__.endswith(_SUFFIX)
    ]
    return sorted(parts, key=lambda part: part.__module__ == module.__name__)
