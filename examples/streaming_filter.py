"""Change a body as it streams by, whatever its length, without ever holding it."""

from __future__ import annotations

from pyrox import BodyFilter, Middleware, Request, Response
from pyrox.middleware import App


class Replace(BodyFilter):
    """Replaces ``old`` by ``new``, also where ``old`` is cut in two by the end of a chunk."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self.old = old
        self.new = new
        self.held = b""  # the end of the last chunk, which may be the start of ``old``

    def feed(self, chunk: bytes) -> bytes:
        *done, rest = (self.held + chunk).split(self.old)
        keep = self._length_of_possible_start(rest)
        self.held = rest[len(rest) - keep :]
        return self.new.join([*done, rest[: len(rest) - keep]])

    def finish(self) -> bytes:
        return self.held

    def _length_of_possible_start(self, rest: bytes) -> int:
        longest = min(len(self.old) - 1, len(rest))
        return next((n for n in range(longest, 0, -1) if rest.endswith(self.old[:n])), 0)


class ReplaceText(Middleware):
    """Replaces a text in text/* responses.

    * ``old``, ``new``: what is replaced, and by what; in UTF-8.
    """

    def __init__(self, app: App, old: str, new: str = "") -> None:
        super().__init__(app)
        if not old:
            raise ValueError("old: must not be empty")
        self.old = old.encode()
        self.new = new.encode()

    def __call__(self, request: Request) -> Response:
        request.headers.discard("Accept-Encoding")
        request.headers.discard("Range")  # of which part, before or after?
        response = self.app(request)
        is_text = response.headers.get("content-type", "").lower().startswith("text/")
        if is_text and "content-encoding" not in response.headers:
            # A filter holds state, so each response gets its own.
            response.filter_body(Replace(self.old, self.new))
            response.headers.discard("ETag")
        return response
