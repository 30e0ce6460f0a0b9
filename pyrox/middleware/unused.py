"""Sections of middleware that no stack names: options that their author takes to be in effect."""

from __future__ import annotations

from collections.abc import Iterator

from pyrox.settings import Settings


def stack_warnings(settings: Settings) -> Iterator[str]:
    """Yield a warning for each section of [middleware] that is in no stack."""
    stacks = (settings.middleware.stack, *(route.stack for route in settings.routes.sections.values()))
    used = {name for stack in stacks for name in stack}
    for name in settings.middleware.sections:
        if name not in used:
            yield f"[middleware] [[{name}]]: does nothing; name it in the stack of [middleware] or of a route"
