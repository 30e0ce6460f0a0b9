"""Memory that all workers of a proxy share, and that outlives each of them.

The master keeps one file that has no name (``memfd_create``) and hands it down: to its workers by the fork,
to the master that an upgrade starts as an open descriptor. So what is counted in it survives a reload, an
upgrade and the death of any process, and is gone with the last of them. Whoever needs some of it asks for
an ``Area`` by a name; the first to ask allocates it, zeroed.

Locks are the kernel's ("open file description" locks of single bytes): who dies lets go of them. Waiting for
one stops the whole process, so hold them for microseconds. Where no master has made the file, in a unit
test or a tool, an area is the process's own and its locks do nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, MutableMapping
from hashlib import blake2b

HANDED_OVER = "PYROX_SHARED_MEMORY"  # in the environment of the next master: the file's descriptor

_NAME = "pyrox-shared"
_MAGIC = b"pyrox shared 1\0\0"
_HEAD = struct.Struct("=16s16sqq")  # magic, secret, where free space begins, how many entries
_ENTRY = struct.Struct("=16sqq")  # digest of name and size, start, size
_DIRECTORY = 1 << 16
_MOST_AREAS = (_DIRECTORY - _HEAD.size) // _ENTRY.size
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of fcntl(2); its pid must be 0
_ALIGNMENT = mmap.ALLOCATIONGRANULARITY

_descriptor: int | None = None  # of the file, from whoever made it
_opened: dict[int, _File] = {}  # by process id: what was inherited has the parent's locks
_own: dict[tuple[str, int], Area] = {}  # of a process without a master


class Area:
    """``size`` bytes of shared ``memory``, with a lock for each of them; made by ``shared_area``.

    ``secret`` is 16 random bytes, the same for all areas and processes: what is hashed with it cannot be
    aimed at a place in the memory. ``owner`` is for the one object of this process that stands for the area,
    where two would be one too many.
    """

    __slots__ = ("_file", "_start", "memory", "owner", "secret")

    def __init__(self, file: int, start: int, size: int, secret: bytes) -> None:
        self._file = file
        self._start = start
        self.memory = mmap.mmap(file, size, offset=start)
        self.secret = secret
        self.owner: object = None

    def lock(self, place: int) -> None:
        """Wait for the lock of one byte; locks of several must be taken in ascending order."""
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _FLOCK.pack(fcntl.F_WRLCK, 0, self._start + place, 1, 0))

    def unlock(self, place: int) -> None:
        """Let go of the lock of one byte."""
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _FLOCK.pack(fcntl.F_UNLCK, 0, self._start + place, 1, 0))

    def try_lock(self, place: int) -> bool:
        """Take the lock of one byte unless another process has it; returns whether it was taken.

        A lock that this process has already is taken once more.
        """
        request = _FLOCK.pack(fcntl.F_WRLCK, 0, self._start + place, 1, 0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, request)
        except BlockingIOError:
            return False
        return True


class _OwnArea(Area):
    """Memory of one process, in which nothing runs at the same time."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        self.memory = mmap.mmap(-1, size)
        self.secret = os.urandom(16)
        self.owner = None

    def lock(self, place: int) -> None:
        pass

    def unlock(self, place: int) -> None:
        pass

    def try_lock(self, place: int) -> bool:
        return True


class _File:
    """The file as one process has opened it, for locks of its own."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        self._areas: dict[bytes, Area] = {}
        with self._locked():
            head = os.pread(self._file, _HEAD.size, 0)
            if head[: len(_MAGIC)] != _MAGIC:
                os.ftruncate(self._file, _DIRECTORY)
                head = _HEAD.pack(_MAGIC, os.urandom(16), _DIRECTORY, 0)
                os.pwrite(self._file, head, 0)
        self._secret: bytes = _HEAD.unpack(head)[1]

    def area(self, name: str, size: int) -> Area:
        digest = blake2b(f"{size} {name}".encode(), digest_size=16).digest()
        if digest not in self._areas:
            with self._locked():
                start = self._find(digest)
                if start is None:
                    start = self._allocate(digest, size)
            self._areas[digest] = Area(self._file, start, size, self._secret)
        return self._areas[digest]

    def _find(self, digest: bytes) -> int | None:
        count = self._head()[3]
        for number in range(count):
            known, start, _ = _ENTRY.unpack(os.pread(self._file, _ENTRY.size, _entry_at(number)))
            if known == digest:
                return int(start)
        return None

    def _allocate(self, digest: bytes, size: int) -> int:
        magic, secret, start, count = self._head()
        if count == _MOST_AREAS:
            raise MemoryError(f"all {count} areas of shared memory are taken; restart to free the unused")
        end = start + -(-size // _ALIGNMENT) * _ALIGNMENT
        os.ftruncate(self._file, end)  # sparse: pages come into being when they are written
        os.pwrite(self._file, _ENTRY.pack(digest, start, size), _entry_at(count))
        # Last: a process that is killed before leaves an entry that does not count.
        os.pwrite(self._file, _HEAD.pack(magic, secret, end, count + 1), 0)
        return int(start)

    def _head(self) -> tuple[bytes, bytes, int, int]:
        magic, secret, free, count = _HEAD.unpack(os.pread(self._file, _HEAD.size, 0))
        return magic, secret, free, count

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _FLOCK.pack(fcntl.F_WRLCK, 0, 0, 1, 0))
        try:
            yield
        finally:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _FLOCK.pack(fcntl.F_UNLCK, 0, 0, 1, 0))


def _entry_at(number: int) -> int:
    return _HEAD.size + number * _ENTRY.size


def shared_area(name: str, size: int) -> Area:
    """Return the area of that name and size; in one process, always the same object.

    Where the size differs from what it was, it is another area: what the other holds is not taken over.
    Call it in the process that uses it, after the fork. Raises ``MemoryError`` when there are too many.
    """
    if _descriptor is None:
        if (name, size) not in _own:
            _own[name, size] = _OwnArea(size)
        return _own[name, size]
    file = _opened.get(os.getpid())
    if file is None:
        file = _opened[os.getpid()] = _File(_descriptor)
    return file.area(name, size)


def keep_shared_memory(environ: MutableMapping[str, str]) -> None:
    """Make the file, or take over what a master before this one handed over; in a master, before it forks.

    Takes ``HANDED_OVER`` out of ``environ``.
    """
    global _descriptor
    handed_over = environ.pop(HANDED_OVER, "")
    if handed_over.isdecimal() and _is_ours(int(handed_over)):
        _descriptor = int(handed_over)
        os.set_inheritable(_descriptor, False)
    elif _descriptor is None:
        _descriptor = os.memfd_create(_NAME)


def forget_own_memory() -> None:
    """Let areas that are asked for from now on be new ones, where no master keeps them; for tests."""
    _own.clear()


def hand_over_shared_memory() -> str:
    """Let the next program of this process have the file; returns the value for ``HANDED_OVER``."""
    if _descriptor is None:
        return ""
    os.set_inheritable(_descriptor, True)
    return str(_descriptor)


def _is_ours(descriptor: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"/memfd:{_NAME} ")
    except FileNotFoundError:
        return False
