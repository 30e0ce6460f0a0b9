"""``Middleware`` and ``BodyFilter``: the two things a user of Pyrox writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyrox.http.message import Request, Response

if TYPE_CHECKING:
    from pyrox.settings import Settings

App = Callable[[Request], Response]


class Middleware:
    """An app that holds the next app: the unit Pyrox is extended by.

    ``__init__`` gets the next app and the options of its configuration section, coerced to the types
    of its annotations; check them there, once. Raise ``ValueError`` with a message that names the
    option and the fix; it becomes a start-up error. ``__call__`` is ordinary blocking code: answer
    yourself, or call ``self.app(request)`` and change what comes back.

    One instance serves all requests of a worker: keep per-request state in ``request.state`` or in
    local variables, never on ``self``.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    @classmethod
    def reserved_fields(cls, options: Mapping[str, Any]) -> Iterable[str]:
        """Name the request fields that only this middleware may set, given the options of its constructor.

        For what tells upstream who the client is: wherever the middleware stands in a configuration, no
        request keeps a field of these names that its client has sent, on whatever route, in whatever
        spelling, as a trailer or not.
        """
        return ()

    @classmethod
    def destinations(cls, options: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Name an option and a destination for each that the middleware may route a request to.

        Of the options of its constructor; a cluster that there is not is an error at start-up then.
        """
        return ()

    @classmethod
    def unmet_need(cls, settings: Settings) -> str:
        """Say what the rest of the configuration lacks without which this can do nothing, else ``""``.

        It becomes an error of ``--check``, and so at start-up.
        """
        return ""

    def __call__(self, request: Request) -> Response:
        """Answer ``request``; returns when the response's head is known, its body may still stream."""
        return self.app(request)


class BodyFilter:
    """Sees and changes a body as it streams by; attach one with ``message.filter_body()``."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next non-empty chunk and return what to send on; ``b""`` sends nothing yet."""
        return chunk

    def finish(self) -> bytes:
        """Return what is still to be sent after the last chunk."""
        return b""
