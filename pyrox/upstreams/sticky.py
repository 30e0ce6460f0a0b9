"""``Sticky``: a client stays with the server it had first, by a cookie that Pyrox makes and takes back.

The cookie names its server by a word that only the secret can make out of the address, and carries a
signature, so that it can neither be read nor be invented. The same secret makes the same cookies in every
worker and on every host, and after every restart.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass, field

from pyrox.http.cookies import take_cookie
from pyrox.http.message import Request, Response
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import Policy

_NAME_SIZE, _SIGNATURE_SIZE = 9, 18  # bytes: 12 and 24 characters without padding


@dataclass(frozen=True, slots=True)
class StickyCookie:
    """How the cookie of cluster ``cluster`` is made.

    ``max_age`` is in seconds; 0 makes a cookie that ends with the browser. ``domain`` ``""`` is the host
    that was asked.
    """

    cluster: str
    name: str
    secret: str = field(repr=False)
    max_age: int = 0
    path: str = "/"
    domain: str = ""
    same_site: str = "Lax"

    def value_for(self, url: str) -> str:
        """Return the value that names the server at ``url``."""
        name = self._sign("server", url, _NAME_SIZE)
        return f"{name}.{self._sign('cookie', name, _SIGNATURE_SIZE)}"

    def field_for(self, value: str, secure: bool) -> str:
        """Return the Set-Cookie field (RFC 6265 4.1); ``secure``: the client came by TLS."""
        attributes = [f"{self.name}={value}", f"Path={self.path}"]
        attributes += [f"Domain={self.domain}"] if self.domain else []
        attributes += [f"Max-Age={self.max_age}"] if self.max_age else []
        # Browsers drop a cookie with SameSite=None that is not Secure.
        attributes += ["Secure"] if secure or self.same_site == "None" else []
        return "; ".join([*attributes, "HttpOnly", f"SameSite={self.same_site}"])

    def _sign(self, purpose: str, text: str, size: int) -> str:
        message = "\0".join((purpose, self.cluster, text)).encode()
        digest = hmac.digest(self.secret.encode(), message, "sha256")
        return urlsafe_b64encode(digest[:size]).decode()


class Sticky(Policy):
    """The member that the client's cookie names; ``fresh`` chooses for clients that bring none.

    A cookie that is forged, or whose member is not there now, counts for none. Whoever is answered by
    another member than their cookie names gets a new one. No cookie of this name goes upstream.
    """

    listens = True

    def __init__(self, cookie: StickyCookie, fresh: Policy) -> None:
        self._cookie = cookie
        self._fresh = fresh
        self._name = cookie.name.encode()
        self._key = f"pyrox.sticky.{cookie.name}"  # in request.state: a second try finds the cookie there
        self._lineup: Lineup | None = None
        self._values: dict[Member, str] = {}
        self._named: dict[bytes, Member] = {}  # name of the server -> member of the lineup

    def choose(self, lineup: Lineup, request: Request, now: float) -> Member:
        if lineup is not self._lineup:
            self._adopt(lineup)
        return self._member_of(request) or self._fresh.choose(lineup, request, now)

    def choose_other(self, lineup: Lineup, request: Request, now: float, tried: Collection[Member]) -> Member:
        if lineup is not self._lineup:
            self._adopt(lineup)
        member = self._member_of(request)
        if member is not None and member not in tried:
            return member
        return self._fresh.choose_other(lineup, request, now, tried)

    def answered(
        self, member: Member, request: Request, response: Response, seconds: float, now: float
    ) -> None:
        if self._named_by(request.state.get(self._key)) is not member:
            secure = request.scheme == "https"
            response.headers.add("Set-Cookie", self._cookie.field_for(self._value_of(member), secure))

    def _adopt(self, lineup: Lineup) -> None:
        self._lineup = lineup
        # Those of members that have gone are forgotten, or discovery would add to them for ever.
        self._values = {member: self._value_of(member) for member in lineup.members}
        self._named = {value.partition(".")[0].encode(): member for member, value in self._values.items()}

    def _value_of(self, member: Member) -> str:
        value = self._values.get(member)
        if value is None:
            value = self._values[member] = self._cookie.value_for(member.server.url)
        return value

    def _member_of(self, request: Request) -> Member | None:
        given = take_cookie(request.headers, self._name)
        if given is not None:
            request.state[self._key] = given
        elif request._state is not None:
            given = request._state.get(self._key)
        return self._named_by(given)

    def _named_by(self, given: bytes | None) -> Member | None:
        if given is None:
            return None
        member = self._named.get(given.partition(b".")[0])
        if member is None or not hmac.compare_digest(self._value_of(member).encode(), given):
            return None
        return member
