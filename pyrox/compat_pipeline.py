"""``HttpFilterPipeline``: filters of Pyrox 0.4 in the order in which they see each stage of an exchange."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from pyrox.compat_handlers import (
    NEXT_FILTER,
    REQUEST_BODY,
    REQUEST_HEAD,
    RESPONSE_BODY,
    RESPONSE_HEAD,
    FilterAction,
    HandlerOf,
    handlers_of,
    reject,
)
from pyrox.error_log import log_failure
from pyrox.errors import ProxyError
from pyrox.http.model import HttpRequest, HttpResponse

log = logging.getLogger("pyrox")


class Output(Protocol):
    """Where a body handler writes to."""

    def write(self, data: Any, /) -> object: ...


class _Written:
    """What one handler wrote; None in place of nothing."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data: bytes | None = None

    def write(self, data: bytes | bytearray | memoryview | str) -> int:
        encoded = data.encode() if isinstance(data, str) else bytes(data)
        self.data = encoded if self.data is None else self.data + encoded
        return len(data)


class Member(NamedTuple):
    """One filter of a pipeline, under the name it goes by in logs."""

    name: str
    http_filter: Any
    handlers: dict[str, tuple[HandlerOf, ...]]


class Stop(NamedTuple):
    """The action that ended a pipeline's run, and the name of the filter that returned it."""

    action: FilterAction
    name: str


_PASSED = Stop(FilterAction(), "")


class HttpFilterPipeline:
    """Filters in the order in which they see each stage; ``chain`` holds the first of them."""

    def __init__(self, chain: Iterable[Any] = ()) -> None:
        self._members: list[Member] = []
        for http_filter in chain:
            self.add_filter(http_filter)

    def add_filter(self, http_filter: Any, name: str = "") -> None:
        """Add a filter behind the others; raises ``TypeError`` for a handler with the wrong arguments."""
        filter_class = type(http_filter)
        handlers = handlers_of(filter_class)  # type: ignore[arg-type]  # mypy takes classes for unhashable
        self._members.append(Member(name or filter_class.__name__, http_filter, handlers))

    def handles(self, stage: str) -> bool:
        """Whether any filter has a handler for ``stage``."""
        return any(member.handlers[stage] for member in self._members)

    def intercepts_req_body(self) -> bool:
        """Whether any filter handles request bodies."""
        return self.handles(REQUEST_BODY)

    def intercepts_resp_body(self) -> bool:
        """Whether any filter handles response bodies."""
        return self.handles(RESPONSE_BODY)

    def on_request_head(self, request_head: HttpRequest) -> FilterAction:
        """Pass a request head through the filters; returns the action that ended it, else ``next()``."""
        return self.run(REQUEST_HEAD, request_head).action

    def on_response_head(
        self, response_head: HttpResponse, request_head: HttpRequest | None = None
    ) -> FilterAction:
        """Pass a response head through the filters; returns the action that ended it, else ``next()``."""
        return self.run(RESPONSE_HEAD, response_head, request_head).action

    def on_request_body(self, body_part: bytes, output: Output) -> FilterAction:
        """Pass a part of a body, or ``b""`` for its end, through the filters; ``output`` gets the result."""
        data, stop = self.run_body(REQUEST_BODY, body_part)
        output.write(data)
        return stop.action

    def on_response_body(
        self, body_part: bytes, output: Output, request_head: HttpRequest | None = None
    ) -> FilterAction:
        """Do as ``on_request_body``, for a response."""
        data, stop = self.run_body(RESPONSE_BODY, body_part, request_head)
        output.write(data)
        return stop.action

    def run(self, stage: str, *arguments: Any) -> Stop:
        """Call the handlers of a head's ``stage`` until one returns an action that ends it."""
        for member in self._members:
            for handler in member.handlers[stage]:
                action = _call(member, handler, stage, arguments)
                if action is not None:
                    return Stop(action, member.name)
        return _PASSED

    def run_body(self, stage: str, part: bytes, request: HttpRequest | None = None) -> tuple[bytes, Stop]:
        """Pass ``part`` from handler to handler; ``b""`` is the end of the body, and each gets to see it."""
        is_end = not part
        for member in self._members:
            for handler in member.handlers[stage]:
                results = []
                for piece in (part, b"") if is_end and part else (part,):
                    written = _Written()
                    action = _call(member, handler, stage, (piece, written, request))
                    results.append(piece if written.data is None else written.data)
                    if action is not None:
                        return b"".join(results), Stop(action, member.name)
                part = b"".join(results)
                if not part and not is_end:
                    return part, _PASSED
        return part, _PASSED

    def groups(self, stage: str) -> Iterator[tuple[bool, HttpFilterPipeline]]:
        """Yield the filters that handle ``stage``, those in a row with the same ``decode_body`` together."""
        members = [member for member in self._members if member.handlers[stage]]
        for decodes, group in groupby(members, lambda member: _decodes(member.http_filter)):
            pipeline = HttpFilterPipeline()
            pipeline._members = list(group)
            yield decodes, pipeline


def _decodes(http_filter: Any) -> bool:
    return bool(getattr(http_filter, "decode_body", False))


def _call(member: Member, handler: HandlerOf, stage: str, arguments: tuple[Any, ...]) -> FilterAction | None:
    """Return the action of a handler, None for ``next()``; what it raises means ``reject()``."""
    try:
        action = getattr(member.http_filter, handler.method)(*arguments[: handler.arity])
        if action is None or action.kind == NEXT_FILTER:
            return None
    except ProxyError:  # an answer, such as HTTPError(403), or the end of the whole exchange
        raise
    except Exception as error:
        log_failure(f"filter {member.name!r} failed in {handler.method}, at the {stage}", error)
        return reject()
    if action.is_routing() and stage != REQUEST_HEAD:
        log.error("filter %r returned route() at the %s; ignored", member.name, stage)
        return None
    result: FilterAction = action
    return result
