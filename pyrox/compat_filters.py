"""Filters written for Pyrox 0.4 and 0.5: the pipelines they stand in, and the middleware that runs them.

A filter is an object whose decorated methods see the four stages of an exchange: request head, request
body, response head, response body. A pipeline passes each stage through its filters until one of them
returns an action other than ``next()``. ``FilterMiddleware`` lays two pipelines around the next app: the
*upstream* one sees requests, the *downstream* one sees responses.

The names here are those of the old documentation, and importable where it has them, from
``pyrox.filtering``. New code is better off as a ``Middleware``; docs/migrating.md shows the way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Literal

from pyrox.compat_handlers import (
    CONSUME,
    NEXT_FILTER,
    REJECT,
    REPLY,
    REQUEST_BODY,
    REQUEST_HEAD,
    RESPONSE_BODY,
    RESPONSE_HEAD,
    ROUTE,
    FilterAction,
    HttpFilter,
    consume,
    handlers_of,
    handles_request_body,
    handles_request_head,
    handles_response_body,
    handles_response_head,
    next,
    pass_event,
    reject,
    reply,
    route,
)
from pyrox.compat_pipeline import HttpFilterPipeline, Member, Stop, as_bytes
from pyrox.error_log import log_failure
from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http.body import Body, BodyFilterLike, Message
from pyrox.http.coding import acceptable_codings, can_decode
from pyrox.http.message import Request, Response
from pyrox.http.model import HttpRequest, HttpResponse, as_text
from pyrox.http.recoding import Recoded
from pyrox.middleware.base import App, BodyFilter, Middleware

__all__ = [
    "CONSUME",
    "NEXT_FILTER",
    "REJECT",
    "REPLY",
    "ROUTE",
    "FilterAction",
    "FilterMiddleware",
    "HttpFilter",
    "HttpFilterPipeline",
    "consume",
    "handles_request_body",
    "handles_request_head",
    "handles_response_body",
    "handles_response_head",
    "next",
    "pass_event",
    "reject",
    "reply",
    "route",
]

log = logging.getLogger("pyrox")

FilterFactory = Callable[[], Any]
Pipelines = tuple[HttpFilterPipeline, HttpFilterPipeline]  # the upstream one and the downstream one
Lifetime = Literal["request", "connection", "worker"]

_READ_SIZE = 64 * 1024
_REJECTED = Stop(reject(), "")  # by no filter in particular


class BodyRejected(ProxyError):
    """A filter rejected a message at its body; the exchange ends with ``pyrox_error_sc``."""

    proxy_status = "http_request_denied"

    def __init__(self, stop: Stop, status: int) -> None:
        super().__init__(f"a part of the body was rejected by filter {stop.name!r}", status=status)
        self.stop = stop


class FilteredBody(BodyFilter):
    """The body handlers of a pipeline, as a body filter.

    ``before`` is the one whose filters come first: what these consume passes by the filters here.
    """

    def __init__(
        self,
        pipeline: HttpFilterPipeline,
        stage: str,
        request: HttpRequest,
        error_status: int,
        before: FilteredBody | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._stage = stage
        self._request = request
        self._error_status = error_status
        self._before = before
        self.has_consumed = False

    def feed(self, chunk: bytes) -> bytes:
        if self._before is not None and self._before.has_consumed:
            self.has_consumed = True
            return chunk
        data, stop = self._pipeline.run_body(self._stage, chunk, self._request)
        self.has_consumed = stop is not None
        if stop is not None and stop.action.intercepts_request():
            if self._stage == RESPONSE_BODY:
                log.error("filter %r rejected at the response body; the exchange is aborted", stop.name)
            raise BodyRejected(stop, self._error_status)
        return data

    def finish(self) -> bytes:
        data = self.feed(b"")
        # A filter that keeps its messages would make a cycle of this, and of all that hangs on the exchange.
        del self._pipeline, self._request
        return data


class FilterMiddleware(Middleware):
    """Runs the filters of Pyrox 0.4 and 0.5 as one middleware.

    * ``upstream``, ``downstream``: what sees requests and what sees responses, in order; each a name for
      logs and a function or class that makes the filter.
    * ``lifetime``: how long the filters that were made are kept: for one ``request``, one ``connection``
      or one ``worker``.
    * ``use_singletons``: one filter for both pipelines where a name stands in both.
    * ``rejection_status``: of ``reject()`` without a response, and of what a filter raises.
    * ``error_status``: of a request that is rejected when its head is upstream already.
    """

    def __init__(
        self,
        app: App,
        upstream: Sequence[tuple[str, FilterFactory]] = (),
        downstream: Sequence[tuple[str, FilterFactory]] = (),
        lifetime: Lifetime = "request",
        use_singletons: bool = False,
        rejection_status: int = 400,
        error_status: int = 502,
    ) -> None:
        super().__init__(app)
        self._upstream = upstream
        self._downstream = downstream
        self._lifetime = lifetime
        self._use_singletons = use_singletons
        self._rejection_status = rejection_status
        self._error_status = error_status
        self._of_worker = self._make_pipelines() if lifetime == "worker" else None

    def __call__(self, request: Request) -> Response:
        upstream, downstream = self._of_worker or self._pipelines_for(request)
        view = HttpRequest.of(request)
        answer = self._filter_request(upstream, request, view)
        if answer is not None:
            return answer
        sees_bodies = downstream.intercepts_resp_body()
        if sees_bodies:
            _ask_for_decodable(downstream, request)
        response = self.app(request)
        if self._downstream:
            answer = self._filter_response_head(downstream, request, view, response)
            if answer is not None:
                return answer
        if sees_bodies and response.status != 101:
            self._filter_response_body(downstream, request, view, response)
        return response

    # --- the filters ---

    def _pipelines_for(self, request: Request) -> Pipelines:
        client = request.client
        if self._lifetime == "request" or client is None:
            return self._make_pipelines()
        kept: Pipelines | None = client.state.get(self)
        if kept is None:
            kept = client.state[self] = self._make_pipelines()
        return kept

    def _make_pipelines(self) -> Pipelines:
        upstream = [make_member(name, factory) for name, factory in self._upstream]
        made = {member[0]: member for member in upstream} if self._use_singletons else {}
        downstream = [made.get(name) or make_member(name, factory) for name, factory in self._downstream]
        return HttpFilterPipeline.of(upstream), HttpFilterPipeline.of(downstream)

    # --- the request ---

    def _filter_request(
        self, pipeline: HttpFilterPipeline, request: Request, view: HttpRequest
    ) -> Response | None:
        stop = pipeline.run(REQUEST_HEAD, view)
        if stop is not None and stop.action.is_routing():
            stop = _route(stop, request)
        if stop is not None and stop.action.intercepts_request():
            return self._answer(stop, request)
        try:
            view.write_back()
        except (TypeError, ValueError) as error:
            log_failure(f"what filters made of the head of {request!r} cannot be sent", error)
            return self._answer(_REJECTED, request)
        if pipeline.intercepts_req_body() and (request.content_length is not None or request.body):
            return self._filter_request_body(pipeline, request, view)
        return None

    def _filter_request_body(
        self, pipeline: HttpFilterPipeline, request: Request, view: HttpRequest
    ) -> Response | None:
        """Attach the body handlers; returns the answer of one that rejects before anything went upstream."""
        coding = _content_coding(request)
        handlers: FilteredBody | None = None
        for decodes, group in pipeline.groups(REQUEST_BODY):
            handlers = FilteredBody(group, REQUEST_BODY, view, self._error_status, handlers)
            request.filter_body(_recoded(handlers, coding, ClientError, 415) if decodes else handlers)
        if "expect" in request.headers:  # the client waits for the upstream's word before it sends any
            return None
        parts = request.stream()
        try:
            first = b"".join(islice(parts, 1))
        except BodyRejected as rejected:
            stop = rejected.stop
        else:
            request.body = chain((first,), parts) if first else b""
            return None
        request.body = b""  # nobody is to read the rest, nor to hold the handlers
        return self._answer(stop, request)

    # --- the response ---

    def _filter_response_head(
        self, pipeline: HttpFilterPipeline, request: Request, view: HttpRequest, response: Response
    ) -> Response | None:
        head = HttpResponse.of(response, view)
        stop = pipeline.run(RESPONSE_HEAD, head, view)
        if stop is not None and stop.action.intercepts_request():
            return self._answer(stop, request)
        try:
            head.write_back()
        except (TypeError, ValueError) as error:
            log_failure(f"what filters made of the head of {response!r} cannot be sent", error)
            return self._answer(_REJECTED, request)
        return None

    def _filter_response_body(
        self, pipeline: HttpFilterPipeline, request: Request, view: HttpRequest, response: Response
    ) -> None:
        has_body = request.method != "HEAD" and response.status not in (204, 304)
        coding = _content_coding(response) if has_body else ""
        handlers: FilteredBody | None = None
        for decodes, group in pipeline.groups(RESPONSE_BODY):
            handlers = FilteredBody(group, RESPONSE_BODY, view, self._error_status, handlers)
            response.filter_body(_recoded(handlers, coding, UpstreamError, 502) if decodes else handlers)

    # --- answers of filters ---

    def _answer(self, stop: Stop, request: Request) -> Response:
        """Return the response of a filter that rejected or replied."""
        try:
            response = self._response_of(stop.action)
        except (TypeError, ValueError) as error:
            log_failure(f"filter {stop.name!r} answered with what cannot be sent", error)
            response = Response(self._rejection_status)
        response.made_by = f"filters.{stop.name}" if stop.name else "filters"
        if request.exchange is not None:
            request.exchange.responses.append(response)
        return response

    def _response_of(self, action: FilterAction) -> Response:
        head, src = action.payload if action.is_replying() else (action.payload, None)
        if head is None and action.is_rejecting():
            return Response(self._rejection_status)
        if not isinstance(head, HttpResponse):
            raise TypeError(f"an HttpResponse is expected, not {head!r}")
        response = head.to_native(_body_of(src))
        if (close := getattr(src, "close", None)) is not None:
            response.on_close(close)
        return response


def make_member(name: str, factory: FilterFactory) -> Member:
    """Make a filter and read its handlers; raises what its constructor raises, and ``TypeError`` for none."""
    try:
        http_filter = factory()
        if http_filter is None:  # what a function returns that forgets to; it would let everything pass
            raise TypeError("None was made in place of a filter")
        return name, http_filter, handlers_of(type(http_filter))
    except SystemExit as error:
        raise RuntimeError(f"filter {name!r} called sys.exit({error.code!r}) while it was made") from error
    except Exception as error:
        error.add_note(f"while making filter {name!r}")
        raise


def _route(stop: Stop, request: Request) -> Stop:
    """Do as ``route()`` says; returns what came of it, a rejection for a target that is no server."""
    try:
        request.route_to(_destination(stop.action.payload))
    except (TypeError, ValueError) as error:
        log_failure(f"filter {stop.name!r} returned route() to what is no server", error)
        return Stop(reject(), stop.name)
    return stop


def _destination(target: Any) -> str:
    text = as_text(target)
    return text if "://" in text or text.startswith("unix:") else f"http://{text}"


def _content_coding(message: Message) -> str:
    return ", ".join(message.headers.get_all("content-encoding"))


def _recoded(handlers: BodyFilterLike, coding: str, error: type[ProxyError], status: int) -> BodyFilterLike:
    """Make ``handlers`` see the body decoded; one that cannot be is refused rather than passed unseen."""
    if not coding:
        return handlers
    if not can_decode(coding):
        raise error(f"a filter decodes bodies, and Content-Encoding {coding!r} is not known", status=status)
    return Recoded(handlers, coding, error)


def _ask_for_decodable(pipeline: HttpFilterPipeline, request: Request) -> None:
    """Ask for what a filter with ``decode_body`` can be shown: a known coding, and from its start."""
    if any(decodes for decodes, _ in pipeline.groups(RESPONSE_BODY)):
        headers = request.headers
        accepted = headers.get_all("accept-encoding")
        headers["Accept-Encoding"] = acceptable_codings(", ".join(accepted) if accepted else None)
        headers.discard("range")
        headers.discard("if-range")


def _body_of(src: Any) -> Body:
    """Return the body that ``reply(response, src)`` means."""
    if src is None:
        return b""
    if isinstance(src, (str, bytes, bytearray, memoryview)):
        return as_bytes(src)
    if hasattr(src, "read"):
        src = _pieces_of(src)
    return (as_bytes(piece) for piece in src)


def _pieces_of(file: Any) -> Iterator[Any]:
    while piece := file.read(_READ_SIZE):
        yield piece
