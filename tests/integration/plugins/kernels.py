"""A middleware that stands between the proxy and its kernel: it counts what is spliced, or has it refused."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable

from pyrox import Middleware, Request, Response
from pyrox.middleware import App


class Kernel(Middleware):
    """Answers ``/spliced`` with how many bytes came out of pipes. ``kind``: one of the functions below."""

    spliced = 0

    def __init__(self, app: App, kind: str = "willing") -> None:
        super().__init__(app)
        KINDS[kind]()
        self._splice = os.splice
        os.splice = self.splice

    def splice(self, source: int, destination: int, size: int, *, flags: int) -> int:
        moved = self._splice(source, destination, size, flags=flags)
        self.spliced += moved if is_pipe(source) else 0
        return moved

    def __call__(self, request: Request) -> Response:
        if request.path != "/spliced":
            return self.app(request)
        return Response.json_of(self.spliced)


def is_pipe(descriptor: int) -> bool:
    return os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")


def willing() -> None:
    """Splices, as it is."""


def stingy() -> None:
    """Moves less than it could."""
    splice = os.splice

    def less(source: int, destination: int, size: int, *, flags: int) -> int:
        return splice(source, destination, min(size, random.randint(1, 30_000)), flags=flags)

    os.splice = less


def _refusing(is_refused: Callable[[int, int], bool]) -> Callable[[], None]:
    def refuse() -> None:
        splice = os.splice

        def refused(source: int, destination: int, size: int, *, flags: int) -> int:
            if is_refused(source, destination):
                raise OSError(errno.EPERM, "Operation not permitted")
            return splice(source, destination, size, flags=flags)

        os.splice = refused

    return refuse


def no_pipes() -> None:
    """Has no descriptor for a pipe."""

    def refused(flags: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    os.pipe2 = refused


KINDS = {
    "willing": willing,
    "stingy": stingy,
    "forbids splice": _refusing(lambda source, destination: True),
    "forbids splice to sockets": _refusing(lambda source, destination: is_pipe(source)),
    "no pipes": no_pipes,
}
