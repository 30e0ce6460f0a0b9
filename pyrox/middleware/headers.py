"""``headers``: set, add and remove header fields on requests and responses."""

from __future__ import annotations

from collections.abc import Sequence

from pyrox.http.error_response import answer_headers
from pyrox.http.field_names import CONNECTION_FIELDS
from pyrox.http.headers import Field, Headers, make_field
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware


class HeadersMiddleware(Middleware):
    """Edits header fields: first removes, then sets, then adds.

    Every option is a list. Those that set and add take ``Name: value`` items; an ini file splits lists
    at commas, so an item with a comma needs quotes: ``response_set = "Cache-Control: no-cache, private"``.

    * ``request_remove``, ``response_remove``: names; every line of that name goes.
    * ``request_set``, ``response_set``: exactly this one line of that name is left.
    * ``request_add``, ``response_add``: one more line, beside what is there (Set-Cookie, Link).

    The answer to an error that comes from inside gets the fields that are set and added, too.
    """

    def __init__(
        self,
        app: App,
        request_set: Sequence[str] = (),
        request_add: Sequence[str] = (),
        request_remove: Sequence[str] = (),
        response_set: Sequence[str] = (),
        response_add: Sequence[str] = (),
        response_remove: Sequence[str] = (),
    ) -> None:
        super().__init__(app)
        self._request = _Edits("request", request_set, request_add, request_remove)
        self._response = _Edits("response", response_set, response_add, response_remove)

    def __call__(self, request: Request) -> Response:
        self._request.apply(request.headers)
        try:
            response = self.app(request)
        except Exception as error:
            self._response.apply(answer_headers(error))
            raise
        self._response.apply(response.headers)
        return response


class _Edits:
    """What is done to one side, checked and encoded once."""

    __slots__ = ("_dropped", "_new")

    def __init__(
        self, side: str, to_set: Sequence[str], to_add: Sequence[str], to_remove: Sequence[str]
    ) -> None:
        removed = [_parse(f"{side}_remove", name, "")[0] for name in to_remove]
        set_fields = [_parse_line(f"{side}_set", line) for line in to_set]
        set_names = [field[0] for field in set_fields]
        for name in set_names:
            if name in removed or set_names.count(name) > 1:
                raise ValueError(
                    f"{side}_set: {name.decode()} is set and removed, or set twice; {side}_add adds lines"
                )
        self._dropped = frozenset(removed + set_names)
        self._new = set_fields + [_parse_line(f"{side}_add", line) for line in to_add]

    def apply(self, headers: Headers) -> None:
        if self._dropped:
            dropped = self._dropped
            headers.fields = [field for field in headers.fields if field[0] not in dropped]
        headers.fields += self._new


def _parse_line(option: str, line: str) -> Field:
    name, colon, value = line.partition(":")
    if not colon:
        raise ValueError(f"{option}: {line!r} is not 'Name: value'; an item with a comma needs quotes")
    return _parse(option, name.strip(), value)


def _parse(option: str, name: str, value: str) -> Field:
    try:
        field = make_field(name, value)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if field[0] in CONNECTION_FIELDS:
        raise ValueError(f"{option}: {name} speaks of one connection only; the engine decides it")
    return field
