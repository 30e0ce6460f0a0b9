"""The stack: which middleware a request passes, resolved from the settings and folded into one app.

Three steps, all before the first request. ``load_stack`` imports the classes and checks their options
against their constructors; ``build_stack`` constructs them, outermost first, around the innermost app;
what is left at run time is a chain of plain calls.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from pyrox.config_report import Report, did_you_mean
from pyrox.config_routes import cluster_names
from pyrox.errors import ConfigError, HTTPError, NoRoute, ProxyError
from pyrox.http.field_names import normal_names
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.middleware.conditions import OPTIONS_OF_ALL, Conditions, take_conditions
from pyrox.middleware.importing import failure_of, import_target
from pyrox.middleware.options import bind_options
from pyrox.middleware.place import Place, placed
from pyrox.settings import MiddlewareSettings, Settings

if TYPE_CHECKING:
    from pyrox.compat_loading import ConfiguredFilters

Factory = Callable[[App], App]

BUILT_IN = {
    "access_control": "pyrox.middleware.access_control:AccessControl",
    "api_key": "pyrox.middleware.api_key:ApiKey",
    "basic_auth": "pyrox.middleware.basic_auth:BasicAuth",
    "body_limit": "pyrox.middleware.body_limit:BodyLimit",
    "compress": "pyrox.middleware.compress:Compress",
    "cors": "pyrox.middleware.cors:Cors",
    "decompress": "pyrox.middleware.decompress:Decompress",
    "error_pages": "pyrox.middleware.error_pages:ErrorPages",
    "forward_auth": "pyrox.middleware.forward_auth:ForwardAuth",
    "headers": "pyrox.middleware.headers:HeadersMiddleware",
    "health": "pyrox.middleware.health:Health",
    "in_flight": "pyrox.middleware.in_flight:InFlight",
    "json_fields": "pyrox.middleware.json_fields:JsonFields",
    "json_to_xml": "pyrox.middleware.xml_conversion:JsonToXml",
    "jwt_auth": "pyrox.middleware.jwt_auth:JwtAuth",
    "mtls_auth": "pyrox.middleware.mtls_auth:MtlsAuth",
    "keystone": "pyrox.middleware.keystone:Keystone",
    "negotiate": "pyrox.middleware.negotiate:Negotiate",
    "rate_limit": "pyrox.middleware.rate_limit:RateLimit",
    "rbac": "pyrox.middleware.rbac:Rbac",
    "redact": "pyrox.middleware.redact:Redact",
    "request_id": "pyrox.middleware.request_id:RequestId",
    "security_headers": "pyrox.middleware.security_headers:SecurityHeaders",
    "substitute": "pyrox.middleware.substitute:SubstituteMiddleware",
    "xml_to_json": "pyrox.middleware.xml_conversion:XmlToJson",
}
# Who else may have answered, in the access log: a middleware of that name could not be told apart.
_TAKEN = ("pyrox", "upstream")
_FILTERS = "filters"  # stands for the filters of [pipeline]
_SECTION = "middleware"


def build_stack(layers: Sequence[tuple[str, Factory]], app: App) -> App:
    """Construct every layer around ``app`` and return the outermost; ``layers`` starts with it.

    The result answers like any app. Besides, a response that comes out of a layer without a maker gets
    the layer's name as ``made_by``; an exception gets the name of the layer it was raised in as its
    ``middleware`` attribute, None when it comes from ``app``; a layer that returns something else than
    a ``Response`` fails with ``TypeError``.

    Raises what the constructors raise.
    """
    innermost = _code_of(app)
    for name, factory in reversed(layers):
        app = _layer(name, factory(app), innermost)
    return app


def _layer(name: str, middleware: App, innermost: CodeType | None) -> App:
    call = _direct_call(middleware)

    def layer(request: Request) -> Response:
        try:
            response = call(request)
        except (Exception, SystemExit) as error:
            _blame(error, name, innermost)
            raise
        try:
            if response.made_by is None:
                response.made_by = name
                if request.exchange is not None:
                    request.exchange.responses.append(response)
        except AttributeError:
            fault = TypeError(f"middleware {name!r} returned {response!r}, not a Response")
            _name(fault, name)
            raise fault from None
        return response

    # Whoever looks at a stack of frames sees the name: the stall watchdog, profilers, tracebacks.
    layer.__code__ = layer.__code__.replace(co_name=f"middleware {name!r}")
    return layer


def _direct_call(app: Any) -> App:
    """Return the bound ``__call__`` of an instance: its type's slot costs 0.03 us more a call.

    With it and the middleware's own call, a layer costs 0.08 us (CPython 3.11).
    """
    if isinstance(app, (FunctionType, MethodType)):
        return app
    bound: App = app.__call__
    return bound


def _blame(error: BaseException, name: str, innermost: CodeType | None) -> None:
    """Record where ``error`` was raised, the first time that it comes out of a layer."""
    if "middleware" in error.__dict__:
        return
    if innermost is not None and _passed_through(error, innermost):
        error.__dict__["middleware"] = None
        return
    _name(error, name)
    if isinstance(error, HTTPError):
        # Headers that cannot be sent are found out here, while it is known whose fault they are.
        try:
            error.headers = Headers(error.headers)
        except (TypeError, ValueError) as fault:
            _name(fault, name)
            raise


def _name(error: BaseException, name: str) -> None:
    # Into __dict__, because an exception class may forbid setting attributes.
    error.__dict__["middleware"] = name
    if not isinstance(error, ProxyError):
        error.__dict__.setdefault("__notes__", []).append(f"in middleware {name!r}")


def _passed_through(error: BaseException, code: CodeType) -> bool:
    return any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))


def _code_of(app: App) -> CodeType | None:
    function = app if isinstance(app, (FunctionType, MethodType)) else type(app).__call__
    return getattr(function, "__code__", None)


@dataclass(frozen=True, slots=True)
class ConfiguredMiddleware:
    """Makes the middleware of one ``[[name]]`` section; call it with the next app."""

    source: str
    name: str
    target: Callable[..., App]
    options: Mapping[str, Any]
    conditions: Conditions = field(default_factory=Conditions)
    route: str | None = None  # whose stack it stands in

    def __call__(self, app: App) -> App:
        """Raises ``ConfigError`` when the constructor finds an option wrong."""
        return self.conditions.apply(self.name, self._make, app)

    def _make(self, app: App) -> App:
        try:
            with placed(Place(self.name, self.route)):
                middleware = self.target(app, **self.options)
        except (TypeError, ValueError) as error:
            option, reason = _split_message(str(error))
            raise self._problem(option, reason) from error
        except Exception as error:
            error.add_note(f"while making middleware {self.name!r} of {self.source}")
            raise
        if not callable(middleware):
            raise self._problem("class", f"made {middleware!r}, which is not callable")
        return middleware

    def check(self, report: Report) -> list[str]:
        """Make the middleware and throw it away; returns warnings, of which there are none yet."""
        try:
            self(_no_upstream)
        except ConfigError as error:
            report.problems += error.problems
        except Exception as error:  # a constructor may fail in any way
            traceback.print_exception(error)
            report.add(_SECTION, "", failure_of(error), self.name)
        return []

    def reserved_fields(self) -> Iterable[str]:
        """Return the names that ``Middleware.reserved_fields`` has for these options and the defaults."""
        names: Iterable[str] = self._ask("reserved_fields")
        return names

    def unknown_clusters(self, known: Collection[str]) -> Iterable[tuple[str, str]]:
        """Return an option and a name for each of ``Middleware.destinations`` that there is not."""
        for option, name in self._ask("destinations"):
            if "://" not in name and not name.startswith(("unix:", "wsgi:")) and name not in known:
                yield option, name

    def unmet_need(self, settings: Settings) -> str:
        """Return what ``Middleware.unmet_need`` says."""
        ask: Callable[[Settings], str] | None = getattr(self.target, "unmet_need", None)
        return "" if ask is None else ask(settings)

    def _ask(self, question: str) -> Iterable[Any]:
        """Ask the class what it has to say of these options and the defaults; nothing when it cannot."""
        ask = getattr(self.target, question, None)
        if ask is None:
            return ()
        bound = inspect.signature(self.target).bind(_no_upstream, **self.options)
        bound.apply_defaults()
        told: Iterable[Any] = ask(bound.arguments)
        return told

    def _problem(self, option: str, reason: str) -> ConfigError:
        report = Report(self.source, {})
        report.add(_SECTION, option, reason, self.name)
        return ConfigError(report.problems)


def _split_message(message: str) -> tuple[str, str]:
    """Take ``option: reason`` apart, as a constructor should put it."""
    option, colon, reason = message.partition(": ")
    return (option, reason) if colon and option.isidentifier() else ("", message)


def load_stack(settings: Settings) -> list[tuple[str, Factory]]:
    """Resolve every name of ``stack`` to its name and a factory, for ``build_stack``.

    The filters of [pipeline] are one of the layers. Imports the classes, so call it where they may be
    imported: in a worker, after patching. Raises ``ConfigError`` with every problem found.
    """
    layers, report = _resolve(settings)
    report.raise_if_any()
    return [(layer.name, layer) for layer in layers]


def load_route_stacks(settings: Settings) -> dict[str, list[tuple[str, Factory]]]:
    """Resolve the ``stack`` of each route as ``load_stack`` does that of all; by the route's name."""
    stacks, report = _resolve_routes(settings)
    report.raise_if_any()
    return {route: [(layer.name, layer) for layer in layers] for route, layers in stacks.items()}


def reserved_fields(settings: Settings) -> frozenset[bytes]:
    """Return what middleware keep for themselves, of every stack, as ``HeadLimits`` wants the names.

    Of every stack, because one upstream may serve a route that authenticates and one that does not.
    """
    stacks = [settings.middleware.stack, *(route.stack for route in settings.routes.sections.values())]
    ignored = Report(settings.source, {})  # load_stack and load_route_stacks tell
    layers = [
        layer
        for name in {name for stack in stacks for name in stack}
        if not _fault_of(name, settings.middleware, ()) and name != _FILTERS
        for layer in _layer_of(name, settings, ignored)
    ]
    return normal_names(name for layer in layers for name in layer.reserved_fields())


def check_stack(settings: Settings) -> None:
    """Construct every middleware of every ``stack`` once and throw it away, as ``pyrox --check`` does.

    Raises ``ConfigError`` with every problem found, those that constructors find included. What only its
    author can understand is also shown with its traceback, on standard error; so are warnings.
    """
    layers, report = _resolve(settings)
    stacks, route_report = _resolve_routes(settings)
    report.problems += route_report.problems
    of_routes = {layer.name: layer for stack in stacks.values() for layer in stack}
    for layer in [*layers, *of_routes.values()]:
        if isinstance(layer, ConfiguredMiddleware) and (need := layer.unmet_need(settings)):
            report.add(_SECTION, "", need, layer.name)
        for warning in layer.check(report):
            print(f"warning: {warning}", file=sys.stderr)
    report.raise_if_any()


def _no_upstream(request: Request) -> Response:
    raise NoRoute("the stack was only built to check it")


def _resolve(settings: Settings) -> tuple[list[ConfiguredMiddleware | ConfiguredFilters], Report]:
    report = Report(settings.source, {})
    layers: list[ConfiguredMiddleware | ConfiguredFilters] = []
    names = stack_names(settings)
    filters = _filters_of(settings, report)
    for position, name in enumerate(names):
        if fault := _fault_of(name, settings.middleware, names[:position]):
            report.add(_SECTION, "stack", fault)
        elif name != _FILTERS:
            layers += _layer_of(name, settings, report)
        elif filters is not None:
            layers.append(filters)
    return layers, report


def _resolve_routes(settings: Settings) -> tuple[dict[str, list[ConfiguredMiddleware]], Report]:
    report = Report(settings.source, {})
    known: dict[str, list[ConfiguredMiddleware]] = {}  # each once, and its problems too
    stacks: dict[str, list[ConfiguredMiddleware]] = {}
    for route, options in settings.routes.sections.items():
        layers = stacks[route] = []
        for position, name in enumerate(options.stack):
            if fault := _fault_in_route(name, settings.middleware, options.stack[:position]):
                report.add("routes", "stack", fault, route)
                continue
            if name not in known:
                known[name] = _layer_of(name, settings, report)
            layers += [replace(layer, route=route) for layer in known[name]]
    return stacks, report


def _fault_in_route(name: str, settings: MiddlewareSettings, before: Sequence[str]) -> str:
    if name == _FILTERS:
        return f"{name!r} can only stand in [middleware] stack"
    if name in settings.stack:
        return f"{name!r} stands in [middleware] stack, which every request passes"
    return _fault_of(name, settings, before)


def stack_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of the stack of all requests; the filters of [pipeline] are innermost by default."""
    names = settings.middleware.stack
    has_filters = bool(settings.pipeline.upstream or settings.pipeline.downstream)
    return (*names, _FILTERS) if has_filters and _FILTERS not in names else names


def _filters_of(settings: Settings, report: Report) -> ConfiguredFilters | None:
    """Return the layer of [pipeline]; None, and nothing of it imported, when no filters are listed."""
    if not settings.pipeline.upstream and not settings.pipeline.downstream:
        return None
    from pyrox.compat_loading import configure_filters

    return configure_filters(_FILTERS, settings, report)


def _layer_of(name: str, settings: Settings, report: Report) -> list[ConfiguredMiddleware]:
    """Return the middleware of that name; none when there is a problem with it."""
    options = dict(settings.middleware.sections.get(name, {}))
    try:
        target = _target_of(name, options)
    except ImportError as error:
        report.add(_SECTION, "class", str(error), name)
        return []
    conditions, faults = take_conditions(target, options)
    directory = Path(settings.source).absolute().parent
    arguments, problems = bind_options(target, options, directory, OPTIONS_OF_ALL)
    for option, reason in (*faults, *problems):
        report.add(_SECTION, option, reason, name)
    if faults or problems:
        return []
    layer = ConfiguredMiddleware(settings.source, name, target, arguments, conditions)
    known = cluster_names(settings)
    for option, cluster in layer.unknown_clusters(known):
        hint = did_you_mean(cluster, known)
        report.add(_SECTION, option, f"{cluster!r} is no section of [clusters]{hint}", name)
    return [layer]


def _target_of(name: str, options: dict[str, Any]) -> Callable[..., Any]:
    """Take the class out of ``options``; without one the section's own name says what is built in."""
    named = options.pop("class", None)
    if named is None:
        return import_target(BUILT_IN.get(name))
    return import_target(BUILT_IN.get(named, named) if isinstance(named, str) else named)


def _fault_of(name: str, settings: MiddlewareSettings, before: Sequence[str]) -> str:
    if name in before:
        return f"{name!r} is listed twice"
    if name in _TAKEN:
        return f"{name!r} means something else in the access log; choose another name"
    if name == _FILTERS:
        taken = f"{name!r} stands for the filters of [pipeline]; give [[{name}]] another name"
        return taken if name in settings.sections else ""
    if name not in BUILT_IN and name not in settings.sections:
        hint = did_you_mean(name, [*settings.sections, *BUILT_IN, _FILTERS])
        return f"{name!r} has no section [[{name}]] and is not built in{hint}"
    return ""
