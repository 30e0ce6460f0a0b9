"""``json_fields``: choose, remove and set members of JSON documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.middleware.extras import require
from pyrox.middleware.json_places import Places, remove
from pyrox.middleware.transform import Flow, Side, Transform


class JsonFields(Transform):
    """Edits JSON documents: first selects, then removes, then sets. Expressions are JMESPath's.

    * ``request_select``, ``response_select``: an expression; what it makes of the document is sent.
    * ``request_remove``, ``response_remove``: places, such as ``a.b``, ``items[*].secret``,
      ``items[?kind == 'x'].b``; what is there goes.
    * ``request_set``, ``response_set``: ``place = expression`` items; the expression sees the document as it
      is by then. ``'text'`` and ``\\`1\\``` are constants. Missing objects on the way are made.
    * ``limit``: the longest document, in bytes. Default 1 MiB.

    A response that is no success (2xx) is neither selected from nor set in: its document is another one.
    """

    def __init__(
        self,
        app: App,
        request_select: str | None = None,
        request_remove: Sequence[str] = (),
        request_set: Sequence[str] = (),
        response_select: str | None = None,
        response_remove: Sequence[str] = (),
        response_set: Sequence[str] = (),
        limit: int = 1 << 20,
    ) -> None:
        super().__init__(app)
        if limit < 1:
            raise ValueError(f"limit: {limit} is less than 1")
        self.limit = limit
        jmespath = require("jmespath", "json")
        self._request = _Edits(jmespath, "request", request_select, request_remove, request_set)
        self._response = _Edits(jmespath, "response", response_select, response_remove, response_set)
        sides: list[Side] = []
        if self._request.is_needed:
            sides.append("request")
        if self._response.is_needed:
            sides.append("response")
        if not sides:
            raise ValueError("response_set: nothing to do; give a select, remove or set")
        self.sides = sides

    def wants_response(self, request: Request, response: Response) -> bool:
        return response.status < 300 or self._response.removes

    def on_request_json(self, document: Any, flow: Flow) -> Any:
        return self._request.apply(document, True, ClientError)

    def on_response_json(self, document: Any, flow: Flow) -> Any:
        assert flow.response is not None
        return self._response.apply(document, flow.response.status < 300, UpstreamError)


class _Edits:
    """What is done to the documents of one side."""

    def __init__(
        self, jmespath: Any, side: Side, select: str | None, removed: Sequence[str], to_set: Sequence[str]
    ) -> None:
        self._errors = jmespath.exceptions.JMESPathError
        self._jmespath = jmespath
        self._select = None if select is None else self._compile(f"{side}_select", select)
        self._removed = [self._places(f"{side}_remove", path) for path in removed]
        self._to_set = [self._assignment(f"{side}_set", item) for item in to_set]

    @property
    def removes(self) -> bool:
        return bool(self._removed)

    @property
    def is_needed(self) -> bool:
        return self._select is not None or bool(self._removed or self._to_set)

    def apply(self, document: Any, is_success: bool, error: type[ProxyError]) -> Any:
        """Raises ``error`` when the document is none that the expressions can work on."""
        if self._select is not None and is_success:
            document = self._value(self._select, document, error)
        for places in self._removed:
            remove(places.find(document))
        for places, expression in self._to_set if is_success else ():
            for outer, key in places.find(document, create=True):
                outer[key] = self._value(expression, document, error)
        return document

    def _value(self, expression: Any, document: Any, error: type[ProxyError]) -> Any:
        try:
            return expression.search(document)
        except self._errors as fault:
            raise error(f"{expression.expression!r}: {fault}") from fault

    def _assignment(self, option: str, item: str) -> tuple[Places, Any]:
        place, equals, expression = item.partition("=")
        if not equals or expression.startswith("="):
            raise ValueError(f"{option}: {item!r} is not 'place = expression'")
        return self._places(option, place.strip()), self._compile(option, expression.strip())

    def _places(self, option: str, path: str) -> Places:
        try:
            return Places(self._jmespath, path)
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from None

    def _compile(self, option: str, expression: str) -> Any:
        try:
            return self._jmespath.compile(expression)
        except self._errors as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{option}: {expression!r} is no JMESPath expression: {reason}") from None
