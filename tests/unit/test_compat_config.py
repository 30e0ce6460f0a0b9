"""Parts of an ini file: names, defaults, what a ``cfg`` is asked, and how files are found faulty."""

from __future__ import annotations

import copy
import sys
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest

from pyrox.compat_config import Configuration, ConfigurationError, ConfigurationPart, load_config
from pyrox.errors import ConfigError


class CacheConfiguration(ConfigurationPart):
    @property
    def broken(self) -> object:
        return [].nothing  # type: ignore[attr-defined]


def parser(text: str) -> ConfigParser:
    cfg = ConfigParser()
    cfg.read_string(text)
    return cfg


FILE = "[cache]\nport = 1\non = yes\nword = many"


def test_section_is_the_name_of_the_class() -> None:
    class MixedCaseConfiguration(ConfigurationPart):
        pass

    assert MixedCaseConfiguration(parser("")).name() == "mixedcase"
    assert MixedCaseConfiguration(parser("[mixedcase]\na = b")).get("a") == "b"


def test_file_wins_over_defaults_which_are_given_as_they_are() -> None:
    part = CacheConfiguration(parser(FILE), {"cache": {"port": 7, "off": False, "n": "8"}, "other": {"x": 1}})
    assert (part.get("port"), part.getint("port")) == ("1", 1)
    assert (part.getboolean("on"), part.getboolean("off")) == (True, False)
    assert (part.get("n"), part.getint("n")) == ("8", "8")
    assert (part.get("x"), part.getint("x"), part.getboolean("x")) == (None, None, None)


@pytest.mark.parametrize("defaults", [None, {}, {"other": {"port": 1}}])
def test_option_that_nobody_sets_is_none(defaults: dict[str, dict[str, int]] | None) -> None:
    assert CacheConfiguration(parser(""), defaults).get("port") is None


def test_options_are_those_of_the_file() -> None:
    part = CacheConfiguration(parser(FILE), {"cache": {"more": 1}})
    assert part.options() == ["port", "on", "word"]
    assert (part.has_option("port"), part.has_option("more")) == (True, False)
    assert CacheConfiguration(parser("[other]\na = b")).options() == []


def test_value_of_another_type_is_a_value_error() -> None:
    part = CacheConfiguration(parser(FILE))
    with pytest.raises(ValueError, match="many"):
        part.getint("word")
    with pytest.raises(ValueError, match="many"):
        part.getboolean("word")


def test_option_is_an_attribute_unless_the_class_has_one() -> None:
    part = CacheConfiguration(parser("[cache]\nport = 1\nname = x\nbroken = y\n_cfg = z"))
    assert part.port == "1"
    assert part.nothing is None
    assert part.name() == "cache"
    with pytest.raises(AttributeError, match="'broken'"):
        _ = part.broken
    assert not hasattr(part, "_private")
    assert copy.copy(part).port == "1"


def test_configuration_has_an_attribute_for_each_part_and_no_other() -> None:
    config = Configuration([CacheConfiguration], parser(FILE), None)
    assert config.cache.getint("port") == 1
    with pytest.raises(AttributeError, match="no part of this configuration is named 'cash'"):
        _ = config.cash


def test_error_is_made_from_its_message() -> None:
    error = ConfigurationError("a: b\nc: d")
    assert isinstance(error, ConfigError)
    assert (str(error), error.msg, error.problems) == ("a: b\nc: d", "a: b\nc: d", ["a: b", "c: d"])


# --- load_config ---


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("made_for_test")
    monkeypatch.setitem(sys.modules, "made_for_test", made)
    return made


def make_part(name: str, module: str) -> type[ConfigurationPart]:
    return type(name, (ConfigurationPart,), {"__module__": module})


def test_parts_are_the_subclasses_that_follow_the_naming_convention(
    module: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "x.conf").write_text("[a]\nx = 1\n[b]\nx = 2\n")
    vars(module).update(
        A=make_part("AConfiguration", "made_for_test"),
        B=make_part("BConfiguration", "elsewhere"),
        Helper=make_part("Helper", "made_for_test"),
        Other=type("OtherConfiguration", (), {}),
        ConfigurationPart=ConfigurationPart,
        Configuration=Configuration,
    )
    config = load_config("made_for_test", tmp_path / "x.conf")
    assert {*vars(config)} == {"a", "b"}
    assert (config.a.get("x"), config.b.get("x")) == ("1", "2")


@pytest.mark.parametrize("names", [("own", "imported"), ("imported", "own")])
def test_module_s_own_part_wins_over_one_it_imported(
    module: ModuleType, tmp_path: Path, names: tuple[str, str]
) -> None:
    (tmp_path / "x.conf").write_text("")
    made = {
        "own": make_part("AConfiguration", "made_for_test"),
        "imported": make_part("AConfiguration", "else"),
    }
    vars(module).update({name: made[name] for name in names})
    assert type(load_config("made_for_test", tmp_path / "x.conf").a) is made["own"]


def test_later_sections_and_options_add_to_earlier_ones(module: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text(
        "[a]\nx = 1\ny = ''\nz = \"\"\n[b]\n[a]\nx = 2\n# c\n; c\nw = 5%;6 ; c\n"
    )
    vars(module).update(A=make_part("AConfiguration", "made_for_test"))
    part = load_config("made_for_test", str(tmp_path / "x.conf")).a
    assert [part.get(option) for option in "xyzw"] == ["2", "''", "", "5%;6"]


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b"password = s3cret\n[a]\n", [":1: stands before the first [section]"]),
        (
            b"[a]\nx = 1\ns3cret\ny = 2\n= 4\n",
            [f":{line}: is neither [section] nor option" for line in (3, 5)],
        ),
        (b"[a]\nx = \xff", [": is not UTF-8"]),
        (None, [": cannot be read: No such file or directory"]),
    ],
)
def test_fault_is_told_with_file_and_line_and_without_the_value(
    module: ModuleType, tmp_path: Path, content: bytes | None, faults: list[str]
) -> None:
    path = tmp_path / "x.conf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_config("made_for_test", path)
    assert "s3cret" not in str(caught.value)
    assert len(caught.value.problems) == len(faults)
    for problem, fault in zip(caught.value.problems, faults, strict=True):
        assert problem.startswith(f"{path}{fault}")


def test_module_that_cannot_be_imported_says_so_itself(tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text("")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        load_config("no_such_module_anywhere", tmp_path / "x.conf")
