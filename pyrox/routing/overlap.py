"""Routes that no request can take, because one that is tried before holds whenever they do.

``implies`` is sound and not complete: what it says is so, but it does not see through patterns.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyrox.routing.dispatch import make_table
from pyrox.routing.predicates import parent_domain
from pyrox.routing.rule import And, Call, Not, Or, Rule
from pyrox.settings import Settings

_MOST_COMPARED = 100  # with each, so that thousands of routes for the same host and path are no wait

_SETS = ("Path", "Method", "ClientIP")  # hold for any of their arguments
_NAMED = ("Header", "Query", "Cookie")  # hold for a name, and any of the values behind it


def route_warnings(settings: Settings) -> Iterator[str]:
    """Yield a warning for each route that no request can take."""
    table = make_table(settings)
    for rank, entry in enumerate(table.rules):
        for other in table.covering(rank)[:_MOST_COMPARED]:
            before = table.rules[other]
            if implies(entry.rule, before.rule):
                why = "has the same rule" if entry.rule == before.rule else "holds whenever this does"
                first = f"[[{before.name}]] is tried first and {why}"
                yield f"[routes] [[{entry.name}]]: no request takes it: {first}"
                break


def implies(one: Rule, other: Rule) -> bool:
    """Tell whether ``other`` surely holds whenever ``one`` does."""
    if one == other:
        return True
    if isinstance(one, Or):
        return all(implies(item, other) for item in one.items)
    if isinstance(other, And):
        return all(implies(one, item) for item in other.items)
    if isinstance(other, Or) and any(implies(one, item) for item in other.items):
        return True
    if isinstance(one, And):
        return any(implies(item, other) for item in one.items)
    if isinstance(one, Not) and isinstance(other, Not):
        return implies(other.item, one.item)
    return isinstance(one, Call) and isinstance(other, Call) and _call_implies(one, other)


def _call_implies(one: Call, other: Call) -> bool:
    if other.function == "PathPrefix" and one.function in ("Path", "PathPrefix"):
        return all(_is_under(path, other.arguments) for path in one.arguments)
    if one.function != other.function:
        return False
    if one.function == "Host":
        return all(_is_host_of(name, other.arguments) for name in one.arguments)
    if one.function in _SETS:
        return set(one.arguments) <= set(other.arguments)
    if one.function in _NAMED and one.arguments[0] == other.arguments[0]:
        values, others = one.arguments[1:], other.arguments[1:]
        return not others or (bool(values) and set(values) <= set(others))
    return False


def _is_under(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path == prefix or path.startswith(prefix.removesuffix("/") + "/") for prefix in prefixes)


def _is_host_of(name: str, names: tuple[str, ...]) -> bool:
    wild = not name.startswith("*.") and f"*.{parent_domain(name)}" in names
    return name in names or wild
