"""``request_id``: one id for each request, known to the client, the upstream and the logs."""

from __future__ import annotations

import re
import secrets
from itertools import count

from pyrox.http.error_response import answer_headers
from pyrox.http.field_names import CONNECTION_FIELDS, PROTECTED_FIELDS, normal_names
from pyrox.http.headers import Field, Headers, make_field
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware

# What every log format and shell takes without quoting; 128 is longer than any scheme in use.
_is_id = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}").fullmatch


class RequestId(Middleware):
    """Gives each request an id: on the request that goes upstream, on the response, be it an error's,
    and as ``request.state["request_id"]`` for other middleware and the access log.

    An id is unique, but not secret: a random prefix for each worker, then a count.

    * ``header``: the field that carries the id. Default ``X-Request-ID``.
    * ``trust``: keep the id that a peer in ``trusted_proxies`` sends, so that one id names the request
      in the logs of both proxies; only if it is 1 to 128 letters, digits and ``._:/+=@~-``. ``no``
      makes a new one always. An id from any other peer is never kept. Default ``yes``.
    """

    def __init__(self, app: App, header: str = "X-Request-ID", trust: bool = True) -> None:
        super().__init__(app)
        try:
            self._key, self._name, _ = make_field(header, "")
        except ValueError as error:
            raise ValueError(f"header: {error}") from None
        if not normal_names([header]).isdisjoint(CONNECTION_FIELDS | PROTECTED_FIELDS):
            raise ValueError(f"header: {header} has another meaning; choose a field such as X-Request-ID")
        self._trust = trust
        # Middleware are made after the fork, so no two workers share a prefix. All of this middleware
        # takes 1.0 us a request; uuid4 alone would take 2.8.
        self._prefix = secrets.token_hex(8) + "-"
        self._count = count(1)

    def __call__(self, request: Request) -> Response:
        request_id = self._sent_id(request) or f"{self._prefix}{next(self._count)}"
        field = (self._key, self._name, request_id.encode())
        _replace(request.headers, field)
        request.state["request_id"] = request_id
        try:
            response = self.app(request)
        except Exception as error:
            _replace(answer_headers(error), field)
            raise
        _replace(response.headers, field)
        return response

    def _sent_id(self, request: Request) -> str | None:
        """Return the id the client sent when it is to be kept."""
        client = request.client
        if client is None or not client.trusted or not self._trust:
            return None
        values = [field[2] for field in request.headers.fields if field[0] == self._key]
        return values[0].decode() if len(values) == 1 and _is_id(values[0]) else None


def _replace(headers: Headers, field: Field) -> None:
    """Leave ``field`` as the only line of its name; it is known to be valid."""
    key = field[0]
    for other in headers.fields:
        if other[0] == key:
            headers.fields = [kept for kept in headers.fields if kept[0] != key]
            break
    headers.fields.append(field)
