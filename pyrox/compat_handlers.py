"""What a filter of Pyrox 0.4 is written with: decorators for its handlers, and the actions they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pyrox.http.model import HttpResponse

Handler = TypeVar("Handler", bound=Callable[..., Any])

NEXT_FILTER, CONSUME, REJECT, ROUTE, REPLY = range(5)

REQUEST_HEAD, REQUEST_BODY, RESPONSE_HEAD, RESPONSE_BODY = STAGES = (
    "request head",
    "request body",
    "response head",
    "response body",
)
# How many arguments a handler takes at least, and at most.
_ARITIES = {REQUEST_HEAD: (1, 1), REQUEST_BODY: (2, 2), RESPONSE_HEAD: (1, 2), RESPONSE_BODY: (2, 3)}
_MARK = "_pyrox_stages"


class FilterAction:
    """What a filter decided: the ``kind`` of action, one of the constants above, and its ``payload``."""

    def __init__(self, kind: int = NEXT_FILTER, payload: Any = None) -> None:
        self.kind = kind
        self.payload = payload

    def breaks_pipeline(self) -> bool:
        """Whether the filters that follow do not see this stage."""
        return self.kind != NEXT_FILTER

    def intercepts_request(self) -> bool:
        """Whether the client is answered by the filter."""
        return self.kind in (REJECT, REPLY)

    def should_connect_upstream(self) -> bool:
        """Whether the request goes on to its upstream."""
        return not self.intercepts_request()

    def is_consuming(self) -> bool:
        return self.kind == CONSUME

    def is_rejecting(self) -> bool:
        return self.kind == REJECT

    def is_replying(self) -> bool:
        return self.kind == REPLY

    def is_routing(self) -> bool:
        return self.kind == ROUTE

    def __repr__(self) -> str:
        return f"FilterAction({self.kind!r}, {self.payload!r})"


def next() -> FilterAction:
    """Pass the stage on to the next filter, as returning None does."""
    return FilterAction()


pass_event = next


def consume() -> FilterAction:
    """Go on proxying, but let no further filter see this stage."""
    return FilterAction(CONSUME)


def reject(response: HttpResponse | None = None) -> FilterAction:
    """Answer the client with ``response``; by default with status ``rejection_sc`` and no body."""
    return FilterAction(REJECT, response)


def reply(response: HttpResponse, src: Any = None) -> FilterAction:
    """Answer the client with ``response`` and ``src`` as its body.

    ``src`` is bytes, str (sent as UTF-8), a file object, which is closed at the end, or an iterable of
    bytes or str. None is no body.
    """
    return FilterAction(REPLY, (response, src))


def route(upstream_target: str | bytes) -> FilterAction:
    """Send the request to ``upstream_target``: ``http://host:port``, ``https://host`` or ``host:port``."""
    return FilterAction(ROUTE, upstream_target)


class HttpFilter:
    """A marker for classes whose decorated methods are handlers.

    ``decode_body = True`` in a subclass makes its body handlers see bodies without their
    Content-Encoding, which is applied again behind them.
    """

    decode_body = False


def handles_request_head(request_func: Handler) -> Handler:
    """Mark a method ``(self, request)`` as a handler of request heads."""
    return _mark(request_func, REQUEST_HEAD)


def handles_request_body(request_func: Handler) -> Handler:
    """Mark a method ``(self, part, output)`` as a handler of request bodies, part by part.

    What it writes to ``output`` replaces the part; nothing written leaves it as it is, and ``b""`` drops
    it. After the last part the handler is called once more, with ``b""``.
    """
    return _mark(request_func, REQUEST_BODY)


def handles_response_head(request_func: Handler) -> Handler:
    """Mark a method ``(self, response)`` or ``(self, response, request)`` as a handler of response heads."""
    return _mark(request_func, RESPONSE_HEAD)


def handles_response_body(request_func: Handler) -> Handler:
    """Mark a method ``(self, part, output)`` or ``(self, part, output, request)`` as a handler of bodies.

    Otherwise as ``handles_request_body``.
    """
    return _mark(request_func, RESPONSE_BODY)


def _mark(function: Handler, stage: str) -> Handler:
    stages = getattr(function, _MARK, ())
    if stage not in stages:
        setattr(function, _MARK, (*stages, stage))
    return function


# By stage, the handlers of a class: the name of the method, and how many arguments it takes.
Handlers = dict[str, tuple[tuple[str, int], ...]]

_known: dict[type, Handlers] = {}
_MOST_KNOWN = 1024  # a factory function that defines its class anew makes one for each request


def handlers_of(filter_class: type) -> Handlers:
    """Return the handlers of a class by stage, in the order of their names; each class is read once.

    Raises ``TypeError`` for a decorated method that does not take the arguments of its stage.
    """
    handlers = _known.get(filter_class)
    if handlers is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        handlers = _known[filter_class] = _read_handlers(filter_class)
    return handlers


def _read_handlers(filter_class: type) -> Handlers:
    found: dict[str, list[tuple[str, int]]] = {stage: [] for stage in STAGES}
    for name in dir(filter_class):
        method = inspect.getattr_static(filter_class, name)
        marked = getattr(method, _MARK, ()) or getattr(getattr(method, "__func__", None), _MARK, ())
        # Some objects have every attribute that they are asked for, such as a client of XML-RPC.
        for stage in marked if isinstance(marked, tuple) else ():
            found[stage].append((name, _arity(filter_class, name, stage)))
    return {stage: tuple(handlers) for stage, handlers in found.items()}


def _arity(filter_class: type, name: str, stage: str) -> int:
    parameters = _parameters_of(getattr(filter_class, name))
    is_function = inspect.isfunction(inspect.getattr_static(filter_class, name))
    if is_function and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]  # self
    kinds = [parameter.kind for parameter in parameters]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least, most = _ARITIES[stage]
    takes = most if inspect.Parameter.VAR_POSITIONAL in kinds else min(len(positional), most)
    needs = sum(p.default is p.empty for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    if not least <= takes or needs > takes:
        expected = f"{least} or {most} arguments" if least < most else f"{least} argument{'s' * (least > 1)}"
        raise TypeError(f"{filter_class.__name__}.{name} handles the {stage} and must take {expected}")
    return takes


def _parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of ``function``, or of the one method that it calls as a decorator's wrapper.

    A decorator of the time rarely knew ``functools.wraps``: what it wraps is in its closure.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if inspect.isfunction(function) and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        inner = [cell.cell_contents for cell in function.__closure__ or ()]
        wrapped = [_parameters_of(f) for f in inner if inspect.isfunction(f) and f is not function]
        methods = [found for found in wrapped if found and found[0].name == "self"]
        if len(methods) == 1:
            return methods[0]
    return parameters
