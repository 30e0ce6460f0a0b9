"""``cors``: which other origins' pages may use this service from a browser (the Fetch standard's CORS)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from pyrox.errors import HTTPError
from pyrox.http.accept import add_vary
from pyrox.http.error_response import answer_headers
from pyrox.http.headers import Field, Headers, is_token, make_field
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.routing.regex import compile_regex

# Fetch 3.3.3. Whatever the upstream says of this is replaced: two voices would be one too many.
_OURS = b"access-control-"
_ALLOW_ORIGIN = (b"access-control-allow-origin", b"Access-Control-Allow-Origin")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# RFC 6454 6.2: as browsers write an origin. No user, no path, nothing that could hide one.
_is_origin = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?").fullmatch
_is_subdomain = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*").fullmatch
_LONGEST_ORIGIN = 300  # a scheme, a name of DNS and a port; longer ones would fill the memory of patterns
# No operator means to let these in: a pattern that does lets in everybody.
_STRANGERS = ("https://pyrox-stranger.invalid", "http://192.0.2.1:8080", "https://a.b.invalid:8443")

IsAllowed = Callable[[str], bool]


class Cors(Middleware):
    """Tells browsers which origins may call this service, and answers their preflights.

    A preflight carries no credentials, so put this outside of whatever authenticates. It is no access
    control: a request from another origin goes on, and its page is only kept from reading the answer.
    Whatever CORS fields the upstream sends are replaced. Errors from inside are marked as well.

    * ``origins``: ``https://a.example``, exactly; ``https://*.a.example``, every name below a.example but
      not a.example itself; ``re:https://[a-z]+\\.a\\.example``, a regular expression (RE2) for all of the
      origin; or ``*``, anybody. The origin ``null`` is never let in by name or pattern: every sandboxed
      frame has it.
    * ``methods``: that may be used besides GET, HEAD and POST; ``*``: any. Default none.
    * ``headers``: request fields that pages may set besides the harmless ones; ``*``: any. Default none.
    * ``expose``: response fields that pages may read besides the harmless ones; ``*``: any. Default none.
    * ``credentials``: let browsers send cookies, and pages read what comes of it. Default ``no``; with it
      no ``*`` is allowed anywhere.
    * ``max_age``: how many seconds a browser may remember a preflight's answer. Default 600; 0: not at all.
    * ``private_network``: let pages of public networks call this one in a private network. Default ``no``.
    """

    def __init__(
        self,
        app: App,
        origins: Sequence[str],
        methods: Sequence[str] = (),
        headers: Sequence[str] = (),
        expose: Sequence[str] = (),
        credentials: bool = False,
        max_age: int = 600,
        private_network: bool = False,
    ) -> None:
        super().__init__(app)
        lists = {"origins": origins, "methods": methods, "headers": headers, "expose": expose}
        _check(lists, credentials, max_age)
        self._origins = _Origins(origins, credentials)
        self._private_network = private_network
        self._marks: list[Field] = []
        if credentials:
            self._marks.append(make_field("Access-Control-Allow-Credentials", "true"))
        self._preflight = [*self._marks, *_preflight_fields(methods, headers, max_age)]
        if expose:
            self._marks.append(make_field("Access-Control-Expose-Headers", ", ".join(expose)))

    def __call__(self, request: Request) -> Response:
        origin = self._origins.allowed(request.headers)
        if request.method == "OPTIONS" and _is_preflight(request.headers):
            return self._answer_preflight(request, origin)
        try:
            response = self.app(request)
        except Exception as error:
            self._mark(answer_headers(error), origin)
            raise
        self._mark(response.headers, origin)
        return response

    def _mark(self, headers: Headers, origin: str | None) -> None:
        for field in headers.fields:
            if field[0].startswith(_OURS):
                headers.fields = [kept for kept in headers.fields if not kept[0].startswith(_OURS)]
                break
        self._allow(headers, origin, self._marks)

    def _allow(self, headers: Headers, origin: str | None, fields: list[Field]) -> None:
        if origin is not None:
            headers.fields.append((*_ALLOW_ORIGIN, origin.encode("latin-1")))
            headers.fields += fields
        if not self._origins.is_anybody:
            # Also on an answer to no origin at all: a cache must not give it to one.
            add_vary(headers, "Origin")

    def _answer_preflight(self, request: Request, origin: str | None) -> Response:
        if origin is None:
            raise HTTPError(403, "this origin may not call this service", {"Vary": "Origin"})
        response = Response(204)
        self._allow(response.headers, origin, self._preflight)
        asked = request.headers.get("access-control-request-private-network")
        if self._private_network and asked == "true":
            response.headers["Access-Control-Allow-Private-Network"] = "true"
        add_vary(response.headers, "Access-Control-Request-Method", "Access-Control-Request-Headers")
        return response


def _is_preflight(headers: Headers) -> bool:
    return "origin" in headers and "access-control-request-method" in headers


class _Origins:
    """The origins that are let in."""

    def __init__(self, entries: Sequence[str], credentials: bool) -> None:
        self.is_anybody = "*" in entries
        parsed = [_parse_origin(entry) for entry in entries if entry != "*"]
        self._exact = frozenset(entry for entry in parsed if isinstance(entry, str))
        self._tests = [entry for entry in parsed if not isinstance(entry, str)]
        # Browsers ask with the same few over and over, and a pattern takes 10 us.
        self._fits = lru_cache(maxsize=1024)(self._fits_anew)
        stranger = next((origin for origin in _STRANGERS if self._is_listed(origin)), None)
        if credentials and stranger:
            raise ValueError(f"origins: with credentials, no pattern may let in anybody, as {stranger}")

    def allowed(self, headers: Headers) -> str | None:
        """Return what Access-Control-Allow-Origin says to this request; None: nothing."""
        if self.is_anybody:
            return "*"
        origins = [field[2] for field in headers.fields if field[0] == b"origin"]
        if len(origins) != 1:
            return None
        origin = origins[0].decode("latin-1")
        return origin if self._is_listed(origin) else None

    def _is_listed(self, origin: str) -> bool:
        is_tested = bool(self._tests) and len(origin) <= _LONGEST_ORIGIN
        return origin in self._exact or (is_tested and self._fits(origin))

    def _fits_anew(self, origin: str) -> bool:
        return _is_origin(origin) is not None and any(test(origin) for test in self._tests)


def _parse_origin(entry: str) -> str | IsAllowed:
    if entry.startswith("re:"):
        try:
            pattern = compile_regex(rf"\A(?:{entry[3:]})\z")
        except ValueError as error:
            raise ValueError(f"origins: {error}") from None
        return lambda origin: pattern.search(origin) is not None
    scheme, _, rest = entry.lower().partition("://")
    found = _is_origin(f"{scheme}://{rest.removeprefix('*.')}")
    if found is None or rest.startswith("*.*"):
        raise ValueError(
            f"origins: {entry!r} is no origin; write https://a.example, https://*.a.example, re:PATTERN or *"
        )
    if found[3] and found[3] == _DEFAULT_PORTS.get(scheme):
        rest = rest.removesuffix(found[3])  # as browsers do
    if not rest.startswith("*."):
        return f"{scheme}://{rest}"
    start, end = f"{scheme}://", rest[1:]
    return lambda origin: (
        origin.startswith(start)
        and origin.endswith(end)
        and _is_subdomain(origin[len(start) : -len(end)]) is not None
    )


def _check(lists: dict[str, Sequence[str]], credentials: bool, max_age: int) -> None:
    if not lists["origins"]:
        raise ValueError("origins: names nobody, so no page could call this; name origins, or leave cors out")
    for option, entries in lists.items():
        if "*" in entries and credentials:
            raise ValueError(f"{option}: * cannot be combined with credentials; name what is meant")
        if "*" in entries and len(entries) > 1:
            raise ValueError(f"{option}: * stands for all others; leave them out")
        for entry in entries if option != "origins" else ():
            if not is_token(entry):
                raise ValueError(f"{option}: {entry!r} is no name")
            if option == "methods" and entry != entry.upper():
                raise ValueError(f"methods: {entry!r} is another method than {entry.upper()}, which is meant")
    if max_age < 0:
        raise ValueError(f"max_age: {max_age} is less than 0; 0 keeps browsers from remembering")


def _preflight_fields(methods: Sequence[str], headers: Sequence[str], max_age: int) -> list[Field]:
    # Methods are case-sensitive, and these three need no leave; they are listed for people who read it.
    simple = [] if "*" in methods else ["GET", "HEAD", "POST"]
    allowed = [*simple, *(method for method in methods if method not in simple)]
    fields = [make_field("Access-Control-Allow-Methods", ", ".join(allowed))]
    if headers:
        # Fetch 4.8: "*" does not stand for Authorization.
        names = [*headers, "Authorization"] if "*" in headers else headers
        fields.append(make_field("Access-Control-Allow-Headers", ", ".join(names)))
    return [*fields, make_field("Access-Control-Max-Age", str(max_age))]
