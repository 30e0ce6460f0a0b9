"""``HttpFilterPipeline``: filters of Pyrox 0.4 in the order in which they see each stage of an exchange."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from pyrox.compat_handlers import (
    NEXT_FILTER,
    REQUEST_BODY,
    REQUEST_HEAD,
    RESPONSE_BODY,
    RESPONSE_HEAD,
    FilterAction,
    Handlers,
    handlers_of,
    reject,
)
from pyrox.error_log import log_failure
from pyrox.errors import ProxyError
from pyrox.http.model import HttpRequest, HttpResponse

log = logging.getLogger("pyrox")

_new = object.__new__  # a pipeline is made for each request, and a constructor costs more than that


class Output(Protocol):
    """Where a body handler writes to."""

    def write(self, data: Any, /) -> object: ...


def as_bytes(data: Any) -> bytes:
    """Return the bytes that stand for a part of a body; raises ``TypeError`` for what is none."""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"a part of a body is bytes or str, not {data!r}")


class _Written:
    """What one handler wrote, piece by piece."""

    __slots__ = ("pieces",)

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview | str) -> None:
        # None, not a length: what a handler returns is an action, and it may `return output.write(part)`.
        self.pieces.append(as_bytes(data))


# A filter in a pipeline: the name it goes by in logs, itself, and its handlers by stage.
Member = tuple[str, Any, Handlers]


class Stop(NamedTuple):
    """The action that ended a pipeline's run, and the name of the filter that returned it."""

    action: FilterAction
    name: str


class HttpFilterPipeline:
    """Filters in the order in which they see each stage; ``chain`` holds the first of them."""

    __slots__ = ("_members",)

    def __init__(self, chain: Iterable[Any] | None = None) -> None:
        self._members = [_member_of(http_filter) for http_filter in chain or ()]

    @classmethod
    def of(cls, members: list[Member]) -> HttpFilterPipeline:
        """Return a pipeline of ``members``, without copying them."""
        pipeline = _new(cls)
        pipeline._members = members
        return pipeline

    def add_filter(self, http_filter: Any) -> None:
        """Add a filter behind the others; raises ``TypeError`` for a handler with the wrong arguments."""
        self._members.append(_member_of(http_filter))

    def handles(self, stage: str) -> bool:
        """Whether any filter has a handler for ``stage``."""
        for _, _, handlers in self._members:  # noqa: SIM110  # any() costs three times as much
            if handlers[stage]:
                return True
        return False

    def intercepts_req_body(self) -> bool:
        """Whether any filter handles request bodies."""
        return self.handles(REQUEST_BODY)

    def intercepts_resp_body(self) -> bool:
        """Whether any filter handles response bodies."""
        return self.handles(RESPONSE_BODY)

    def on_request_head(self, request_head: HttpRequest) -> FilterAction:
        """Pass a request head through the filters; returns the action that ended it, else ``next()``."""
        return _action_of(self.run(REQUEST_HEAD, request_head))

    def on_response_head(
        self, response_head: HttpResponse, request_head: HttpRequest | None = None
    ) -> FilterAction:
        """Pass a response head through the filters; returns the action that ended it, else ``next()``."""
        return _action_of(self.run(RESPONSE_HEAD, response_head, request_head))

    def on_request_body(self, body_part: bytes, output: Output) -> FilterAction:
        """Pass a part of a body, or ``b""`` for its end, through the filters; ``output`` gets the result."""
        data, stop = self.run_body(REQUEST_BODY, body_part)
        output.write(data)
        return _action_of(stop)

    def on_response_body(
        self, body_part: bytes, output: Output, request_head: HttpRequest | None = None
    ) -> FilterAction:
        """Do as ``on_request_body``, for a response."""
        data, stop = self.run_body(RESPONSE_BODY, body_part, request_head)
        output.write(data)
        return _action_of(stop)

    def run(self, stage: str, *arguments: Any) -> Stop | None:
        """Call the handlers of a head's ``stage`` until one returns an action that ends it, if any."""
        for name, http_filter, handlers in self._members:
            for method, arity in handlers[stage]:
                action = _call(name, getattr(http_filter, method), stage, arguments[:arity])
                if action is not None:
                    return Stop(action, name)
        return None

    def run_body(
        self, stage: str, part: bytes, request: HttpRequest | None = None
    ) -> tuple[bytes, Stop | None]:
        """Pass ``part`` from handler to handler; ``b""`` is the end of the body, and each gets to see it."""
        is_end = not part
        for name, http_filter, handlers in self._members:
            for method, arity in handlers[stage]:
                results: list[bytes] = []
                stop = None
                for piece in (part, b"") if is_end and part else (part,):
                    written = _Written()
                    arguments = (piece, written, request)[:arity]
                    action = _call(name, getattr(http_filter, method), stage, arguments)
                    results += written.pieces or [piece]
                    if action is not None:
                        stop = Stop(action, name)
                        if action.intercepts_request():
                            break
                part = b"".join(results)
                if stop is not None or (not part and not is_end):
                    return part, stop
        return part, None

    def groups(self, stage: str) -> Iterator[tuple[bool, HttpFilterPipeline]]:
        """Yield the filters that handle ``stage``, those in a row with the same ``decode_body`` together."""
        members = [member for member in self._members if member[2][stage]]
        for decodes, group in groupby(members, _decodes):
            yield decodes, HttpFilterPipeline.of(list(group))


def _action_of(stop: Stop | None) -> FilterAction:
    return FilterAction() if stop is None else stop.action


def _member_of(http_filter: Any) -> Member:
    filter_class = type(http_filter)
    return filter_class.__name__, http_filter, handlers_of(filter_class)


def _decodes(member: Member) -> bool:
    return bool(getattr(member[1], "decode_body", False))


def _call(
    name: str, handler: Callable[..., Any], stage: str, arguments: tuple[Any, ...]
) -> FilterAction | None:
    """Return the action of a handler, None for ``next()``; what it raises means ``reject()``."""
    try:
        action: FilterAction | None = handler(*arguments)
        if action is None or action.kind == NEXT_FILTER:
            return None
    except ProxyError:  # an answer, such as HTTPError(403), or the end of the whole exchange
        raise
    except (Exception, SystemExit) as error:  # a worker ends for nobody's sys.exit()
        method = getattr(handler, "__name__", repr(handler))
        log_failure(f"filter {name!r} failed in {method}, at the {stage}", error)
        return reject()
    if action.is_routing() and stage != REQUEST_HEAD:
        log.error("filter %r returned route() at the %s; ignored", name, stage)
        return None
    return action
