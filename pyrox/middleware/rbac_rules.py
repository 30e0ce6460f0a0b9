"""The rules of ``rbac``: who may ask for what, from a section of pyrox.ini or from a JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyrox.config_report import did_you_mean
from pyrox.middleware.identity import Identity
from pyrox.middleware.path_patterns import PathPatterns, parse_methods, too_many_readings

ANYONE, AUTHENTICATED, NOBODY = "anyone", "authenticated", "nobody"
_WORDS = (ANYONE, AUTHENTICATED, NOBODY)
_KINDS = ("role", "scope", "user")

Term = tuple[str, str]  # a word or a kind, and the name


@dataclass(frozen=True, slots=True)
class Grant:
    """One line: who may use some methods, None for all, of what a pattern fits.

    ``alternatives`` are sets of terms; of one of them all have to hold.
    """

    pattern: str
    methods: frozenset[str] | None
    alternatives: tuple[frozenset[Term], ...]


class Rules:
    """All grants. The first pattern that a path fits decides, with all the grants that have this pattern.

    So a grant for fewer methods never leaves the others to a later, wider pattern. Raises ``ValueError``
    for a pattern that is none.
    """

    def __init__(self, grants: Iterable[Grant], ignore_case: bool) -> None:
        self._grants: dict[str, list[Grant]] = {}
        for grant in grants:
            self._grants.setdefault(grant.pattern, []).append(grant)
        self._by_number = list(self._grants.values())
        self._patterns = PathPatterns(list(self._grants), ignore_case)

    def allow(self, path: str, methods: Sequence[str], identity: Identity | None) -> bool:
        """Tell whether ``identity`` may ask for ``path``, in each way to read it, by each of ``methods``.

        Raises ``HTTPError`` 400 when there are too many ways.
        """
        found = self._patterns.find(path)
        if found is None:
            raise too_many_readings()
        for number in found:
            for method in methods:
                if number is None or not self._grants_to(self._by_number[number], method, identity):
                    return False
        return True

    def _grants_to(self, grants: list[Grant], method: str, identity: Identity | None) -> bool:
        if method == "HEAD" and not any(grant.methods and "HEAD" in grant.methods for grant in grants):
            method = "GET"  # RFC 9110 9.3.2: it tells what GET tells, and less
        for grant in grants:
            if grant.methods is None or method in grant.methods:
                for terms in grant.alternatives:
                    if _hold(terms, identity):
                        return True
        return False


def _hold(terms: frozenset[Term], identity: Identity | None) -> bool:
    for kind, name in terms:  # noqa: SIM110 - any() and all() take three times as long for so few
        if not _holds(kind, name, identity):
            return False
    return True


def _holds(kind: str, name: str, identity: Identity | None) -> bool:
    if kind == ANYONE:
        return True
    if identity is None or kind == NOBODY:
        return False
    if kind == "role":
        return name in identity.roles
    if kind == "scope":
        return name in identity.scopes
    return kind == AUTHENTICATED or name == identity.name


def rules_of_section(lines: Mapping[str, Sequence[str]], ignore_case: bool) -> Rules:
    """Parse lines ``[METHODS] PATTERN = who, who``.

    Raises ``ValueError`` that begins with ``rules`` and names the line.
    """
    grants = []
    for key, items in lines.items():
        try:
            first, _, rest = key.partition(" ")
            is_pattern = first.startswith(("/", "~")) or not rest
            methods, pattern = (None, key) if is_pattern else (parse_methods(first), rest.strip())
            grants.append(_grant(pattern, methods, [item.split("+") for item in items]))
            Rules(grants[-1:], ignore_case)  # so that a fault is known to be of this line
        except ValueError as error:
            raise ValueError(f"rules: {key}: {error}") from None
    return Rules(grants, ignore_case)


def parse_rules_file(text: bytes, ignore_case: bool) -> Rules:
    """Parse a JSON list of ``{"path": PATTERN, "methods": [...], "allow": [...]}``.

    ``methods`` may be left out, for all. An item of ``allow`` is a term or a list of terms that all have
    to hold. Raises ``ValueError`` that says which rule is wrong, and why.
    """
    try:
        rules = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None
    if not isinstance(rules, list) or not rules:
        raise ValueError("is no list of rules")
    grants = []
    for number, rule in enumerate(rules, 1):
        try:
            grants.append(_grant_of_json(rule))
            Rules(grants[-1:], ignore_case)
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from None
    return Rules(grants, ignore_case)


def _grant_of_json(rule: Any) -> Grant:
    if not isinstance(rule, dict) or not isinstance(rule.get("path"), str):
        raise ValueError('is no object with a "path"')
    for key in rule:
        if key not in ("path", "methods", "allow"):
            raise ValueError(f"{key!r} is unknown{did_you_mean(key, ('path', 'methods', 'allow'))}")
    methods, allow = rule.get("methods"), rule.get("allow")
    if methods is not None and not _is_list_of_texts(methods):
        raise ValueError('"methods" is no list of methods')
    if not isinstance(allow, list):
        raise ValueError('"allow" is no list')
    alternatives = [[item] if isinstance(item, str) else item for item in allow]
    if not all(map(_is_list_of_texts, alternatives)):
        raise ValueError('"allow" has an item that is neither a text nor a list of texts')
    return _grant(rule["path"], None if methods is None else parse_methods("|".join(methods)), alternatives)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _grant(pattern: str, methods: frozenset[str] | None, alternatives: Sequence[Sequence[str]]) -> Grant:
    if not alternatives:
        raise ValueError("says of nobody that they may; write 'nobody' if that is meant")
    return Grant(pattern, methods, tuple(frozenset(map(_parse_term, terms)) for terms in alternatives))


def _parse_term(text: str) -> Term:
    kind, colon, name = text.strip().partition(":")
    if (colon and kind in _KINDS and name) or (not colon and kind in _WORDS):
        return kind, name
    known = [*(f"{known}:NAME" for known in _KINDS), *_WORDS]
    raise ValueError(
        f"{text.strip()!r} is none of {', '.join(known)}{did_you_mean(kind, [*_KINDS, *_WORDS])}"
    )
