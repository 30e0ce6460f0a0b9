"""``basic_auth``: users with passwords (RFC 7617), from an htpasswd file."""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64decode
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address, ip_network
from pathlib import Path
from time import monotonic
from typing import TypeVar

from pyrox.errors import HTTPError
from pyrox.http.forwarding import parse_address
from pyrox.http.message import Request
from pyrox.middleware.authentication import (
    ROLES_HEADER,
    USER_HEADER,
    Authentication,
    credentials_of,
    make_challenge,
)
from pyrox.middleware.base import App
from pyrox.middleware.htpasswd import Groups, Users, parse_groups, parse_htpasswd
from pyrox.middleware.identity import Identity, IdentityFields
from pyrox.middleware.shared_work import Overloaded, SharedWork, ShareUsedUp
from pyrox.middleware.watched_file import WatchedFile

_MAX_REMEMBERED = 8192  # pairs of each kind; some 150 bytes each
_FORGET_WRONG = 10.0  # seconds: a client with an old password asks again and again

T = TypeVar("T")

_NO_GROUPS: Groups = {}

_has_control = re.compile(rb"[\x00-\x1f\x7f]").search


class BasicAuth(Authentication):
    """Lets in who shows the name and the password of a user (RFC 7617).

    Passwords are hashed in threads, so that no other request waits. Pairs that were right are remembered by a
    keyed hash, never in the clear. Users that there are not take as long to refuse as those that there are.

    * ``file``: an htpasswd file with hashes by bcrypt (``htpasswd -B``), argon2, SHA-crypt (``-2``, ``-5``)
      or ``{SHA}`` (``-s``); MD5, DES and plain text are refused. A change is noticed within two seconds.
    * ``group_file``: lines ``group: user user``; a user's groups are the roles. Default none.
    * ``realm``: what clients are shown when they are asked for a password. Default ``restricted``.
    * ``optional``: let requests without Basic credentials pass. Default ``no``.
    * ``strip``: take Authorization off what goes upstream. Default ``yes``.
    * ``remember``: for how many seconds a right pair is not hashed again; 0 hashes each time. Default 300.
    * ``hashes_at_once``: how many hashes a worker computes at the same time. Default 2.
    * ``hashes_waiting``: how many more may wait; beyond that a new pair is answered 503. Default 100.
    * ``hashes_per_client``: how many of these one client address, or IPv6 /64, may have; beyond that it is
      answered 429. Default 10.
    * ``user_header``, ``roles_header``: the fields that tell upstream; empty for none. Default
      ``X-Auth-User`` and ``X-Auth-Roles``.
    """

    def __init__(
        self,
        app: App,
        file: Path,
        group_file: Path | None = None,
        realm: str = "restricted",
        optional: bool = False,
        strip: bool = True,
        remember: float = 300.0,
        hashes_at_once: int = 2,
        hashes_waiting: int = 100,
        hashes_per_client: int = 10,
        user_header: str | None = USER_HEADER,
        roles_header: str | None = ROLES_HEADER,
    ) -> None:
        fields = IdentityFields(user_header=user_header, roles_header=roles_header)
        challenge = make_challenge("Basic", realm=realm, charset="UTF-8")
        super().__init__(app, challenge, optional, fields, "Authorization")
        _check_least("remember", remember, 0)
        _check_least("hashes_at_once", hashes_at_once, 1)
        _check_least("hashes_waiting", hashes_waiting, 0)
        _check_least("hashes_per_client", hashes_per_client, 1)
        self._users = WatchedFile("file", file, parse_htpasswd)
        self._groups = None if group_file is None else WatchedFile("group_file", group_file, parse_groups)
        self._known_groups: Groups = _NO_GROUPS
        self._identities: dict[str, Identity] = {}  # of users in the file, by their names, with these groups
        self._strip = strip
        self._work: SharedWork[str | None] = SharedWork(hashes_at_once, hashes_waiting, hashes_per_client)
        self._verdicts = Verdicts(remember, _FORGET_WRONG if remember else 0.0)

    def authenticate(self, request: Request) -> Identity | None:
        credentials = credentials_of(request, b"basic")
        if credentials is None:
            return None
        users = self._users.current()
        key = self._verdicts.key_of(credentials)
        is_known, name = self._verdicts.recall(key, users)
        if not is_known:
            name = self._verify(request, users, credentials, key)
        if name is None:
            raise self.unauthorized(request)
        if self._strip:
            request.headers.discard("authorization")
        return self._identity(name)

    def _identity(self, name: str) -> Identity:
        groups = self._groups.current() if self._groups is not None else _NO_GROUPS
        if groups is not self._known_groups:
            self._known_groups, self._identities = groups, {}
        identity = self._identities.get(name)
        if identity is None:
            identity = self._identities[name] = Identity(name, "basic_auth", groups.get(name, frozenset()))
        return identity

    def _verify(self, request: Request, users: Users, credentials: bytes, key: bytes) -> str | None:
        pair = parse_pair(credentials)
        if pair is None:
            return None
        try:
            name = self._work.do((key, users), _owner(request), lambda: users.check(*pair))
        except ShareUsedUp:
            raise HTTPError(429, "too many passwords at a time", {"Retry-After": "1"}) from None
        except Overloaded:
            raise HTTPError(503, "", {"Retry-After": "1"}) from None
        self._verdicts.remember(key, users, name)
        return name


class Verdicts:
    """Which credentials were right, and whose, and which were wrong.

    They are remembered by a hash whose key is this object's: who reads the memory finds no passwords, and
    nobody can choose credentials that share a place. Right and wrong ones are apart, so that a flood of wrong
    ones does not push out the right ones. A verdict ends with its time, in seconds, and when the file says
    something else: of that user, or, for wrong credentials, at all.
    """

    def __init__(self, right: float, wrong: float, clock: Callable[[], float] = monotonic) -> None:
        self._secret = os.urandom(32)
        self._lifetimes = right, wrong
        self._right: dict[bytes, tuple[float, str, bytes]] = {}  # until when, whose, the hash in the file
        self._wrong: dict[bytes, tuple[float, Users]] = {}
        self._clock = clock

    def key_of(self, credentials: bytes) -> bytes:
        """Return what ``credentials`` are remembered by."""
        return hashlib.blake2b(credentials, key=self._secret, digest_size=32).digest()

    def recall(self, key: bytes, users: Users) -> tuple[bool, str | None]:
        """Tell whether there is a verdict, and the user's name, None for wrong credentials."""
        right = self._right.get(key)
        if right is not None and right[0] > self._clock() and users.hash_of(right[1]) == right[2]:
            return True, right[1]
        wrong = self._wrong.get(key)
        return wrong is not None and wrong[0] > self._clock() and wrong[1] is users, None

    def remember(self, key: bytes, users: Users, name: str | None) -> None:
        """Remember a verdict, in place of the oldest when there are many."""
        right, wrong = self._lifetimes
        if name is None and wrong:
            _keep(self._wrong, key, (self._clock() + wrong, users))
        elif name is not None and right:
            _keep(self._right, key, (self._clock() + right, name, users.hash_of(name)))


def _keep(verdicts: dict[bytes, T], key: bytes, verdict: T) -> None:
    verdicts.pop(key, None)
    if len(verdicts) >= _MAX_REMEMBERED:
        del verdicts[next(iter(verdicts))]
    verdicts[key] = verdict


def parse_pair(credentials: bytes) -> tuple[bytes, bytes] | None:
    """Return the user and the password of Basic credentials, None when they are not well formed.

    RFC 7617 2: the first colon ends the user, the password may have more; neither has control characters.
    """
    try:
        text = b64decode(credentials, validate=True)
    except ValueError:
        return None
    user, colon, password = text.partition(b":")
    return (user, password) if colon and not _has_control(text) else None


def _owner(request: Request) -> Hashable:
    """Whose share of the work it is: a client has any number of addresses in its IPv6 /64."""
    address = parse_address(request.client_address)
    return ip_network((address, 64), strict=False) if isinstance(address, IPv6Address) else address


def _check_least(option: str, value: float, least: int) -> None:
    if value < least:
        raise ValueError(f"{option}: {value:g} is less than {least}")
