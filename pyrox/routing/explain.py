"""Why a request takes the route it takes: the table asked aloud, and the route's own action tried out.

What is told comes out of the same objects that serve requests; only nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pyrox.errors import ClientError, NoHealthyServer
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.middleware.stack import stack_names
from pyrox.routing.actions import make_action
from pyrox.routing.condition import compile_condition
from pyrox.routing.dispatch import make_table
from pyrox.routing.paths import readings
from pyrox.routing.predicates import compile_rule
from pyrox.routing.rule import And, Call, Not, Rule
from pyrox.routing.subject import Subject, host_of
from pyrox.routing.table import RouteTable
from pyrox.settings import ClusterSettings, RawOptions, RouteSettings, Settings
from pyrox.upstreams.building import DEFAULT_CLUSTER, make_clusters

_FIXED = ("hash", "sticky")  # what they choose does not depend on what was chosen before
_DEMO = "http://demo.invalid"  # the demo upstream gets its port from the worker that it is in


@dataclass(frozen=True, slots=True)
class Tried:
    """One route: ``verdict`` is ``"taken"``, or says why it is not."""

    name: str
    priority: int
    rule: str
    verdict: str


@dataclass(slots=True)
class Explanation:
    """What becomes of a request.

    * ``route``: the route it takes, None for none; ``tried``: all of them, in their order.
    * ``status``: that of the answer that Pyrox makes itself, None when a server is asked; ``reason`` says
      why, ``location`` is where a redirect leads.
    * ``clusters``: name and share of each that may be asked; ``server``: the one that would be chosen of the
      first, and whether that is certain; ``timeouts``: those of that one, too; ``target``: what it is asked
      for.
    """

    host: str
    paths: list[str]
    route: str | None = None
    tried: list[Tried] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    status: int | None = None
    reason: str = ""
    location: str = ""
    clusters: list[tuple[str, float]] = field(default_factory=list)
    server: str = ""
    is_certain: bool = False
    target: str = ""
    timeouts: dict[str, float] = field(default_factory=dict)
    max_body_size: int = 0
    mirror: str = ""
    fallback: str = ""


def explain(settings: Settings, request: Request) -> Explanation:
    """Tell what becomes of ``request``, as it comes out of the stack of all requests."""
    table = make_table(settings)
    paths = readings(request.path)
    told = Explanation(
        host_of(request), [*(paths or ())], stack=_layers(settings, stack_names(settings), request)
    )
    try:
        rank = table.find(request)
    except ClientError as error:
        told.status, told.reason = error.status, _refusal(error, table, request, told.paths)
        return told
    told.tried = _verdicts(table, request, rank)
    _tell_limits(told, settings, None)
    if rank is not None:
        told.route = table.rules[rank].name
        _tell_route(told, settings, settings.routes.sections[told.route], request)
    elif settings.routing.default_cluster or settings.routing.upstream_hosts:
        told.clusters = [(settings.routing.default_cluster or DEFAULT_CLUSTER, 1.0)]
        told.target = request.target
    else:
        told.status, told.reason = 404, "no route takes it, and there is no default"
    if told.clusters:
        name = told.clusters[0][0]
        told.server, told.is_certain = _server_of(settings, name, request)
        _tell_times_of_cluster(told, settings.clusters.sections.get(name))
    return told


def _layers(settings: Settings, names: Iterable[str], request: Request) -> list[str]:
    """Return ``names``, each with what its section says of when it is asked."""
    notes = [(name, _note(settings.middleware.sections.get(name, {}), request)) for name in names]
    return [f"{name} ({note})" if note else name for name, note in notes]


def _note(section: RawOptions, request: Request) -> str:
    when = section.get("when")
    try:
        if isinstance(when, str) and not compile_condition(when)(request):
            return "passed by: its when does not hold"
    except (ClientError, ValueError) as error:
        return f"its when: {error}"
    return "observed" if section.get("mode") == "observe" else ""


def why_not(rule: Rule, subject: Subject) -> str:
    """Say why ``rule``, which does not hold, does not: by its parts that are to blame."""
    if isinstance(rule, Not):
        return f"{rule.item} holds"
    if isinstance(rule, Call):
        return f"{rule}: {_found(rule, subject)}"
    reasons = [why_not(item, subject) for item in rule.items if not compile_rule(item)(subject)]
    return reasons[0] if isinstance(rule, And) else "; ".join(reasons)


def _verdicts(table: RouteTable, request: Request, taken: int | None) -> list[Tried]:
    subject = Subject(request, host_of(request), (readings(request.path) or ("",))[0])
    tried = []
    for rank, entry in enumerate(table.rules):
        if rank == taken:
            verdict = "taken"
        elif taken is not None and rank > taken:
            holds = compile_rule(entry.rule)(subject)
            verdict = "comes after it" if holds else why_not(entry.rule, subject)
        else:
            verdict = why_not(entry.rule, subject)
        tried.append(Tried(entry.name, entry.priority, str(entry.rule), verdict))
    return tried


def _refusal(error: ClientError, table: RouteTable, request: Request, paths: list[str]) -> str:
    ranks = [(path, table._find(request, host_of(request), path)) for path in paths]
    named = [f"{path} takes {'none' if rank is None else table.rules[rank].name}" for path, rank in ranks]
    return "; ".join([error.detail, *named])


def _tell_route(told: Explanation, settings: Settings, route: RouteSettings, request: Request) -> None:
    told.stack += _layers(settings, route.stack, request)
    told.mirror, told.fallback = route.mirror, route.fallback
    _tell_limits(told, settings, route)
    total = sum(cluster.weight for cluster in route.clusters)
    shares = [(cluster.name, cluster.weight / total) for cluster in route.clusters if cluster.weight]
    told.clusters = [(route.cluster, 1.0)] if route.cluster else shares

    def forward(sent: Request) -> Response:
        told.target = sent.target
        return Response(200)

    try:
        answer = make_action(route, forward, _unchanged)(request)
    except ClientError as error:
        told.status, told.reason, told.clusters = error.status, error.detail, []
        return
    if not told.clusters:
        told.status, told.location = answer.status, answer.headers.get("location", "")
        told.reason = "redirect" if route.redirect else "fixed answer"


def _unchanged(app: App) -> App:
    return app


def _tell_limits(told: Explanation, settings: Settings, route: RouteSettings | None) -> None:
    for name in ("upstream_first_byte", "upstream_read", "exchange"):
        own = getattr(route, name) if route is not None else None
        told.timeouts[name] = getattr(settings.timeouts, name) if own is None else own
    told.max_body_size = (route.max_body_size if route is not None else 0) or settings.limits.max_body_size


def _tell_times_of_cluster(told: Explanation, cluster: ClusterSettings | None) -> None:
    for name in ("try_timeout", "hedge_after"):
        if seconds := getattr(cluster, name, 0.0):
            told.timeouts[name] = seconds


def _server_of(settings: Settings, name: str, request: Request) -> tuple[str, bool]:
    """Return the server that a worker which has just started would choose, and whether any would."""
    hosts = [_DEMO if host == "demo" else host for host in settings.routing.upstream_hosts]
    clusters = make_clusters(hosts, settings.clusters.sections, lambda: 0.0)
    if name not in clusters:
        return name, True  # it is the URL of one
    section = settings.clusters.sections.get(name)
    balance = section.balance if section is not None else "round_robin"
    try:
        member = clusters[name].choose(request, 0.0)
    except NoHealthyServer:
        return "none before it is discovered", True
    url = "demo" if member.server.url == _DEMO else member.server.url
    if section is not None and section.is_discovered:
        return url, False
    return url, len(clusters[name].members) == 1 or balance in _FIXED


_Finder = Callable[[Subject, str], str]


def _found(call: Call, subject: Subject) -> str:
    """Say what the request has where ``call`` looks."""
    return _FINDERS[call.function.removesuffix("Regexp")](subject, call.arguments[0])


def _listed(what: str, values: list[str]) -> str:
    return f"{what} is {', '.join(map(repr, values))}" if values else f"there is no {what}"


_FINDERS: dict[str, _Finder] = {
    "Host": lambda subject, _: f"the host is {subject.host!r}",
    "Path": lambda subject, _: f"the path is {subject.path!r}",
    "PathPrefix": lambda subject, _: f"the path is {subject.path!r}",
    "Method": lambda subject, _: f"the method is {subject.request.method}",
    "Header": lambda subject, name: _listed(f"header {name}", subject.request.headers.get_all(name)),
    "Query": lambda subject, name: _listed(f"parameter {name}", subject.query.get(name, [])),
    "Cookie": lambda subject, name: _listed(f"cookie {name}", subject.cookies.get(name, [])),
    "ClientIP": lambda subject, _: f"the client is {subject.address}",
}
