"""Conditions: a rule of the routes' language as a question to any request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

from pyrox.errors import ClientError
from pyrox.http.message import Request
from pyrox.routing.methods import methods_of
from pyrox.routing.paths import MOST_DIFFERENCES, readings
from pyrox.routing.predicates import compile_rule
from pyrox.routing.rule import Call, Not, Rule, parse_rule
from pyrox.routing.subject import Subject, host_of

Condition = Callable[[Request], bool]

_OF_PATHS = frozenset(("Path", "PathPrefix", "PathRegexp"))


def compile_condition(text: str) -> Condition:
    """Return the function that tells whether the rule ``text`` holds for a request.

    What it returns raises ``ClientError`` 400 when servers may read the path, or the method, in ways for
    which the rule holds and in others for which it does not: whoever asks could be led past what the
    condition guards.

    Raises ``RuleError`` when ``text`` is no rule.
    """
    rule = parse_rule(text)
    holds = compile_rule(rule)
    functions = {call.function for call in _calls(rule)}
    asks_paths, asks_methods = not _OF_PATHS.isdisjoint(functions), "Method" in functions

    def condition(request: Request) -> bool:
        host = host_of(request)
        paths = _paths_of(request) if asks_paths else ("",)
        methods = methods_of(request) if asks_methods else (request.method,)
        verdict = holds(Subject(request, host, paths[0], methods[0]))
        if len(paths) > 1 or len(methods) > 1:
            for path, method in product(paths, methods):
                if holds(Subject(request, host, path, method)) != verdict:
                    raise ClientError(f"another condition holds when it is read as {method} {path}".rstrip())
        return verdict

    return condition


def _calls(rule: Rule) -> Iterator[Call]:
    if isinstance(rule, Call):
        yield rule
    else:
        for item in (rule.item,) if isinstance(rule, Not) else rule.items:
            yield from _calls(item)


def _paths_of(request: Request) -> tuple[str, ...]:
    paths = readings(request.path)
    if paths is None:
        raise ClientError(f"a path that can be read in more than {2**MOST_DIFFERENCES} ways")
    return paths
