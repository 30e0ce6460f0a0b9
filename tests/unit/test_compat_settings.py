"""Pyrox's own parts: defaults come from the spec, whatever ``cfg`` and ``defaults`` they are made with."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest

from pyrox.compat_config import ConfigurationPart
from pyrox.compat_settings import (
    PARTS,
    CoreConfiguration,
    PipelineConfiguration,
    RoutingConfiguration,
    TemplatesConfiguration,
    load_pyrox_config,
)
from pyrox.config import parse_settings, read_given, read_spec


def parser(text: str = "") -> ConfigParser:
    cfg = ConfigParser()
    cfg.read_string(text)
    return cfg


def properties_of(part: type[ConfigurationPart]) -> list[str]:
    return [name for name, value in vars(part).items() if isinstance(value, property)]


@pytest.mark.parametrize("part", PARTS)
def test_properties_are_options_of_the_spec_with_its_defaults(part: type[ConfigurationPart]) -> None:
    made = part(parser())
    section = getattr(parse_settings(""), made.name())
    assert properties_of(part)
    for name in properties_of(part):
        default, value = getattr(section, name), getattr(made, name)
        if name == "bind_host":
            value = (value,)
        assert (tuple(value) if isinstance(value, list) else value) == default


def test_parts_work_on_any_config_parser_and_with_other_defaults() -> None:
    core = CoreConfiguration(parser("[core]\nprocesses = 4"), {"core": {"processes": 9, "bind_host": "a:1"}})
    assert (core.processes, core.bind_host, core.enable_profiling) == (4, "a:1", False)
    assert TemplatesConfiguration(parser(), {"core": {"processes": 9}}).rejection_sc == 400
    hosts = RoutingConfiguration(parser(), {"routing": {"upstream_hosts": ["http://a:1", "http://b:1"]}})
    assert hosts.upstream_hosts == ["http://a:1", "http://b:1"]


@pytest.mark.parametrize("text", ["", "[pipeline]\nupstream =\ndownstream = ,"])
def test_pipeline_that_is_empty_is_a_list_and_a_tuple_as_documented(text: str) -> None:
    pipeline = PipelineConfiguration(parser(text))
    assert (pipeline.upstream, pipeline.downstream) == ([], ())


def test_every_path_of_the_spec_is_made_absolute(tmp_path: Path) -> None:
    checks = ("path", "output", "directory_list")
    options = [option for option in read_spec()[1] if not option.is_inner]
    paths = [option for option in options if option.check.startswith(checks)]
    assert {"plugin_paths", "cert_file", "key_file", "logfile", "access_log"} <= {one.name for one in paths}
    (tmp_path / "x.ini").write_text(
        "".join(f"[{section}]\n{''.join(lines)}" for section, lines in lines_of(paths).items())
    )
    given = read_given(str(tmp_path / "x.ini"))
    assert [given[one.section][one.name] for one in paths] == [str(tmp_path / "here")] * len(paths)


def lines_of(options: list) -> dict[str, list[str]]:  # type: ignore[type-arg]
    lines: dict[str, list[str]] = {}
    for option in options:
        lines.setdefault(option.section, []).append(f"{option.name} = here\n")
    return lines


def test_outputs_that_are_no_paths_stay(tmp_path: Path) -> None:
    (tmp_path / "x.ini").write_text("[logging]\naccess_log = -\nlogfile =\n")
    assert read_given(str(tmp_path / "x.ini")) == {"logging": {"access_log": "-", "logfile": ""}}
    config = load_pyrox_config(tmp_path / "x.ini")
    assert (config.logging.logfile, config.logging.get("logfile")) == (None, "")
