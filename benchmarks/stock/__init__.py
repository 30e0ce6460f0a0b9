"""What is measured of the stock middleware: one module for each of them, with a function ``rows``.

``rows(folder)`` returns a list of ``Row``; ``folder`` is a new one, for the files that options name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyrox.http.message import Response

# As a browser asks an API.
FIELDS = """Host: api.example
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0
Accept: application/json
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br
Cookie: theme=dark; lang=en
"""


def json_response() -> Response:
    """Make the response that upstream gives where a row does not say otherwise: 254 bytes of JSON."""
    fields = [
        (b"date", b"Date", b"Thu, 01 Jan 2026 00:00:00 GMT"),
        (b"content-type", b"Content-Type", b"application/json"),
        (b"content-length", b"Content-Length", b"254"),
    ]
    response = Response.from_head(200, "OK", "1.1", fields)
    response.body = b'{"items": [' + b"1" * 241 + b"]}"
    response.made_by = "upstream"
    return response


@dataclass(frozen=True)
class Row:
    """One line of the table.

    * ``name``: what it says, beginning with the middleware's name.
    * ``options``: the lines of the middleware's section, as in pyrox.ini.
    * ``fields``: more field lines of the request; ``target``: what it asks for.
    * ``response``: makes the upstream's response, anew for each request.
    * ``outer``: ``name`` and ``options`` of middleware that stand outside, and are not charged.
    * ``calls``: how many requests make one timing; fewer for what is slow.
    """

    name: str
    options: str = ""
    fields: str = ""
    target: str = "/v1/items/17?full=1"
    response: Callable[[], Response] = json_response
    outer: tuple[tuple[str, str], ...] = ()
    calls: int = 1000

    @property
    def middleware(self) -> str:
        """The name of the middleware."""
        return self.name.partition(" ")[0].rstrip(",:")
