"""``compress``: code response bodies for clients that can undo it (RFC 9110 section 8.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pyrox.http.accept import IDENTITY, add_vary, choose_coding, field_value, parse_choices
from pyrox.http.body import known_length
from pyrox.http.coding import available_codings
from pyrox.http.encoding import LEVELS, Encoder, check_level
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, BodyFilter, Middleware
from pyrox.middleware.extras import require
from pyrox.middleware.media_names import MediaNames
from pyrox.middleware.representation import forbids_transformation, forget_bytes, weaken_etag
from pyrox.middleware.sizes import read_size

# What is text under its name; pictures, films and archives are compressed already.
_TYPES = (
    "text/*",
    "*+json",
    "*+xml",
    "*+text",
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/x-ndjson",
    "application/yaml",
    "application/xml",
    "application/wasm",
    "application/graphql",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
)
# One costs little CPU, but an encoder's memory for hours: thousands of clients would take gigabytes.
_ENDLESS = ("text/event-stream",)
_CODINGS = ("zstd", "br", "gzip")
# Above these a byte costs more than it saves, at any speed of the network: brotli 11 takes 1.7 s for a MiB.
_HIGHEST = {"zstd": 12, "br": 9, "gzip": 9}
# Up to here a body whose length is known is read whole: it keeps a Content-Length, and goes out in one piece.
_WHOLE = 1 << 16


class Compress(Middleware):
    """Codes responses with zstd, br or gzip, whichever of them the client ranks highest.

    Left as they are: what has a content coding already, parts (206), what Cache-Control: no-transform
    forbids to change, short bodies, and media types that do not shrink. Whatever could be coded says
    ``Vary: Accept-Encoding``; entity tags of what is coded become weak. A response without a declared
    length is sent on at every chunk, so what is streamed arrives when it is sent. What takes long is
    computed in threads. HEAD is answered as GET would be.

    Secrets next to what an attacker may put into the same response can be guessed from its length (BREACH):
    keep such pages out with ``when``.

    * ``codings``: those to use, the best first, which decides between equals. Default ``zstd, br, gzip``,
      as far as they are installed: ``pip install 'pyrox[compression]'``.
    * ``types``: media types to code, like ``text/html``, ``text/*`` or ``*+json``. Default: text, JSON, XML,
      JavaScript and the like. Only by its name ``text/event-stream``: each open stream would hold 0.3 MiB
      (gzip) to 2 MiB.
    * ``min_size``: bytes that a body must have, if its length is known. Default 1024.
    * ``levels``: a subsection of how much is tried, ``gzip = 6``. Default: zstd 3, br 4, gzip 1, which take
      about as long as each other.
    * ``take_over``: do not tell upstream what the client accepts, so that it leaves coding to this one.
      Default ``no``.
    """

    def __init__(
        self,
        app: App,
        codings: Sequence[str] | None = None,
        types: Sequence[str] = _TYPES,
        min_size: int | str = 1024,
        levels: Mapping[str, int] | None = None,
        take_over: bool = False,
    ) -> None:
        super().__init__(app)
        self._codings = tuple(codings or [coding for coding in _CODINGS if coding in available_codings()])
        self._levels = _check(self._codings, levels or {})
        self._types = MediaNames("types", types, _ENDLESS)
        self._min_size = read_size("min_size", min_size)
        self._take_over = take_over

    def __call__(self, request: Request) -> Response:
        accepted = field_value(request.headers, "accept-encoding")
        if self._take_over:
            request.headers.discard("Accept-Encoding")
        response = self.app(request)
        if response.status == 304:
            _match_asked_tag(request.headers, response.headers)
        elif self._is_eligible(request, response):
            add_vary(response.headers, "Accept-Encoding")
            coding = choose_coding(parse_choices(accepted), self._codings)
            if coding != IDENTITY:
                self._code(response, coding)
        return response

    def _is_eligible(self, request: Request, response: Response) -> bool:
        length = known_length(response)
        if length == 0 and request.method == "HEAD":
            length = response.content_length  # what upstream would have sent to GET
        if (length is not None and length < self._min_size) or response.status in (204, 206):
            return False
        headers = response.headers
        if not self._types.has(headers.get("content-type")):
            return False
        if "content-encoding" in headers or "content-range" in headers:
            return False
        return not (forbids_transformation(headers) or forbids_transformation(request.headers))

    def _code(self, response: Response, coding: str) -> None:
        encoder = Encoder((coding,), self._levels.get(coding))
        length = known_length(response)
        if length and (length <= _WHOLE or isinstance(response.body, bytes)):
            whole = response.read_body(length)
            coded = encoder.finish(whole)
            if len(coded) >= len(whole):
                return
            response.body = coded
        else:
            response.filter_body(_Coding(encoder, flushes=length is None))
        response.headers["Content-Encoding"] = coding
        weaken_etag(response.headers)
        forget_bytes(response.headers)


class _Coding(BodyFilter):
    """Codes a body as it streams by."""

    __slots__ = ("_encoder", "_flushes")

    def __init__(self, encoder: Encoder, flushes: bool) -> None:
        self._encoder = encoder
        self._flushes = flushes

    def feed(self, chunk: bytes) -> bytes:
        coded = self._encoder.encode(chunk)
        return coded + self._encoder.flush() if self._flushes else coded

    def finish(self) -> bytes:
        # The coded form of nothing is not nothing, and Content-Encoding promises one.
        return self._encoder.finish()


def _match_asked_tag(asked: Headers, headers: Headers) -> None:
    """Let a 304 name the tag as the client knows it: weak, when this middleware has weakened it.

    Otherwise a cache would not take it for the tag of what it holds (RFC 9111 4.3.4).
    """
    tag = headers.get("etag", "")
    if tag[:1] == '"' and f"W/{tag}" in re.split(r"\s*,\s*", field_value(asked, "if-none-match") or ""):
        weaken_etag(headers)


def _check(codings: Sequence[str], levels: Mapping[str, int]) -> dict[str, int]:
    for coding in codings:
        if coding not in _CODINGS:
            raise ValueError(f"codings: {coding!r} is none of {', '.join(_CODINGS)}")
        if coding not in available_codings():
            if coding == "br":
                require("brotli", "compression")
            elif coding == "zstd":
                require("backports.zstd", "compression")
            raise ValueError(
                f"codings: the library for {coding} is too old; pip install -U 'pyrox[compression]'"
            )
    for coding, level in levels.items():
        if coding not in codings:
            raise ValueError(f"levels: {coding!r} is none of the codings {', '.join(codings)}")
        lowest, highest = LEVELS[coding][0], _HIGHEST[coding]
        if not lowest <= level <= highest:
            raise ValueError(
                f"levels: {coding} may have {lowest} to {highest}; {level} would cost more than it saves"
            )
        check_level(coding, level)
    return dict(levels)
