"""The configuration API of 0.4.5: every name its documentation lists, and ``pyrox.server.config``."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrox import cli
from pyrox.errors import ConfigError
from pyrox.server.config import (
    CoreConfiguration,
    LoggingConfiguration,
    PipelineConfiguration,
    RoutingConfiguration,
    SSLConfiguration,
    TemplatesConfiguration,
    load_pyrox_config,
)
from pyrox.util.config import ConfigurationError, ConfigurationPart, load_config

DOCUMENTATION = Path(__file__).with_name("documentation") / "configuration.txt"

File = Callable[[str], Path]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Write a text as ``pyrox.conf`` and return its path."""

    def write(text: str) -> Path:
        path = tmp_path / "pyrox.conf"
        path.write_text(textwrap.dedent(text))
        return path

    return write


# --- what the documentation names ---


def documented() -> Iterator[tuple[str, str, str]]:
    """Yield (dotted name, arguments or "property", base class or "") for whatever the text describes."""
    owner = ""
    lines = [line.strip() for line in DOCUMENTATION.read_text(encoding="utf-8").splitlines()]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if found := re.fullmatch(r"(class |exception |)(pyrox\.[\w.]+) \((.*)\)", line):
            owner = found[2] if found[1] else ""
            yield found[2], found[3], following.removeprefix("Bases: ") if found[1] else ""
        elif found := re.fullmatch(r"([a-z][a-z_]*)(?: \((\w*)\))?", line):
            yield f"{owner}.{found[1]}", "property" if found[2] is None else found[2], ""


DOCUMENTED = list(documented())


def test_the_text_was_understood() -> None:
    kinds = ["property" if arguments == "property" else "call" for _, arguments, _ in DOCUMENTED]
    assert (kinds.count("property"), kinds.count("call")) == (15, 17)
    assert len({name for name, _, _ in DOCUMENTED}) == 32


def look_up(name: str) -> Any:
    """Import ``package.module.Class.member``; a class's members are looked up in the class."""
    module = ".".join(name.split(".")[:3])
    value: Any = importlib.import_module(module)
    for part in name.removeprefix(module).strip(".").split("."):
        value = inspect.getattr_static(value, part)
    return value


@pytest.mark.parametrize(("name", "arguments", "base"), DOCUMENTED, ids=lambda value: value)
def test_documented_name_exists_with_its_arguments(name: str, arguments: str, base: str) -> None:
    value = look_up(name)
    if arguments == "property":
        assert isinstance(value, property)
        return
    takes = [one for one in inspect.signature(value).parameters.values() if one.name != "self"]
    assert [one.name for one in takes] == re.findall(r"(\w+)(?:=None)?", arguments)
    assert [one.name for one in takes if one.default is None] == re.findall(r"(\w+)=None", arguments)
    if base:
        builtin = {"object": object, "exceptions.Exception": Exception}
        assert issubclass(value, builtin.get(base) or look_up(base))


# --- pyrox.server.config ---

DEFAULTS: list[tuple[type[ConfigurationPart], str, object]] = [
    (CoreConfiguration, "bind_host", "localhost:8080"),
    (CoreConfiguration, "enable_profiling", False),
    (CoreConfiguration, "plugin_paths", []),
    (CoreConfiguration, "processes", 1),
    (SSLConfiguration, "cert_file", None),
    (SSLConfiguration, "key_file", None),
    (LoggingConfiguration, "console", False),
    (LoggingConfiguration, "logfile", None),
    (LoggingConfiguration, "verbosity", "WARNING"),
    (PipelineConfiguration, "downstream", ()),
    (PipelineConfiguration, "upstream", []),
    (PipelineConfiguration, "use_singletons", False),
    (RoutingConfiguration, "upstream_hosts", ["http://localhost:80"]),
    (TemplatesConfiguration, "pyrox_error_sc", 502),
    (TemplatesConfiguration, "rejection_sc", 400),
]


def test_every_documented_property_has_its_default_here() -> None:
    properties = [name for name, arguments, _ in DOCUMENTED if arguments == "property"]
    assert {f"pyrox.server.config.{part.__name__}.{name}" for part, name, _ in DEFAULTS} == {*properties}


@pytest.mark.parametrize(("part", "name", "default"), DEFAULTS)
def test_unset_option_has_the_documented_default(
    file: File, part: type[ConfigurationPart], name: str, default: object
) -> None:
    config = load_pyrox_config(file(""))
    section = part.__name__.removesuffix("Configuration").lower()
    value = getattr(getattr(config, section), name)
    assert (value, type(value)) == (default, type(default))


FULL = """
    [core]
    bind_host = localhost:9090
    enable_profiling = True
    processes = 75
    plugin_paths = /usr/share/project/python, /usr/share/other/python

    [ssl]
    cert_file = /etc/pyrox/ssl/server.cert
    key_file = /etc/pyrox/ssl/server.key

    [logging]
    console = True
    logfile = /var/log/pyrox/pyrox.log
    verbosity = DEBUG

    [pipeline]
    filter_1 = myfilters.upstream.Filter1
    filter_2 = myfilters.upstream.Filter2
    filter_3 = myfilters.downstream.Filter3
    filter_3.greeting = hello, world

    upstream = filter_1, filter_2
    downstream = filter_3
    use_singletons = True

    [routing]
    upstream_hosts = http://host:80, https://host:443

    [templates]
    pyrox_error_sc = 503
    rejection_sc = 403
"""

VALUES: dict[str, object] = {
    "core.bind_host": "localhost:9090",
    "core.enable_profiling": True,
    "core.processes": 75,
    "core.plugin_paths": ["/usr/share/project/python", "/usr/share/other/python"],
    "ssl.cert_file": "/etc/pyrox/ssl/server.cert",
    "ssl.key_file": "/etc/pyrox/ssl/server.key",
    "logging.console": True,
    "logging.logfile": "/var/log/pyrox/pyrox.log",
    "logging.verbosity": "DEBUG",
    "pipeline.upstream": ["filter_1", "filter_2"],
    "pipeline.downstream": ["filter_3"],
    "pipeline.use_singletons": True,
    "routing.upstream_hosts": ["http://host:80", "https://host:443"],
    "templates.pyrox_error_sc": 503,
    "templates.rejection_sc": 403,
}


def test_file_with_every_documented_option_is_read_on_a_machine_that_has_none_of_its_files(
    file: File,
) -> None:
    config = load_pyrox_config(file(FULL))
    assert {
        name: getattr(getattr(config, name.partition(".")[0]), name.partition(".")[2]) for name in VALUES
    } == VALUES


def test_options_are_also_there_by_name_as_the_file_writes_them(file: File) -> None:
    config = load_pyrox_config(file(FULL))
    assert config.core.get("processes") == "75"
    assert config.core.getint("processes") == 75
    assert config.core.get("enable_profiling") == "True"
    assert config.routing.get("upstream_hosts") == "http://host:80, https://host:443"
    assert config.pipeline.get("filter_3") == "myfilters.downstream.Filter3"
    assert config.pipeline.get("filter_3.greeting") == "hello, world"
    assert config.pipeline.options() == [
        *("filter_1", "filter_2", "filter_3", "filter_3.greeting", "upstream", "downstream", "use_singletons")
    ]
    assert config.core.has_option("bind_host")
    assert not config.core.has_option("backlog")
    assert config.core.get("backlog") == 2048
    assert config.core.get("no_such_option") is None


@pytest.mark.parametrize(
    "written",
    ["/usr/share/a", "/usr/share/a,", '"/usr/share/a"', "${PLUGINS}", "${NOTHING:-/usr/share/a}"],
)
def test_single_directory_is_a_list_of_one(file: File, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("PLUGINS", "/usr/share/a")
    assert load_pyrox_config(file(f"[core]\nplugin_paths = {written}")).core.plugin_paths == ["/usr/share/a"]


def test_paths_are_those_pyrox_uses_relative_to_the_file(file: File, tmp_path: Path) -> None:
    config = load_pyrox_config(file("[core]\nplugin_paths = a, ../b\n[logging]\nlogfile = log/pyrox.log"))
    assert config.core.plugin_paths == [f"{tmp_path}/a", f"{tmp_path.parent}/b"]
    assert config.core.get("plugin_paths") == f"{tmp_path}/a, {tmp_path.parent}/b"
    assert config.logging.logfile == f"{tmp_path}/log/pyrox.log"


def test_file_of_today_is_read_too(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT", "acme, inc")
    config = load_pyrox_config(
        file(
            """
            [core]
            bind_host = localhost:8080, "[::1]:8080"    # both families
            graceful_timeout = 500ms
            [logging]
            access_log_format = "$status, 100% # $request"
            verbosity = info
            [http]
            trusted_proxies = 10.0.0.0/8,
            [middleware]
            stack = request_id, auth, edit
            [[auth]]
            class = my_auth.RequireKey
            banner = '''first line
            second = line'''
            [[[keys]]]
            acme = "s3cret, or not"
            [[edit]]
            class = my_edit.Edit
            [pipeline]
            Auth = myfilters.Auth
            auth = myfilters.OtherAuth
            auth.tenant = ${TENANT}
            [upstream]
            idle_connections = 3
            """
        )
    )
    assert config.core.bind_host == "localhost:8080, [::1]:8080"
    assert config.core.get("graceful_timeout") == "500ms"
    assert config.logging.verbosity == "INFO"
    assert config.logging.get("access_log_format") == "$status, 100% # $request"
    assert config.pipeline.options() == ["Auth", "auth", "auth.tenant"]
    assert config.pipeline.get("auth.tenant") == "acme, inc"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[core]\nprocesses = many", ["[core] processes: 'many' is not a whole number"]),
        ("[core]\nproceses = 2", ["[core] proceses: unknown option; did you mean processes?"]),
        ("[corr]\nx = 1", ["[corr]: unknown section; did you mean [core]?"]),
        ("[logging]\nconsole = maybe", ["[logging] console: 'maybe' is neither yes nor no"]),
        ("[routing]\nupstream_hosts = ftp://a", ["[routing] upstream_hosts: 'ftp://a' is not"]),
        ("[core]\nplugin_paths = ${NOT_SET_ANYWHERE}", ["[core] plugin_paths: NOT_SET_ANYWHERE is not set"]),
        ("[core]\nprocesses = x\n[ssl]\nkey = y", ["[core] processes: ", "[ssl] key: unknown option"]),
        ("[pipeline]\nauth = a.B\nupstream = aut", ["[pipeline] upstream: 'aut' is not defined by"]),
        ("[core\n", [":1: [core is no section here"]),
    ],
)
def test_bad_file_is_an_error_with_file_section_and_option(file: File, text: str, faults: list[str]) -> None:
    path = file(text)
    with pytest.raises(ConfigurationError) as caught:
        load_pyrox_config(path)
    assert isinstance(caught.value, ConfigError)
    lines = caught.value.msg.split("\n")
    assert len(lines) == len(faults)
    for line, fault in zip(lines, faults, strict=True):
        assert line.startswith(str(path)) and fault in line


def test_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{tmp_path}/pyrox\.conf: there is no such file$"):
        load_pyrox_config(tmp_path / "pyrox.conf")


def test_default_location_is_that_of_the_command() -> None:
    assert inspect.signature(load_pyrox_config).parameters["location"].default == cli.DEFAULT_CONFIG


def test_start_scripts_of_the_time_load_pyrox_by_its_module_with_defaults_of_their_own(file: File) -> None:
    path = file("[core]\nprocesses: 3\n; a comment\nbind_host = localhost:9090 ; another\n")
    config = load_config("pyrox.server.config", str(path), {"routing": {"upstream_hosts": "http://a:1"}})
    assert (config.core.processes, config.core.bind_host) == (3, "localhost:9090")
    assert config.routing.upstream_hosts == ["http://a:1"]
    assert config.templates.rejection_sc == 400
