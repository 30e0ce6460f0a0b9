"""``Hash``: requests with the same key go to the same member, whatever worker or host they come to.

Rendezvous hashing (Thaler and Ravishankar; weighted: Schindelhauer and Schomaker): each member has a number
for each key, and the highest wins. A member that goes takes no number of the others with it, so only its own
keys move, and they spread over all that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import sha256
from math import log
from zlib import crc32

from pyrox.http.cookies import find_cookie
from pyrox.http.message import Request
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import Policy

KeyOf = Callable[[Request], bytes | None]  # None: the request has no such key

_WORD = (1 << 64) - 1
_MAX_KNOWN = 4096  # keys whose member is remembered; with many members their numbers take a while


class Hash(Policy):
    """The member that the key of ``key_of`` belongs to; ``keyless`` chooses for requests that have none."""

    def __init__(self, key_of: KeyOf, keyless: Policy) -> None:
        self._key_of = key_of
        self._keyless = keyless
        self._lineup: Lineup | None = None
        self._factors: list[tuple[int, Member]] = []
        self._known: dict[int, Member] = {}

    def choose(self, lineup: Lineup, request: Request, now: float) -> Member:
        key = self._key_of(request)
        if key is None:
            return self._keyless.choose(lineup, request, now)
        if lineup is not self._lineup:
            self._adopt(lineup)
        word = _spread(crc32(key))
        member = self._known.get(word)
        if member is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            member = self._known[word] = _highest(word, self._factors, lineup.is_even)
        return member

    def choose_other(self, lineup: Lineup, request: Request, now: float, tried: Collection[Member]) -> Member:
        key = self._key_of(request)
        if key is None:
            return self._keyless.choose_other(lineup, request, now, tried)
        if lineup is not self._lineup:
            self._adopt(lineup)
        left = [each for each in self._factors if each[1] not in tried]
        return _highest(_spread(crc32(key)), left, lineup.is_even)

    def _adopt(self, lineup: Lineup) -> None:
        self._lineup = lineup
        known = {member: factor for factor, member in self._factors}
        self._factors = [(known.get(member) or _factor(member), member) for member in lineup.members]
        self._known.clear()


def _highest(word: int, factors: list[tuple[int, Member]], is_even: bool) -> Member:
    """Return the member with the highest number for ``word``."""
    if is_even:
        numbers: list[float] = [word * factor & _WORD for factor, _ in factors]
    else:
        # A number of 64 bits as one between 0 and 1, neither of which it may be; a float has room for 52.
        numbers = [
            member.weight / -log(((word * factor & _WORD) >> 12) * 2.0**-52 + 2.0**-53)
            for factor, member in factors
        ]
    return factors[numbers.index(max(numbers))][1]


def _factor(member: Member) -> int:
    """Return the odd number by which a member's numbers are made: the same in every process."""
    return int.from_bytes(sha256(member.server.url.encode()).digest()[:8]) | 1


def _spread(word: int) -> int:
    """Let every bit of ``word`` change every bit of the result, which has 64 (murmur3's finalizer).

    A CRC is quick, but those of similar keys are similar.
    """
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCD & _WORD
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53 & _WORD
    return word ^ word >> 33


def key_of(text: str) -> KeyOf:
    """Return what finds the key that ``hash_on`` names: as in ``header:X-User``, or ``client``."""
    kind, _, name = text.partition(":")
    raw = name.encode("latin-1")
    if kind == "header":
        return _header(raw.lower())
    if kind == "cookie":
        return lambda request: find_cookie(request.headers, raw)
    if kind == "query":
        return _query(name)
    if kind == "path":
        return lambda request: request.path.encode("latin-1")
    return lambda request: request.client_address.encode() or None


def _header(name: bytes) -> KeyOf:
    def find(request: Request) -> bytes | None:
        for field in request.headers.fields:
            if field[0] == name:
                return field[2]
        return None

    return find


def _query(name: str) -> KeyOf:
    def find(request: Request) -> bytes | None:
        for parameter in request.query.split("&"):
            key, _, value = parameter.partition("=")
            if key == name:
                return value.encode("latin-1")
        return None

    return find
