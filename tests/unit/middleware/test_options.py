"""From the text of a section to the arguments of a constructor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest

from pyrox.middleware.options import Raw, bind_options, coerce

if TYPE_CHECKING:
    from nowhere import Unknown

NETWORKS = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("raw", "annotation", "expected"),
    [
        ("text", str, "text"),
        ("", str, ""),
        ("7", int, 7),
        ("-7", int, -7),
        ("2.5", float, 2.5),
        ("3", float, 3.0),
        ("yes", bool, True),
        ("Off", bool, False),
        ("a/b", Path, Path("a/b")),
        ("10.0.0.1", IPv4Address, IPv4Address("10.0.0.1")),
        ("::1", IPv4Address | IPv6Address, IPv6Address("::1")),
        (["10.0.0.0/8", "fd00::/8"], list[IPv4Network | IPv6Network], NETWORKS),
        ("one", list[str], ["one"]),
        ("", list[str], []),
        (["a", "b"], list, ["a", "b"]),
        (["a", "b"], tuple[str, ...], ("a", "b")),
        (["1", "2"], Sequence[int], [1, 2]),
        (["1", "2"], Iterable[int], [1, 2]),
        (["a", "a"], set[str], {"a"}),
        (["a"], frozenset[str], frozenset("a")),
        ("low", Literal["low", "high"], "low"),
        ("2", Literal[1, 2], 2),
        ("", int | None, None),
        ("None", int | None, None),
        ("5", int | None, 5),
        ("5", Optional[int], 5),  # noqa: UP045
        ("5", int | str, 5),
        ("five", int | str, "five"),
        (["a", "b"], str | list[str], ["a", "b"]),
        ({"a": "1", "b": "2"}, dict[str, int], {"a": 1, "b": 2}),
        ({"a": ["x", "y"]}, Mapping[str, list[str]], {"a": ["x", "y"]}),
        ({"a": "1"}, dict, {"a": "1"}),
        ("5", Annotated[int, "seconds"], 5),
        (["as", "read"], Any, ["as", "read"]),
    ],
)
def test_coerce(raw: Raw, annotation: Any, expected: object) -> None:
    value = coerce(raw, annotation)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("raw", "annotation", "reason"),
    [
        ("2.5", int, "'2.5' is not a whole number"),
        ("many", float, "'many' is not a number"),
        ("nan", float, "'nan' is not a number"),
        ("maybe", bool, "'maybe' is neither yes nor no"),
        (["a", "b"], str, "must be one value, not 2; a value with a comma needs quotes"),
        (["yes", "no"], bool, "not 2"),
        ({"a": "b"}, str, "must be a value, not a subsection"),
        ({"a": "b"}, bool, "must be a value, not a subsection"),
        ({"a": "b"}, list[str], "must be a list, not a subsection"),
        ("a", dict[str, str], r"must be a subsection"),
        ({"a": "x"}, dict[str, int], "a: 'x' is not a whole number"),
        (["1", "x"], list[int], "'x' is not a whole number"),
        ("hihg", Literal["low", "high"], "'hihg' is none of low, high; did you mean high"),
        ("x", int | float, "'x' is none of int, float"),
        ("x", int | None, "'x' is not a whole number"),
        ("10.0.0.1/8", IPv4Network | IPv6Network, "10.0.0.1/8 has host bits set"),
        ("localhost", IPv4Address, "localhost"),
    ],
)
def test_value_that_does_not_fit(raw: Raw, annotation: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        coerce(raw, annotation)


@pytest.mark.parametrize("annotation", [bytes, tuple[int, str], Callable[[], None]])
def test_annotation_that_no_text_can_fill(annotation: Any) -> None:
    with pytest.raises(TypeError, match="an option cannot be"):
        coerce("x", annotation)


class Limits:
    def __init__(
        self,
        app: object,
        limit: int,
        *,
        per: float = 1.0,
        names: Sequence[str] = (),
        other: Unknown = None,
    ) -> None: ...


def test_options_become_typed_arguments() -> None:
    arguments, problems = bind_options(Limits, {"limit": "5", "per": "0.5", "names": "a"})
    assert arguments == {"limit": 5, "per": 0.5, "names": ["a"]}
    assert problems == []


def test_every_problem_is_found_at_once() -> None:
    _, problems = bind_options(Limits, {"per": "slow", "limits": "5", "app": "x"})
    assert problems == [
        ("per", "'slow' is not a number"),
        ("limits", "unknown option; did you mean limit?"),
        ("app", "unknown option; there are limit, per, names, other"),
        ("limit", "required, but missing"),
    ]


def test_annotation_for_type_checkers_only_matters_when_its_option_is_given() -> None:
    assert bind_options(Limits, {"limit": "5"})[1] == []
    [(option, reason)] = bind_options(Limits, {"limit": "5", "other": "x"})[1]
    assert option == "other"
    assert reason == "its annotation 'Unknown' cannot be evaluated: name 'Unknown' is not defined"


def test_keyword_catch_all_takes_any_option() -> None:
    def middleware(app: object, limit: int = 0, **others: int) -> None: ...

    assert bind_options(middleware, {"limit": "1", "x": "2"}) == ({"limit": 1, "x": 2}, [])


def test_option_without_annotation_is_passed_as_read() -> None:
    def middleware(app, option): ...  # type: ignore[no-untyped-def]

    assert bind_options(middleware, {"option": ["a", "b"]}) == ({"option": ["a", "b"]}, [])


def test_dataclass_and_inherited_constructors_are_constructors() -> None:
    @dataclass
    class Parent:
        app: object
        limit: int = 0

    class Child(Parent):
        pass

    assert bind_options(Child, {"limit": "3"}) == ({"limit": 3}, [])


def test_callable_instance_is_a_factory() -> None:
    class Factory:
        def __call__(self, app: object, limit: int) -> None: ...

    assert bind_options(Factory(), {"limit": "3"}) == ({"limit": 3}, [])


class NoParameters:
    pass


def keyword_only(*, app: object) -> None: ...


@pytest.mark.parametrize("target", [NoParameters, keyword_only, lambda: None])
def test_target_must_take_the_app_first(target: Callable[..., object]) -> None:
    expected = ("class", "must be callable with the next app as its first argument")
    assert bind_options(target, {}) == ({}, [expected])


def test_relative_paths_begin_where_the_file_is_however_they_are_listed() -> None:
    def middleware(app: object, one: Path, many: tuple[Path, ...], named: dict[str, list[Path]]) -> None: ...

    raw: dict[str, Raw] = {"one": "a", "many": ["b", "/c"], "named": {"x": "d"}}
    assert bind_options(middleware, raw, Path("/etc/pyrox")) == (
        {
            "one": Path("/etc/pyrox/a"),
            "many": (Path("/etc/pyrox/b"), Path("/c")),
            "named": {"x": [Path("/etc/pyrox/d")]},
        },
        [],
    )


def test_option_of_what_has_none_is_told_so() -> None:
    def middleware(app: object) -> None: ...

    assert bind_options(middleware, {"x": "1"}) == ({}, [("x", "unknown option; there are none")])
