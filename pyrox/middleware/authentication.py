"""``Authentication``: what all middleware share that find out who the client is.

Each of them either authenticates a request or refuses it. Several in one stack: a request has to satisfy
each of them, except that one with ``optional = yes`` lets a request pass that has no credentials of its
kind. Wrong credentials are refused by both. So two factors are two middleware; a choice is several
optional ones, then whatever refuses the anonymous, such as ``rbac``. The innermost that authenticates says
who it is; a field for upstream that two of them set is the inner one's, all others stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pyrox.errors import HTTPError
from pyrox.http.accept import add_vary, list_items
from pyrox.http.headers import Field
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.identity import Identity, IdentityFields, identify, identity_of

USER_HEADER, ROLES_HEADER, SCOPES_HEADER = "X-Auth-User", "X-Auth-Roles", "X-Auth-Scopes"
FIELD_OPTIONS = {"user_header": USER_HEADER, "roles_header": ROLES_HEADER, "scopes_header": SCOPES_HEADER}

_CHALLENGES = "challenges"  # in request.state
_MAX_TOLD = 4096

_is_quotable = re.compile(r"[ -~]*").fullmatch


class Authentication(Middleware):
    """The base class: a subclass says by ``authenticate`` who a request comes from.

    * ``challenge``: what a 401 asks for, from ``make_challenge``; None where HTTP has no way to ask.
    * ``optional``: let requests pass that have no credentials of this kind.
    * ``fields``: those that tell upstream; ``told`` says what.
    * ``varies_by``: the request field that credentials stand in, for caches, or several, with commas.
    """

    def __init__(
        self, app: App, challenge: str | None, optional: bool, fields: IdentityFields, varies_by: str = ""
    ) -> None:
        super().__init__(app)
        self.challenge = challenge
        self._optional = optional
        self._fields = fields
        self._varies_by = list_items(varies_by)
        self._told: dict[int, tuple[Identity, list[Field]]] = {}

    @classmethod
    def reserved_fields(cls, options: Mapping[str, Any]) -> Iterable[str]:
        """Also those that this kind of authentication never sends: upstream might believe them, too."""
        return [options.get(option) or default for option, default in FIELD_OPTIONS.items()]

    def authenticate(self, request: Request) -> Identity | None:
        """Return who sent ``request``, None when it has no credentials of this kind.

        Raises ``HTTPError``: ``unauthorized`` for wrong credentials.
        """
        raise NotImplementedError

    def told(self, identity: Identity) -> Mapping[str, str | Iterable[str]]:
        """Return what upstream is told, by the options that the fields are made with."""
        return {
            "user_header": identity.name,
            "roles_header": identity.roles,
            "scopes_header": identity.scopes,
        }

    def __call__(self, request: Request) -> Response:
        identity = self.authenticate(request)
        if identity is not None:
            identify(request, identity)
            self._fields.clear(request.headers)
            request.headers.fields += self._encoded(identity)
        elif not self._optional:
            raise self.unauthorized(request)
        else:
            if self.challenge is not None:
                known = request.state.get(_CHALLENGES, ())
                request.state[_CHALLENGES] = (*known, self.challenge)
            if identity_of(request) is None:
                self._fields.clear(request.headers)
        response = self.app(request)
        add_vary(response.headers, *self._varies_by)
        return response

    def _encoded(self, identity: Identity) -> list[Field]:
        """Return what upstream is told; the same object, which a cache gave, needs no work twice."""
        known = self._told.get(id(identity))
        if known is not None and known[0] is identity:
            return known[1]
        if len(self._told) >= _MAX_TOLD:
            self._told.clear()
        fields = self._fields.encode(self.told(identity))
        self._told[id(identity)] = identity, fields
        return fields

    def unauthorized(self, request: Request, detail: str = "", challenge: str | None = None) -> HTTPError:
        """Return the 401 to raise; ``challenge`` may say more than this middleware's own."""
        return unauthorized(request, detail, challenge or self.challenge)


def unauthorized(request: Request, detail: str = "", challenge: str | None = None) -> HTTPError:
    """Return the error that asks ``request`` for credentials, of this kind or those that an outer one takes.

    RFC 9110 15.5.2: a 401 has at least one challenge. Where there is none to give, it is a 403. Neither needs
    Cache-Control: RFC 9111 3 lets no cache keep them.
    """
    challenges = dict.fromkeys([*request.state.get(_CHALLENGES, ()), *([challenge] if challenge else [])])
    if not challenges:
        return HTTPError(403, detail)
    # One line each: some clients do not find the second challenge of a line (RFC 9110 11.6.1).
    return HTTPError(401, detail, [("WWW-Authenticate", challenge) for challenge in challenges])


def make_challenge(scheme: str, **parameters: str) -> str:
    """Return a challenge as in RFC 9110 11.6.1: ``Basic realm="a \\"b\\""``.

    Raises ``ValueError`` that begins with the parameter for what is not printable ASCII.
    """
    for name, value in parameters.items():
        if not _is_quotable(value):
            raise ValueError(f"{name}: {value!r} has other characters than printable ASCII")
    quoted = (f'{name}="{_escape(value)}"' for name, value in parameters.items())
    return f"{scheme} {', '.join(quoted)}".rstrip()


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def credentials_of(request: Request, scheme: bytes) -> bytes | None:
    """Return what follows ``scheme`` (in lower case) in Authorization; None when there is no such.

    Raises ``HTTPError`` 400 for two of these fields: upstream might see the other one.
    """
    values = [field[2] for field in request.headers.fields if field[0] == b"authorization"]
    if not values:
        return None
    if len(values) > 1:
        raise HTTPError(400, "more than one Authorization field")
    found, _, credentials = values[0].partition(b" ")
    return credentials.strip(b" ") if found.lower() == scheme else None
