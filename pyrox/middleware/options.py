"""Options: the text of a configuration section, coerced to the annotations of a constructor.

The signature is the schema: a name that is no parameter is unknown, a parameter without a default is
required, its annotation says what the text must be. So an option is declared once, where it is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from inspect import Parameter
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import isnan
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pyrox.config_report import did_you_mean
from pyrox.config_values import check_boolean
from pyrox.settings import RawValue

Raw = RawValue | Mapping[str, RawValue]  # a mapping is a subsection
Problem = tuple[str, str]  # option, reason

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_HERE = Path()
_NO_APP = ("class", "must be callable with the next app as its first argument")


def bind_options(
    target: Callable[..., object],
    raw: Mapping[str, Raw],
    directory: Path = _HERE,
    others: Collection[str] = (),
) -> tuple[dict[str, Any], list[Problem]]:
    """Coerce ``raw`` to the keyword arguments of ``target``, whose first parameter is the next app.

    Returns the arguments and every problem; without one ``target(app, **arguments)`` fits. ``directory``
    is what relative paths are relative to: that of the file, wherever Pyrox was started. ``others`` are
    options that ``target`` does not see, and that an unknown one may have been meant for.

    Annotations may be str, int, float, bool, Path, Literal, the types of ``ipaddress``, lists, tuples
    and sets of those, dicts from str (given as a subsection), and unions; for ``X | None`` an empty
    value and ``none`` mean None. An option without an annotation is passed on as it was read.
    """
    try:
        first, *rest = inspect.signature(target).parameters.values()
    except ValueError:  # no parameters, or a callable written in C that does not tell them
        return {}, [_NO_APP]
    if first.kind not in _POSITIONAL:
        return {}, [_NO_APP]
    values, problems = _Binding(target, rest, others).bind(raw)
    return {option: _placed_in(directory, value) for option, value in values.items()}, problems


def _placed_in(directory: Path, value: Any) -> Any:
    if isinstance(value, Path):
        return directory / value
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_placed_in(directory, item) for item in value)
    if isinstance(value, dict):
        return {key: _placed_in(directory, item) for key, item in value.items()}
    return value


class _Binding:
    """The parameters of one constructor, after the app."""

    def __init__(
        self, target: Callable[..., object], parameters: list[Parameter], others: Collection[str]
    ) -> None:
        self._elsewhere = others
        self._globals = _globals_of(target)
        self._named = {p.name: p for p in parameters if p.kind in _NAMED}
        self._others = next((p for p in parameters if p.kind is Parameter.VAR_KEYWORD), None)

    def bind(self, raw: Mapping[str, Raw]) -> tuple[dict[str, Any], list[Problem]]:
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for option, value in raw.items():
            parameter = self._named.get(option, self._others)
            if parameter is None:
                problems.append((option, "unknown option" + self._hint(option)))
                continue
            try:
                values[option] = coerce(value, self._annotation(parameter))
            except (TypeError, ValueError) as error:
                problems.append((option, str(error)))
        for name, parameter in self._named.items():
            if parameter.default is Parameter.empty and name not in raw:
                problems.append((name, "required, but missing"))
        return values, problems

    def _hint(self, option: str) -> str:
        known = list(dict.fromkeys([*self._named, *self._elsewhere]))
        listed = f"; there are {', '.join(known)}" if known else "; there are none"
        return did_you_mean(option, known) or listed

    def _annotation(self, parameter: Parameter) -> Any:
        # One at a time and only when needed: others may name what is imported for type checkers only.
        annotation = parameter.annotation
        if not isinstance(annotation, str):
            return annotation
        try:
            return eval(annotation, self._globals)
        except Exception as error:  # it is code
            raise TypeError(f"its annotation {annotation!r} cannot be evaluated: {error}") from error


def _globals_of(target: Callable[..., object]) -> dict[str, Any]:
    function = inspect.unwrap(target.__init__ if isinstance(target, type) else target)  # type: ignore[misc]
    if not hasattr(function, "__globals__"):
        function = type(target).__call__
    return getattr(function, "__globals__", {})


def coerce(raw: Raw, annotation: Any) -> Any:
    """Return ``raw`` as a value of ``annotation``.

    Raises ``ValueError`` saying why the text does not fit, and ``TypeError`` when no text could.
    """
    if annotation in (Parameter.empty, Any, object):
        return raw
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Annotated:
        return coerce(raw, arguments[0])
    if origin in (Union, UnionType):
        return _union(raw, arguments)
    if origin is Literal:
        return _choice(_single(raw), arguments)
    if origin in _MAPPINGS:
        return _mapping(raw, arguments)
    if origin in _COLLECTIONS:
        return _COLLECTIONS[origin](_items(raw, arguments))
    if origin in _SCALARS:
        return _SCALARS[origin](_single(raw))
    raise TypeError(f"an option cannot be a {_name(annotation)}; see docs/middleware.md for what it can be")


def _union(raw: Raw, alternatives: tuple[Any, ...]) -> Any:
    if NoneType in alternatives and isinstance(raw, str) and raw.lower() in ("", "none"):
        return None
    choices = [choice for choice in alternatives if choice is not NoneType]
    parse = _EITHER.get(frozenset(choices))
    if parse is not None:
        return parse(_single(raw))
    if len(choices) == 1:
        return coerce(raw, choices[0])
    for choice in choices:
        try:
            return coerce(raw, choice)
        except (TypeError, ValueError):
            continue
    raise ValueError(f"{raw!r} is none of {', '.join(map(_name, choices))}")


def _choice(text: str, choices: tuple[Any, ...]) -> Any:
    known = {str(choice): choice for choice in choices}
    if text in known:
        return known[text]
    raise ValueError(f"{text!r} is none of {', '.join(known)}{did_you_mean(text, known)}")


def _mapping(raw: Raw, arguments: tuple[Any, ...]) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise ValueError("must be a subsection with one 'key = value' a line")
    annotation = arguments[1] if arguments else str
    values = {}
    for key, value in raw.items():
        try:
            values[key] = coerce(value, annotation)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return values


def _items(raw: Raw, arguments: tuple[Any, ...]) -> list[Any]:
    if len(arguments) > 1 and arguments[1] is not Ellipsis:
        raise TypeError("an option cannot be a tuple of fixed length")
    if isinstance(raw, Mapping):
        raise ValueError("must be a list, not a subsection")
    texts = [raw] if isinstance(raw, str) and raw else raw
    return [coerce(text, arguments[0] if arguments else str) for text in texts]


def _single(raw: Raw) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, Mapping):
        raise ValueError("must be a value, not a subsection")
    raise ValueError(f"must be one value, not {len(raw)}; a value with a comma needs quotes")


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if isnan(value):
        raise ValueError(f"{text!r} is not a number")
    return value


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


_SCALARS: dict[Any, Callable[[str], Any]] = {
    str: str,
    bool: check_boolean,
    int: _int,
    float: _float,
    Path: Path,
    IPv4Address: IPv4Address,
    IPv6Address: IPv6Address,
    IPv4Network: IPv4Network,
    IPv6Network: IPv6Network,
}
_COLLECTIONS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((list, Sequence, Collection, Iterable), list),
    tuple: tuple,
    set: set,
    frozenset: frozenset,
}
_MAPPINGS = (dict, Mapping, MutableMapping)
_EITHER: dict[frozenset[Any], Callable[[str], Any]] = {
    frozenset((IPv4Address, IPv6Address)): ip_address,
    frozenset((IPv4Network, IPv6Network)): ip_network,
}
