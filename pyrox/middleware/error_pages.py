"""``error_pages``: what people and programs see when something fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from pyrox.http.accept import add_vary, field_value
from pyrox.http.body import known_length
from pyrox.http.error_response import answer_headers, answer_page
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.page_files import Pages, read_pages
from pyrox.middleware.representation import forget_representation

_SMALL = 1 << 16  # a body that is read to its end, so that its connection can be used again


class ErrorPages(Middleware):
    """Gives the answers to errors a page: HTML, JSON or text, as the client accepts.

    Errors that Pyrox or a middleware inside of this one raises get a page, whatever the status; their other
    fields, Retry-After and WWW-Authenticate among them, stay. An answer that a middleware wrote itself is
    left alone unless its body is empty. Requests that cannot be parsed never reach the stack.

    * ``pages``: a subsection with the files for a status, for several (``500-599``) or for all others
      (``default``), as ``404 = /etc/pyrox/404.html, /etc/pyrox/404.json``. Their suffix, ``.html``,
      ``.json`` or ``.txt``, says what they are. What is not given, Pyrox makes itself. ``{status}``,
      ``{reason}``, ``{detail}`` and ``{request_id}`` in them are filled in, escaped as HTML or as JSON
      needs it; put them into text, quoted attributes and JSON strings, never into scripts. The files are
      UTF-8 and read at the start and at each reload.
    * ``upstream``: statuses for which an upstream's answer gets a page as well, as ``404, 500-599``.
      Default none.
    """

    def __init__(
        self, app: App, pages: Mapping[str, Sequence[Path]] | None = None, upstream: Sequence[str] = ()
    ) -> None:
        super().__init__(app)
        files = dict(pages or {})
        self._default = read_pages(files.pop("default", ()), None)
        self._by_status: dict[int, Pages] = {}
        for entry, paths in files.items():
            read = read_pages(paths, self._default)
            for status in _parse_statuses("pages", entry):
                if status in self._by_status:
                    raise ValueError(f"pages: {status} stands in more than one line")
                self._by_status[status] = read
        self._upstream = frozenset(s for entry in upstream for s in _parse_statuses("upstream", entry))

    def __call__(self, request: Request) -> Response:
        accept = field_value(request.headers, "accept")  # an inner middleware may change it
        try:
            response = self.app(request)
        except Exception as error:
            answer_page(error, partial(self._render, request, accept))
            add_vary(answer_headers(error), "Accept")
            raise
        if response.status >= 400 and self._is_replaced(response):
            self._replace(request, accept, response)
        return response

    def _is_replaced(self, response: Response) -> bool:
        if response.made_by == "upstream":
            return response.status in self._upstream
        return known_length(response) == 0

    def _replace(self, request: Request, accept: str | None, response: Response) -> None:
        if 0 < (known_length(response) or 0) <= _SMALL:
            response.read_body()
        body, content_type = self._render(request, accept, response.status, "")
        response.body = body
        forget_representation(response.headers)
        response.headers["Content-Type"] = content_type
        add_vary(response.headers, "Accept")

    def _render(self, request: Request, accept: str | None, status: int, detail: str) -> tuple[str, str]:
        pages = self._by_status.get(status, self._default)
        return pages.render(accept, status, detail, str(request.state.get("request_id", "")))


def _parse_statuses(option: str, entry: str) -> range:
    first, _, last = (part.strip() for part in entry.partition("-"))
    if first.isdecimal() and (not last or last.isdecimal()):
        statuses = range(int(first), int(last or first) + 1)
        if statuses and statuses[0] >= 400 and statuses[-1] <= 599:
            return statuses
    raise ValueError(f"{option}: {entry!r} is no status of an error, 404 or 500-599")
