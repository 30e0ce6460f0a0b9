"""``Transform``: the base of a middleware that changes what is in bodies, and need not know how they travel.

A subclass says what it wants to see by the methods it has: ``on_response_line`` sees the lines of
responses, ``on_request_json`` the documents in requests. The base finds the messages that hold such a
thing, undoes their content and character codings, and does them again; it sets right what a changed
body makes wrong in the head. ``transform_views`` takes bodies apart and puts them together.

Whoever is asked to change something must not be got around: a message that ought to be seen and cannot
be, because its coding is unknown or it is a part of something larger, is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pyrox.config_report import did_you_mean
from pyrox.errors import ClientError, HTTPError, ProxyError, UpstreamError
from pyrox.http.body import Message
from pyrox.http.charset import Errors, charset_of
from pyrox.http.coding import acceptable_codings, available_codings, parse_codings
from pyrox.http.framing import CHUNKED
from pyrox.http.message import Request, Response
from pyrox.http.recoding import Recoded
from pyrox.middleware.base import Middleware
from pyrox.middleware.transform_views import STREAMED, WHOLE, WholeBody

Side = Literal["request", "response"]

# What each kind is found in, unless ``content_types`` says otherwise; the most particular kind first.
_TYPES: dict[str, tuple[str, ...]] = {
    "json": ("application/json", "application/*+json", "text/json"),
    "event": ("text/event-stream",),
    "line": ("text/*", "application/x-ndjson", "application/ndjson", "application/jsonl"),
    "text": (
        *("text/*", "application/json", "application/*+json", "application/xml", "application/*+xml"),
        *("application/javascript", "application/x-www-form-urlencoded", "application/x-ndjson"),
        *("application/ndjson", "application/jsonl"),
    ),
    "body": ("*/*",),
    "bytes": ("*/*",),
}
_HANDLERS = {f"on_{side}_{kind}" for side in ("request", "response") for kind in (*_TYPES, "start", "end")}

# Characters of Accept-Encoding; browsers send some 30.
_LONGEST_REMEMBERED = 100

# What is said about the bytes as they were (RFC 9530, RFC 3230, RFC 2616 14.15).
_DIGESTS = (b"content-digest", b"repr-digest", b"digest", b"content-md5")


@dataclass(slots=True)
class Flow:
    """The message that passes: what a handler is told beside the piece of its body.

    * ``request``: the request, or the one that ``response`` answers.
    * ``response``: None while a request's body is seen.
    * ``state``: a dict for this one body, for handlers that have to remember something.
    """

    request: Request
    response: Response | None = None
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> Request | Response:
        """The one whose body is seen."""
        return self.request if self.response is None else self.response


class Transform(Middleware):
    """Changes bodies; a subclass has a method for each side and kind of thing that it wants to see.

    ``on_request_KIND(piece, flow)`` and ``on_response_KIND(piece, flow)``, where KIND is

    * ``bytes``, ``text``: the body as it comes, cut anywhere; returns what to send, or None for nothing;
    * ``line``: a line without its ending; returns a line, None to drop it, or a list of lines;
    * ``event``: a ``ServerSentEvent``; returns one, None, or a list of them;
    * ``json``: the whole document; returns the document to send, or bytes to send as they are;
    * ``body``: the whole body as bytes; returns bytes.

    ``on_request_start(flow)`` and ``on_response_start(flow)`` run before anything of a body is seen, and
    may change the head. ``on_..._end(flow)`` returns what is sent after the last piece (not for ``json``
    and ``body``), or None.

    A class or an instance may set:

    * ``content_types``: media types to look at, ``text/*`` and ``application/*+json`` style; None: those
      that the kind is at home in.
    * ``types``: media types of a kind, in place of those that it is at home in.
    * ``sides``: of the sides that have handlers, those to work on.
    * ``limit``: how much of a body may be held in memory, in bytes: a document, a body; for lines and
      events in characters. What is longer: 413 for a request, 502 for a response.
    * ``errors``: what becomes of bytes that are no text, see ``TextBody``.
    * ``respects_no_transform``: whether ``Cache-Control: no-transform`` keeps a message as it is.
    """

    content_types: Sequence[str] | None = None
    types: Mapping[str, Sequence[str]] = {}
    sides: Collection[Side] = ("request", "response")
    limit: int = 1 << 20
    errors: Errors = "surrogateescape"
    respects_no_transform: bool = True

    _kinds: ClassVar[dict[Side, tuple[str, ...]]] = {"request": (), "response": ()}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in dir(cls):
            if name.startswith(("on_request_", "on_response_")) and name not in _HANDLERS:
                hint = did_you_mean(name, _HANDLERS)
                raise TypeError(f"{cls.__name__}.{name} is no handler of a Transform{hint}")
        cls._kinds = {
            "request": tuple(kind for kind in _TYPES if hasattr(cls, f"on_request_{kind}")),
            "response": tuple(kind for kind in _TYPES if hasattr(cls, f"on_response_{kind}")),
        }

    def wants_request(self, request: Request) -> bool:
        """Tell whether to look at the body of ``request``, once its content type is right."""
        return True

    def wants_response(self, request: Request, response: Response) -> bool:
        """Tell whether to look at the body of ``response``, once its content type is right."""
        return True

    def __call__(self, request: Request) -> Response:
        kinds = self._kinds
        if kinds["request"] and "request" in self.sides and _may_have_body(request):
            self._change_request(request)
        if not kinds["response"] or "response" not in self.sides:
            return self.app(request)
        _ask_for_readable(request)
        response = self.app(request)
        self._change_response(request, response)
        return response

    # --- which messages ---

    def _change_request(self, request: Request) -> None:
        kind = self._kind_of("request", request, ClientError)
        if kind is None or not self.wants_request(request):
            return
        if "content-range" in request.headers:  # RFC 9110 14.5
            raise ClientError("a part of a body cannot be transformed")
        flow = Flow(request)
        self._change(kind, "request", flow, ClientError)

    def _change_response(self, request: Request, response: Response) -> None:
        if response.upgrade:
            return
        is_bodiless = request.method == "HEAD" or response.status in (204, 304)
        if response.status == 304 and "content-type" not in response.headers:
            _weaken_etag(response)  # as the 200 would have had it (RFC 9110 15.4.5)
            return
        kind = self._kind_of("response", response, UpstreamError)
        if kind is None or not self.wants_response(request, response):
            return
        if is_bodiless:
            if response.status != 204:
                self._change_head_alone(Flow(request, response))
            return
        if response.status == 206 or "content-range" in response.headers:
            raise UpstreamError("a part of a body cannot be transformed, and none was asked for")
        if response.body != b"":
            self._change(kind, "response", Flow(request, response), UpstreamError)

    def _change_head_alone(self, flow: Flow) -> None:
        """Make the head what it would be with a body (RFC 9110 9.3.2, 15.4.5)."""
        assert flow.response is not None
        start = getattr(self, "on_response_start", None)
        if start is not None and flow.response.status != 304:
            start(flow)
        _correct_head(flow.response)
        flow.response.content_length = None

    def _kind_of(self, side: Side, message: Message, error: type[ProxyError]) -> str | None:
        """Return which handler sees the body, None for no one."""
        content_type = _media_type(message, error)
        wanted = self.content_types
        if wanted is not None and not _matches(content_type, wanted):
            return None
        if self.respects_no_transform and _has_no_transform(message):
            return None
        kinds = self._kinds[side]
        for kind in kinds:
            if _matches(content_type, self.types.get(kind, _TYPES[kind])):
                return kind
        return kinds[-1] if wanted is not None else None

    # --- their bodies ---

    def _change(self, kind: str, side: Side, flow: Flow, error: type[ProxyError]) -> None:
        message = flow.message
        codings = _codings_of(message)
        start = getattr(self, f"on_{side}_start", None)
        handler = getattr(self, f"on_{side}_{kind}")
        if kind in WHOLE:
            whole = WholeBody(WHOLE[kind], handler, flow, codings, error, self.limit)
            self._change_whole(whole, start, flow)
            return
        charset = charset_of(message.headers.get("content-type", ""))
        if charset is None and kind != "bytes":
            raise _unreadable(message, "its charset is not known")
        view = STREAMED[kind](flow, handler, getattr(self, f"on_{side}_end", None), error)
        view.read(charset or "", self.errors, self.limit)
        if start is not None:
            start(flow)
        _correct_head(message)
        message.filter_body(Recoded(view, ", ".join(codings), error, available_codings()))

    def _change_whole(self, whole: WholeBody, start: Any, flow: Flow) -> None:
        message = flow.message
        was_chunked = (
            flow.request.content_length if flow.response is None else flow.response.body_length
        ) == CHUNKED
        if start is not None:
            start(flow)
        if flow.response is None and "expect" in flow.request.headers:
            # The client waits for the upstream's word before it sends any.
            _correct_head(message)
            message.body = whole.later(message.stream())
            return
        received, changed = whole.read(message.stream())
        if changed is not None:
            _correct_head(message)
        body = received if changed is None else changed
        message.body = (body,) if was_chunked else body  # trailers need a chunked body to follow


def _may_have_body(request: Request) -> bool:
    return request.content_length is not None or request.body != b""


def _ask_for_readable(request: Request) -> None:
    """Ask for a response that can be seen: whole, and in a coding that can be undone."""
    headers = request.headers
    accepted = headers.get_all("accept-encoding")
    if len(accepted) == 1 and len(accepted[0]) <= _LONGEST_REMEMBERED:
        narrowed = _narrowed(accepted[0])
    else:
        narrowed = acceptable_codings(", ".join(accepted) if accepted else None, available_codings())
    if accepted != [narrowed]:
        headers["Accept-Encoding"] = narrowed
    headers.discard("range")
    headers.discard("if-range")


@lru_cache(maxsize=256)
def _narrowed(accepted: str) -> str:
    return acceptable_codings(accepted, available_codings())


def _media_type(message: Message, error: type[ProxyError]) -> str:
    values = message.headers.get_all("content-type")
    if len(values) > 1 and len(set(values)) > 1:
        # The next one may take the other: what was not looked at here as text is what it reads.
        raise error("two Content-Types, so it is not known what is in the body")
    return values[0].partition(";")[0].strip().lower() if values else ""


def _matches(content_type: str, patterns: Sequence[str]) -> bool:
    kind, _, name = content_type.partition("/")
    for pattern in patterns:
        if pattern in (content_type, "*/*"):
            return True
        wanted_kind, _, wanted = pattern.partition("/")
        if wanted_kind == kind and wanted[:1] == "*" and name.endswith(wanted[1:]):
            return True
    return False


def _has_no_transform(message: Message) -> bool:
    values = ",".join(message.headers.get_all("cache-control")).lower()
    return "no-transform" in values and any(item.strip() == "no-transform" for item in values.split(","))


def _codings_of(message: Message) -> tuple[str, ...]:
    field_value = ", ".join(message.headers.get_all("content-encoding"))
    codings = parse_codings(field_value, available_codings())
    if codings is None:
        raise _unreadable(message, f"Content-Encoding {field_value!r} is not known")
    return codings


def _unreadable(message: Message, why: str) -> ProxyError:
    if isinstance(message, Request):
        # RFC 9110 15.5.16: the field tells which codings would have been accepted.
        accepted = {"Accept-Encoding": ", ".join(available_codings())}
        return HTTPError(415, f"the request body cannot be read: {why}", accepted)
    return UpstreamError(f"the response body cannot be read: {why}")


def _correct_head(message: Message) -> None:
    """Take out of the head what is no longer true of a changed body; its length is the engine's."""
    headers = message.headers
    headers.fields = [item for item in headers.fields if item[0] not in _DIGESTS]
    if isinstance(message, Response):
        headers.discard("accept-ranges")  # of another representation
        _weaken_etag(message)


def _weaken_etag(response: Response) -> None:
    # What is sent means the same as upstream's representation, and is not it byte for byte (RFC 9110 8.8.1).
    etag = response.headers.get("etag")
    if etag is not None and not etag.startswith("W/"):
        response.headers["ETag"] = f"W/{etag}"
