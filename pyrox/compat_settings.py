"""Pyrox's configuration as filters written for 0.4 and 0.5 ask for it: by parts, with the old properties.

``load_pyrox_config`` reads the file just as Pyrox does and finds the same faults in it, but asks nothing
of the machine: whoever only looks at a configuration need not be allowed to read its private key.
Defaults come from configspec.ini, like everybody's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from configparser import RawConfigParser
from dataclasses import asdict
from functools import cache
from typing import Any

from pyrox.compat_config import Configuration, ConfigurationError, ConfigurationPart, Defaults, Options
from pyrox.config import parse_settings, read_given
from pyrox.errors import ConfigError
from pyrox.settings import DEFAULT_CONFIG


class PyroxPart(ConfigurationPart):
    """A part whose options have their defaults from configspec.ini, where ``defaults`` has no other."""

    def __init__(self, cfg: Options, defaults: Defaults | None = None) -> None:
        own = {**_spec_defaults().get(self.name(), {}), **(defaults or {}).get(self.name(), {})}
        super().__init__(cfg, {self.name(): own})

    def _text(self, option: str) -> str | None:
        value = self.get(option)
        return str(value) if value else None

    def _items(self, option: str) -> list[str]:
        value = self.get(option) or ""
        items = value.split(",") if isinstance(value, str) else [*map(str, value)]
        return [item.strip() for item in items if item.strip()]


class CoreConfiguration(PyroxPart):
    """Where Pyrox listens and how its processes serve: [core]."""

    @property
    def bind_host(self) -> str:
        """``host:port`` to listen on, several with commas; localhost:8080 if unset."""
        return str(self.get("bind_host"))

    @property
    def enable_profiling(self) -> bool:
        """Whether one process is to run under a profiler; False if unset."""
        return bool(self.getboolean("enable_profiling"))

    @property
    def plugin_paths(self) -> list[str]:
        """Directories in which filters are looked for; none if unset."""
        return self._items("plugin_paths")

    @property
    def processes(self) -> int:
        """How many worker processes serve, 0 for one per CPU; 1 if unset."""
        return int(self.getint("processes"))


class SSLConfiguration(PyroxPart):
    """TLS towards clients: [ssl]."""

    @property
    def cert_file(self) -> str | None:
        """Path of the certificate; None if unset."""
        return self._text("cert_file")

    @property
    def key_file(self) -> str | None:
        """Path of the private key; None if unset."""
        return self._text("key_file")


class LoggingConfiguration(PyroxPart):
    """The error log: [logging]."""

    @property
    def console(self) -> bool:
        """Whether it goes to standard output; False if unset."""
        return bool(self.getboolean("console"))

    @property
    def logfile(self) -> str | None:
        """Path of the file it goes to; None if unset."""
        return self._text("logfile")

    @property
    def verbosity(self) -> str:
        """Least level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL; WARNING if unset."""
        return str(self.get("verbosity")).upper()


class PipelineConfiguration(PyroxPart):
    """The filters: [pipeline]. ``get(alias)`` is what an alias stands for."""

    @property
    def downstream(self) -> list[str] | tuple[()]:
        """Aliases of the filters that see responses, in order; an empty tuple if unset."""
        return self._items("downstream") or ()

    @property
    def upstream(self) -> list[str]:
        """Aliases of the filters that see requests, in order; an empty list if unset."""
        return self._items("upstream")

    @property
    def use_singletons(self) -> bool:
        """Whether an alias in both pipelines is one instance; False if unset."""
        return bool(self.getboolean("use_singletons"))


class RoutingConfiguration(PyroxPart):
    """Where requests go: [routing]."""

    @property
    def upstream_hosts(self) -> list[str]:
        """URLs of the servers; http://localhost:80 alone if unset."""
        return self._items("upstream_hosts")


class TemplatesConfiguration(PyroxPart):
    """Status codes of the answers Pyrox makes: [templates]."""

    @property
    def pyrox_error_sc(self) -> int:
        """Status when Pyrox or the upstream fails; 502 if unset."""
        return int(self.getint("pyrox_error_sc"))

    @property
    def rejection_sc(self) -> int:
        """Status when a filter rejects a request without a response; 400 if unset."""
        return int(self.getint("rejection_sc"))


class PyroxConfiguration(Configuration):
    """What ``load_pyrox_config`` returns."""

    core: CoreConfiguration
    ssl: SSLConfiguration
    logging: LoggingConfiguration
    pipeline: PipelineConfiguration
    routing: RoutingConfiguration
    templates: TemplatesConfiguration


PARTS: tuple[type[PyroxPart], ...] = (
    CoreConfiguration,
    SSLConfiguration,
    LoggingConfiguration,
    PipelineConfiguration,
    RoutingConfiguration,
    TemplatesConfiguration,
)


def load_pyrox_config(location: str | os.PathLike[str] = DEFAULT_CONFIG) -> PyroxConfiguration:
    """Read Pyrox's configuration file at ``location``.

    Options are what the file says, with its ``${NAME}`` references resolved and its paths made absolute;
    flags of the command line are not in it. Raises ``ConfigurationError`` with every fault of the file,
    each with section and option.
    """
    try:
        given = read_given(os.fspath(location))
    except ConfigError as error:
        raise ConfigurationError(str(error)) from error
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # aliases are told apart by case
    parser.read_dict(given)
    return PyroxConfiguration(PARTS, parser, None)


@cache
def _spec_defaults() -> Mapping[str, Mapping[str, Any]]:
    settings = asdict(parse_settings(""))
    return {
        name: {option: _default(value) for option, value in section.items()}
        for name, section in settings.items()
        if isinstance(section, dict)
    }


def _default(value: object) -> object:
    """Return a default as a file would write it where that is a list, else as it is."""
    return ", ".join(map(str, value)) or None if isinstance(value, tuple) else value
