"""htpasswd and group files: users with the hashes of their passwords, and with their roles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pyrox.middleware.password_hashes import Verify, verifier_of

Groups = Mapping[str, frozenset[str]]  # of each user


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a user, the hash of the password, and what verifies it."""

    name: str
    hashed: bytes
    verify: Verify


class Users:
    """The users of one htpasswd file, by the bytes of their names."""

    def __init__(self, entries: Mapping[bytes, Entry], secret: bytes) -> None:
        self._entries = entries
        self._all = list(entries.values())
        self._secret = secret

    def __len__(self) -> int:
        return len(self._all)

    def hash_of(self, name: str) -> bytes:
        """Return the hash of a user's password; ``b""`` when there is no such user."""
        entry = self._entries.get(name.encode())
        return b"" if entry is None else entry.hashed

    def check(self, name: bytes, password: bytes) -> str | None:
        """Return the user's name when the password is right; takes as long for users that there are not.

        For these the hash of some user is computed, always the same one's: so it takes as long as for a
        user also where the hashes of a file cost differently.
        """
        entry = self._entries.get(name)
        compared = entry or self._stand_in(name)
        is_right = compared.verify(password, compared.hashed)
        return entry.name if entry is not None and is_right else None

    def _stand_in(self, name: bytes) -> Entry:
        digest = hashlib.blake2b(name, key=self._secret).digest()
        return self._all[int.from_bytes(digest) % len(self._all)]


def parse_htpasswd(text: bytes) -> Users:
    """Parse the lines ``user:hash`` of an htpasswd file; ``#`` begins a comment.

    Raises ``ValueError`` that names the line: for a hash that is too weak or not known, for a user that is
    named twice, for a file without users.
    """
    entries: dict[bytes, Entry] = {}
    for number, line in _lines(text):
        name, colon, rest = line.partition(b":")
        if not name or not colon:
            raise ValueError(f"line {number}: is not user:hash")
        if name in entries:
            raise ValueError(f"line {number}: {_text(number, name)!r} is there twice")
        hashed = rest.partition(b":")[0]  # some keep a comment in a third column
        try:
            entries[name] = Entry(_text(number, name), hashed, verifier_of(hashed))
        except ValueError as error:
            raise ValueError(f"line {number}: {_text(number, name)!r}: {error}") from None
    if not entries:
        raise ValueError("there is no user in it")
    # What only those know who have the file, and the same in all workers: clients cannot tell who stands in.
    return Users(entries, hashlib.blake2b(text).digest())


def parse_groups(text: bytes) -> Groups:
    """Parse the lines ``group: user user`` of a group file, as Apache has it; returns each user's groups.

    Raises ``ValueError`` that names the line.
    """
    groups: dict[str, set[str]] = {}
    for number, line in _lines(text):
        group, colon, users = _text(number, line).partition(":")
        if not colon or not group.strip():
            raise ValueError(f"line {number}: is not group: user user")
        for user in users.split():
            groups.setdefault(user, set()).add(group.strip())
    return {user: frozenset(names) for user, names in groups.items()}


def _lines(text: bytes) -> list[tuple[int, bytes]]:
    lines = [(number, line.strip()) for number, line in enumerate(text.split(b"\n"), 1)]
    return [(number, line) for number, line in lines if line and not line.startswith(b"#")]


def _text(number: int, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ValueError(f"line {number}: is not UTF-8") from None
