"""``Identity``: who a request comes from, as the authentication middleware found out.

Whatever authenticates calls ``identify``; whatever authorizes, limits or logs asks ``identity_of``. The two
need not know each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyrox.http.message import Request

_KEY = "identity"  # in request.state


@dataclass(frozen=True, slots=True)
class Identity:
    """One verified identity.

    * ``name``: the user, client or service; never empty.
    * ``roles`` and ``scopes``: what it may act as, and what it may do.
    * ``claims``: all else that its proof says (a token's claims, a certificate's fields), read only.
    * ``verified_by``: the kind of middleware that verified it, for example ``"jwt_auth"``.
    """

    name: str
    verified_by: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict)


def identify(request: Request, identity: Identity) -> None:
    """Note who ``request`` comes from; a later authentication replaces an earlier one's."""
    request.state[_KEY] = identity


def identity_of(request: Request) -> Identity | None:
    """Return who ``request`` comes from; None when nobody has authenticated it."""
    return request.state.get(_KEY)
