"""Places in a JSON document, written as the part of JMESPath that says where something is.

``a.b``, ``a[0]``, ``a[*].b``, ``*.b``, ``a[?x > `1`].b``: names, indexes, and each element of a list, of an
object, or that a condition holds for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Node = dict[str, Any]
Place = tuple[Any, Any]  # a list or an object, and the index or the name in it

_ITSELF = ("identity", "current")
_PROJECTIONS = ("projection", "value_projection", "filter_projection")


class Places:
    """Finds places in documents.

    ``jmespath`` is the library, ``path`` what to look for. Raises ``ValueError`` when it is no expression, or
    one that makes something instead of finding it.
    """

    def __init__(self, jmespath: Any, path: str) -> None:
        try:
            self._node: Node = jmespath.compile(path).parsed
        except jmespath.exceptions.JMESPathError as error:
            raise ValueError(f"{path!r} is no JMESPath expression: {_first_line(error)}") from None
        self._visit: Callable[[Node, Any], Any] = jmespath.visitor.TreeInterpreter().visit
        if fault := _fault_of(self._node):
            raise ValueError(f"{path!r} names no place in a document: {fault}")

    def find(self, document: Any, *, create: bool = False) -> list[Place]:
        """Return the places that are there; with ``create`` also what is missing of objects on the way."""
        return self._places(self._node, [document], create)

    def _places(self, node: Node, values: list[Any], create: bool) -> list[Place]:
        kind = node["type"]
        if kind == "field":
            name = node["value"]
            return [
                (value, name) for value in values if isinstance(value, dict) and (create or name in value)
            ]
        if kind == "index":
            index = node["value"]
            return [
                (value, index % len(value))
                for value in values
                if isinstance(value, list) and -len(value) <= index < len(value)
            ]
        if kind in _PROJECTIONS:
            return self._projected(node, values, create)
        *before, last = node["children"]
        for child in before:
            values = self._values(child, values, create)
        return self._places(last, values, create)

    def _projected(self, node: Node, values: list[Any], create: bool) -> list[Place]:
        left, right, *condition = node["children"]
        elements: list[Place] = []
        for value in self._values(left, values, create):
            if node["type"] == "value_projection":
                elements += [(value, name) for name in value] if isinstance(value, dict) else []
            elif isinstance(value, list):
                elements += [(value, index) for index in range(len(value))]
        if condition:
            holds = condition[0]
            elements = [place for place in elements if _is_true(self._visit(holds, place[0][place[1]]))]
        if right["type"] in _ITSELF:
            return elements
        return self._places(right, [outer[key] for outer, key in elements], create)

    def _values(self, node: Node, values: list[Any], create: bool) -> list[Any]:
        if node["type"] in _ITSELF:
            return values
        places = self._places(node, values, create)
        if create:
            for outer, key in places:
                if isinstance(outer, dict):
                    outer.setdefault(key, {})
        return [outer[key] for outer, key in places]


def remove(places: Iterable[Place]) -> None:
    """Take out what is at ``places``, which all are there."""
    # From the end, because what follows an element moves up.
    in_lists = [(id(outer), key, outer) for outer, key in places if type(outer) is list]
    for outer, key in places:
        if type(outer) is dict:
            outer.pop(key, None)
    for _, key, outer in sorted(in_lists, key=lambda place: place[:2], reverse=True):
        del outer[key]


def _fault_of(node: Node) -> str:
    kind = node["type"]
    if kind in ("field", "index"):
        return ""
    if kind in _PROJECTIONS:
        parts = node["children"][:2]
    elif kind in ("subexpression", "index_expression"):
        parts = node["children"]
    else:
        return f"{kind.replace('_', ' ')} is not where something is"
    return next((fault for part in parts if part["type"] not in _ITSELF and (fault := _fault_of(part))), "")


def _is_true(value: Any) -> bool:
    # JMESPath's own: these are false, and 0 is not.
    return not (value is None or value is False or value in ("", [], {}))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
