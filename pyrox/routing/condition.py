"""Conditions: a rule of the routes' language as a question to any request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyrox.errors import ClientError
from pyrox.http.message import Request
from pyrox.routing.paths import MOST_DIFFERENCES, readings
from pyrox.routing.predicates import Predicate, compile_rule
from pyrox.routing.rule import Call, Not, Rule, parse_rule
from pyrox.routing.subject import Subject, host_of

Condition = Callable[[Request], bool]

_OF_PATHS = frozenset(("Path", "PathPrefix", "PathRegexp"))


def compile_condition(text: str) -> Condition:
    """Return the function that tells whether the rule ``text`` holds for a request.

    What it returns raises ``ClientError`` 400 when servers may read the path in ways for which the rule
    holds and in others for which it does not: whoever asks could be led past what the condition guards.

    Raises ``RuleError`` when ``text`` is no rule.
    """
    rule = parse_rule(text)
    holds = compile_rule(rule)
    if not any(call.function in _OF_PATHS for call in _calls(rule)):
        return lambda request: holds(Subject(request, host_of(request), ""))
    return lambda request: _holds_in_all_readings(holds, request)


def _calls(rule: Rule) -> Iterator[Call]:
    if isinstance(rule, Call):
        yield rule
    else:
        for item in (rule.item,) if isinstance(rule, Not) else rule.items:
            yield from _calls(item)


def _holds_in_all_readings(holds: Predicate, request: Request) -> bool:
    host = host_of(request)
    paths = readings(request.path)
    if paths is None:
        raise ClientError(f"a path that can be read in more than {2**MOST_DIFFERENCES} ways")
    verdict = holds(Subject(request, host, paths[0]))
    for path in paths[1:]:
        if holds(Subject(request, host, path)) != verdict:
            raise ClientError(f"a path that another condition holds for when it is read as {path!r}")
    return verdict
