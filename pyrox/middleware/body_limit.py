"""``body_limit``: how long bodies may be, of requests and of responses, by their media type."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyrox.errors import HTTPError, ProxyError, UpstreamError
from pyrox.http.body import known_length
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, BodyFilter, Middleware
from pyrox.middleware.sizes import read_size


class BodyLimit(Middleware):
    """Refuses bodies that are too long: a request's with 413, a response's with 502.

    One that says its length is refused before a byte of it is read. Of any other the bytes are counted as
    they pass: then a request is still answered with 413, and a response, whose head is out, is broken off.
    Sizes are bytes, or ``64k``, ``1m``, ``1g``.

    * ``request``: the most a request's body may have. Default ``none``, no limit.
    * ``response``: the most a response's body may have. Default ``none``.
    * ``request_types``, ``response_types``: subsections with limits of their own for media types, as
      ``application/json = 64k`` and ``image/* = 10m``; the most specific one counts. What a body is, its
      sender says: a client may choose the largest of these.

    What is counted is the body as it passes this middleware, coded or not.
    """

    def __init__(
        self,
        app: App,
        request: int | str | None = None,
        response: int | str | None = None,
        request_types: Mapping[str, int | str] | None = None,
        response_types: Mapping[str, int | str] | None = None,
    ) -> None:
        super().__init__(app)
        self._request = _Limits("request", request, request_types or {})
        self._response = _Limits("response", response, response_types or {})
        if not self._request and not self._response:
            raise ValueError("request: there is no limit, neither here nor for responses; give one")

    def __call__(self, request: Request) -> Response:
        limit = self._request.limit_of(request.headers) if self._request else None
        if limit is not None:
            length = known_length(request)
            if length is None:
                request.filter_body(_Counter(limit, _request_too_long))
            elif length > limit:
                raise _request_too_long(limit)
        response = self.app(request)
        limit = self._response.limit_of(response.headers) if self._response else None
        if limit is not None:
            self._limit(response, limit)
        return response

    def _limit(self, response: Response, limit: int) -> None:
        length = known_length(response)
        if length is None:
            response.filter_body(_Counter(limit, _response_too_long))
        elif length > limit:
            response.close()
            raise _response_too_long(limit)


def _request_too_long(limit: int) -> ProxyError:
    return HTTPError(413, f"the body may have {limit} bytes at most")


def _response_too_long(limit: int) -> ProxyError:
    return UpstreamError(f"the response body is over {limit} bytes", proxy_status="http_response_body_size")


class _Limits:
    """The limits of one side."""

    def __init__(self, side: str, general: int | str | None, by_type: Mapping[str, int | str]) -> None:
        self._general = None if general is None else read_size(side, general)
        self._by_type = {}
        for name, size in by_type.items():
            main, slash, sub = name.lower().partition("/")
            if not slash or not main or not sub or ("*" in name and (main == "*" or sub != "*")):
                raise ValueError(f"{side}_types: {name!r} is no media type, nor one like image/*")
            self._by_type[name.lower()] = read_size(f"{side}_types", size)

    def __bool__(self) -> bool:
        return self._general is not None or bool(self._by_type)

    def limit_of(self, headers: Headers) -> int | None:
        """Return the limit for a body with these fields; the least when they say more than one type."""
        if not self._by_type:
            return self._general
        limits = [self._limit_of(line) for line in headers.get_all("content-type")] or [self._general]
        return min((limit for limit in limits if limit is not None), default=None)

    def _limit_of(self, content_type: str) -> int | None:
        name = content_type.partition(";")[0].strip().lower()
        family = name.partition("/")[0] + "/*"
        return self._by_type.get(name, self._by_type.get(family, self._general))


class _Counter(BodyFilter):
    """Lets ``limit`` bytes pass, and raises at the next."""

    __slots__ = ("_error", "_left", "_limit")

    def __init__(self, limit: int, error: Callable[[int], ProxyError]) -> None:
        self._limit = self._left = limit
        self._error = error

    def feed(self, chunk: bytes) -> bytes:
        self._left -= len(chunk)
        if self._left < 0:
            raise self._error(self._limit)
        return chunk
