"""What the method of a request is, for rules: every method that a server might take it for.

Frameworks let a client that can only POST ask for another method in a field. Some do so by default, others
when told to, and a proxy cannot know which it has behind it.
"""

from __future__ import annotations

from pyrox.http.field_names import normal_name
from pyrox.http.message import Request

_OVERRIDES = frozenset((b"x-http-method-override", b"x-http-method", b"x-method-override"))
# Every spelling of a name has its length, and lengths are compared in a fifth of the time.
_LENGTHS = frozenset(map(len, _OVERRIDES))


def methods_of(request: Request) -> tuple[str, ...]:
    """Return the method, and those that frameworks may take in its place because a field says so."""
    method = request.method
    found = [
        value
        for name, _, value in request.headers.fields
        if len(name) in _LENGTHS and normal_name(name) in _OVERRIDES
    ]
    if not found:
        return (method,)
    asked_for = (value.decode("latin-1").strip().upper() for value in found)
    return tuple(dict.fromkeys((method, *asked_for)))
