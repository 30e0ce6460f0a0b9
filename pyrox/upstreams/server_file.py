"""``FileResolver``: servers from a file that others write, one a line."""

from __future__ import annotations

import os
import stat

from pyrox.upstreams.resolver import Found, Resolution, ResolveError, Resolver, parse_found

_POLL = 1.0  # seconds between two looks at the file
# Seconds for which a file that has changed must stand still: whoever writes into it, instead of renaming a
# new one over it, may be in the middle.
_SETTLE = 0.2
_LARGEST = 1 << 22  # bytes; a file of this size has some 100,000 servers

Stamp = tuple[int, int, int]  # inode, size, nanoseconds


class FileResolver(Resolver):
    """The servers in the file at ``path``, as it was when it last was right and stood still.

    A line is a server as in ``servers``; empty lines, and what follows a ``#`` after a blank or at the
    begin of a line, mean nothing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._found: Resolution | None = None
        self._read: Stamp | None = None  # of what was right last
        self._wrong: tuple[Stamp, str] | None = None  # of what was wrong last, and why
        self._seen: Stamp | None = None  # of what was there at the last look

    def resolve(self) -> Resolution:
        """Look at the file; see ``Resolver.resolve``. The first look takes it as it is."""
        try:
            stamp = self._stamp()
            if self._found is not None:
                if stamp == self._read:
                    return self._found
                if self._wrong is not None and self._wrong[0] == stamp:
                    raise ResolveError(self._wrong[1], _POLL)  # at no more cost than a look
                if stamp != self._seen:
                    self._seen = stamp
                    return Resolution(self._found.servers, _SETTLE)
            with open(self._path, "rb") as file:
                content = file.read(_LARGEST + 1)
            if self._stamp() != stamp:
                raise ResolveError(f"{self._path} changes while it is read", _SETTLE)
        except OSError as error:
            raise ResolveError(f"{self._path} cannot be read: {error.strerror}", _POLL) from None
        try:
            self._found = Resolution(self._parse(content), _POLL)
        except ResolveError as error:
            self._wrong = stamp, str(error)
            raise
        self._read = stamp
        return self._found

    def _stamp(self) -> Stamp:
        found = os.stat(self._path)
        if not stat.S_ISREG(found.st_mode):  # to open a pipe would wait for a writer, and nobody be served
            raise ResolveError(f"{self._path} is no regular file", _POLL)
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _parse(self, content: bytes) -> list[Found]:
        if len(content) > _LARGEST:
            raise ResolveError(f"{self._path} is longer than {_LARGEST} bytes", _POLL)
        try:
            return parse_servers(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ResolveError(f"{self._path}, line {line}: is not UTF-8", _POLL) from None
        except ValueError as error:
            raise ResolveError(f"{self._path}{error}", _POLL) from None


def parse_servers(text: str) -> list[Found]:
    """Read the servers of a file.

    Raises ``ValueError`` whose message is put behind the file's name: ``, line 3: ...``.
    """
    found: dict[str, Found] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        end = next((n for n, word in enumerate(words) if word.startswith("#")), len(words))
        if not end:
            continue
        try:
            server = parse_found(" ".join(words[:end]))
        except ValueError as error:
            raise ValueError(f", line {number}: {error}") from None
        if server.server.url in found:
            raise ValueError(f", line {number}: {server.server} stands there a second time")
        found[server.server.url] = server
    if not found:
        raise ValueError(": it names no server")
    return [*found.values()]
