"""``RouteIndex``: from a host and a path to the few rules that may hold for them.

What a rule demands of the host and the path is taken out of its tree as keys: it cannot hold unless one
of them fits. Keys stand in a hash by host, and there in a trie by the segments of the path. A rule that
demands neither stands at the root for any host, and is looked at for each request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyrox.routing.rule import And, Call, Or, Rule

_MOST_KEYS = 256  # for one rule; one that would have more is looked at for every host and path

ANY_HOST = ""


@dataclass(frozen=True, slots=True)
class Key:
    """``host``: a name, ``*.name`` or ``ANY_HOST``; ``segments`` of the path, all of them if ``exact``."""

    host: str = ANY_HOST
    segments: tuple[str, ...] = ()
    exact: bool = False


_EVERYTHING = [Key()]


def keys_of(rule: Rule) -> list[Key]:
    """Return keys of which at least one fits whatever ``rule`` holds for."""
    if isinstance(rule, Call):
        return _keys_of_call(rule)
    if isinstance(rule, Or):
        keys = [*dict.fromkeys(key for item in rule.items for key in keys_of(item))]
        return keys if len(keys) <= _MOST_KEYS else _EVERYTHING
    found = _EVERYTHING
    if isinstance(rule, And):
        for item in rule.items:
            keys = keys_of(item)
            if len(found) * len(keys) <= _MOST_KEYS:
                found = [_both(one, other) for one in found for other in keys]
    return [*dict.fromkeys(found)]


def remainder(rule: Rule) -> Rule | None:
    """Return what is still to be asked where a key of ``rule`` fits; None when the keys say all of it."""
    items = rule.items if isinstance(rule, And) else (rule,)
    said = [item for item in items if isinstance(item, Call) and _is_key(item)]
    rest = [item for item in items if item not in said]
    hosts = sum(call.function == "Host" for call in said)
    # Of two demands of a kind, a key holds only one.
    if hosts > 1 or len(said) - hosts > 1 or any(keys_of(item) != _EVERYTHING for item in rest):
        return rule
    if not rest:
        return None
    return rest[0] if len(rest) == 1 else And(tuple(rest))


def _is_key(call: Call) -> bool:
    if len(call.arguments) ** 2 > _MOST_KEYS:
        return False
    # "/v1/" is more than the segment that its key demands, and "/" excludes "*".
    return call.function in ("Host", "Path") or (
        call.function == "PathPrefix" and not any(path.endswith("/") for path in call.arguments)
    )


def _keys_of_call(call: Call) -> list[Key]:
    if len(call.arguments) > _MOST_KEYS:
        return _EVERYTHING
    if call.function == "Host":
        return [Key(host=name) for name in call.arguments]
    if call.function == "Path":
        return [Key(ANY_HOST, _segments(path), True) for path in call.arguments]
    if call.function == "PathPrefix":
        return [Key(ANY_HOST, _segments(path.removesuffix("/"))) for path in call.arguments]
    return _EVERYTHING


def _segments(path: str) -> tuple[str, ...]:
    """Return the segments with the empty one before the first slash; none for an empty path."""
    return tuple(path.split("/")) if path else ()


def _both(one: Key, other: Key) -> Key:
    """Both are demanded, so either could stand for the rule: the more telling half of each is taken."""
    path = max(one, other, key=lambda key: (key.exact, len(key.segments)))
    return Key(one.host or other.host, path.segments, path.exact)


class _Node:
    __slots__ = ("children", "exact", "prefix")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.prefix: list[int] = []  # of the rules that demand the path so far
        self.exact: list[int] = []  # ... and nothing after it


class RouteIndex:
    """Finds rules, which are known by their rank, from 0 for the one that is tried first."""

    def __init__(self) -> None:
        self._any = _Node()
        self._has_any_host = False  # whether a rule stands there
        self._hosts: dict[str, _Node] = {}
        self._wild: dict[str, _Node] = {}  # by what follows the "*."

    def add(self, rank: int, keys: Iterable[Key]) -> None:
        """Add the rule of that rank."""
        for key in keys:
            node = self._root(key.host)
            for segment in key.segments:
                node = node.children.setdefault(segment, _Node())
            (node.exact if key.exact else node.prefix).append(rank)

    def _root(self, host: str) -> _Node:
        if host == ANY_HOST:
            self._has_any_host = True
            return self._any
        if host.startswith("*."):
            return self._wild.setdefault(host[2:], _Node())
        return self._hosts.setdefault(host, _Node())

    def candidates(self, host: str, path: str) -> list[int]:
        """Return the ranks of all rules that may hold, in order."""
        segments = path.split("/")
        found: list[int] = []
        if (root := self._hosts.get(host)) is not None:
            _walk(root, segments, found)
        if self._wild:
            first, _, parent = host.partition(".")
            if first and (root := self._wild.get(parent)) is not None:
                _walk(root, segments, found)
        if self._has_any_host:
            _walk(self._any, segments, found)
        if len(found) > 1:
            found.sort()
        return found

    def covering(self, key: Key) -> set[int]:
        """Return the ranks of the rules with a key that fits whenever ``key`` does."""
        roots = [self._any]
        if key.host.startswith("*."):
            roots += [self._wild[key.host[2:]]] if key.host[2:] in self._wild else []
        elif key.host:
            parent = key.host.partition(".")[2]
            roots += [table[name] for table, name in self._tables(key.host, parent) if name in table]
        found: list[int] = []
        for root in roots:
            _walk(root, key.segments, found)
        return set(found)

    def _tables(self, host: str, parent: str) -> list[tuple[dict[str, _Node], str]]:
        return [(self._hosts, host), (self._wild, parent)]


def _walk(node: _Node, segments: Iterable[str], found: list[int]) -> None:
    if node.prefix:
        found += node.prefix
    for segment in segments:
        if (child := node.children.get(segment)) is None:
            return
        node = child
        if node.prefix:
            found += node.prefix
    if node.exact:
        found += node.exact
