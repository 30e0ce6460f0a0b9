"""``rbac``: who may do what, by roles and scopes. What no rule allows is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.authentication import unauthorized
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.identity import identity_of
from pyrox.middleware.rbac_rules import parse_rules_file, rules_of_section
from pyrox.middleware.watched_file import WatchedFile
from pyrox.routing.methods import methods_of


class Rbac(Middleware):
    """Lets requests pass that a rule allows to whoever they come from; answers 403 to all others.

    Put it inside of what authenticates. Who is not authenticated gets a 401 that asks for it.

    A rule is ``METHODS PATTERN = who, who``; without methods it is for all. The first pattern that a path
    fits decides, with all the rules that have this same pattern; a method that none of them has is refused.
    HEAD counts as GET where no rule has it. ``who`` is ``role:NAME``, ``scope:NAME``, ``user:NAME``,
    ``authenticated``, ``anyone`` or ``nobody``; joined by ``+`` all of them have to hold. Patterns:
    ``/orders/*``, ``/admin/**``, ``~ REGEX``.

    A path that servers could read in several ways has to be allowed in each of them, and so has each method
    that ``X-HTTP-Method-Override`` and the like ask for.

    * ``rules``: a subsection with one rule a line.
    * ``file``: in its place, a JSON file: a list of ``{"path": "/orders/*", "methods": ["GET"], "allow":
      ["role:reader", ["role:clerk", "scope:orders"]]}``. A change is noticed within two seconds.
    * ``ignore_case``: take upper and lower case in paths for the same, as the server does. Default ``no``.
    """

    def __init__(
        self,
        app: App,
        rules: Mapping[str, Sequence[str]] | None = None,
        file: Path | None = None,
        ignore_case: bool = False,
    ) -> None:
        super().__init__(app)
        if bool(rules) == (file is not None):
            raise ValueError("rules: give either rules or a file of them")
        self._rules = rules_of_section(rules or {}, ignore_case)
        self._file = None
        if file is not None:
            self._file = WatchedFile("file", file, partial(parse_rules_file, ignore_case=ignore_case))

    def __call__(self, request: Request) -> Response:
        rules = self._rules if self._file is None else self._file.current()
        identity = identity_of(request)
        if rules.allow(request.path, methods_of(request), identity):
            return self.app(request)
        raise unauthorized(request) if identity is None else HTTPError(403)
