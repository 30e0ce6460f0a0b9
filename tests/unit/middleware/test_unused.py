"""Sections of middleware that are in no stack are warned of."""

from __future__ import annotations

from pyrox.config import parse_settings
from pyrox.middleware.unused import stack_warnings

ROUTE = "[routes]\n[[a]]\nmatch = Path(`/`)\nrespond = 200\nstack = cors,\n"


def warnings_of(text: str) -> list[str]:
    return list(stack_warnings(parse_settings(text)))


def test_section_that_no_stack_names_is_warned_of() -> None:
    assert warnings_of("[middleware]\nstack = request_id,\n[[cors]]\norigins = *\n[[request_id]]\n") == [
        "[middleware] [[cors]]: does nothing; name it in the stack of [middleware] or of a route"
    ]


def test_section_of_a_route_is_in_use() -> None:
    assert warnings_of(f"[middleware]\n[[cors]]\norigins = *\n{ROUTE}") == []
