"""``headers``: rename, set, add and remove header fields on requests and responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyrox.http.error_response import answer_headers
from pyrox.http.field_names import CONNECTION_FIELDS
from pyrox.http.headers import Field, Headers, make_field
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.values import Value, compile_value, is_template, tells_identity


class HeadersMiddleware(Middleware):
    """Edits header fields: first renames, then removes, then sets, then adds.

    Every option is a list. Those that set and add take ``Name: value`` items; an ini file splits lists
    at commas, so an item with a comma needs quotes: ``response_set = "Cache-Control: no-cache, private"``.

    * ``request_rename``, ``response_rename``: ``Old: New``; every line called Old is called New, and takes
      the place of what was called so before. Without an Old nothing changes.
    * ``request_remove``, ``response_remove``: names; every line of that name goes.
    * ``request_set``, ``response_set``: exactly this one line of that name is left.
    * ``request_add``, ``response_add``: one more line, beside what is there (Set-Cookie, Link).

    A value may have placeholders: ``X-Client: {client.address}``. They stand for what is true before this
    middleware edits that side. A line whose placeholders all come out empty is left out; of one that is
    set nothing remains then, neither what the client sent. A request field that tells of the client's
    identity or certificate no client can send itself, on any route.

    The answer to an error that comes from inside gets the fields that are set and added, too.
    """

    def __init__(
        self,
        app: App,
        request_set: Sequence[str] = (),
        request_add: Sequence[str] = (),
        request_remove: Sequence[str] = (),
        request_rename: Sequence[str] = (),
        response_set: Sequence[str] = (),
        response_add: Sequence[str] = (),
        response_remove: Sequence[str] = (),
        response_rename: Sequence[str] = (),
    ) -> None:
        super().__init__(app)
        self._request = _edits("request", request_set, request_add, request_remove, request_rename)
        self._response = _edits("response", response_set, response_add, response_remove, response_rename)

    @classmethod
    def reserved_fields(cls, options: Mapping[str, Any]) -> Iterable[str]:
        """Name those that tell upstream of the client's identity or certificate."""
        lines = [*options["request_set"], *options["request_add"]]
        return [line.partition(":")[0].strip() for line in lines if tells_identity(line)]

    def __call__(self, request: Request) -> Response:
        if self._request:
            self._request.apply(request.headers, request, None)
        try:
            response = self.app(request)
        except Exception as error:
            if self._response:
                self._response.apply(answer_headers(error), request, None)
            raise
        if self._response:
            self._response.apply(response.headers, request, response)
        return response


class _Edits:
    """What is done to one side, checked and encoded once."""

    __slots__ = ("_dropped", "_new", "_renamed", "_templates")

    def __init__(
        self,
        side: str,
        to_set: Sequence[str],
        to_add: Sequence[str],
        to_remove: Sequence[str],
        to_rename: Sequence[str],
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
        self._renamed = dict(_parse_rename(f"{side}_rename", line) for line in to_rename)
        add_fields = [_parse_line(f"{side}_add", line) for line in to_add]
        lines = [(f"{side}_set", field) for field in set_fields]
        lines += [(f"{side}_add", field) for field in add_fields]
        self._new = [field for _, field in lines if not _has_template(field)]
        self._templates = [
            (*field[:2], _compile(option, field, side)) for option, field in lines if _has_template(field)
        ]

    def apply(self, headers: Headers, request: Request, response: Response | None) -> None:
        new = self._new
        if self._templates:
            new = new + [
                (key, name, filled)
                for key, name, value in self._templates
                if (filled := value(request, response))
            ]
        if self._renamed:
            self._rename(headers)
        if self._dropped:
            dropped = self._dropped
            for field in headers.fields:  # most often there is none of them: looking costs half a new list
                if field[0] in dropped:
                    headers.fields = [field for field in headers.fields if field[0] not in dropped]
                    break
        headers.fields += new

    def _rename(self, headers: Headers) -> None:
        renamed = self._renamed
        replaced = {renamed[field[0]][0] for field in headers.fields if field[0] in renamed}
        if replaced:
            headers.fields = [
                (*renamed[field[0]], field[2]) if field[0] in renamed else field
                for field in headers.fields
                if field[0] in renamed or field[0] not in replaced
            ]


def _edits(side: str, *lists: Sequence[str]) -> _Edits | None:
    edits = _Edits(side, *lists)
    return edits if any(lists) else None


def _has_template(field: Field) -> bool:
    return is_template(field[2].decode("latin-1"))


def _compile(option: str, field: Field, side: str) -> Value:
    try:
        return compile_value(field[2].decode("latin-1"), has_response=side == "response")
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def _parse_rename(option: str, line: str) -> tuple[bytes, tuple[bytes, bytes]]:
    old, colon, new = (part.strip() for part in line.partition(":"))
    if not colon:
        raise ValueError(f"{option}: {line!r} is not 'Old-Name: New-Name'")
    return _parse(option, old, "")[0], _parse(option, new, "")[:2]


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
