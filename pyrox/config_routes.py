"""The rules of [routes]: every rule must be readable, and what follows from it must fit together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pyrox.config_report import did_you_mean
from pyrox.config_values import Raw, check_text, parse_each, parse_url, split_items
from pyrox.http.headers import make_field
from pyrox.routing.functions import path_argument
from pyrox.routing.rule import parse_rule
from pyrox.routing.templates import RedirectTemplate, Rewriting
from pyrox.settings import RouteSettings, Settings, WeightedCluster

Problem = tuple[str, str, str]  # section, key, reason

DEFAULT_CLUSTER = "upstream_hosts"

_DESTINATIONS = ("cluster", "clusters", "redirect", "respond")
_REWRITES = ("strip_prefix", "add_prefix", "replace_path")
_OF_CLUSTERS = ("fallback", "mirror", "upstream_first_byte", "upstream_read")
_NEEDS = {
    "respond_body": "respond",
    "respond_headers": "respond",
    "replace_with": "replace_path",
}


def route_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong with each route."""
    known = cluster_names(settings)
    for name, route in settings.routes.sections.items():
        for key, reason in _problems_of(route, known, settings.limits.max_body_size):
            yield "routes", f"[[{name}]] {key}", reason


def cluster_names(settings: Settings) -> list[str]:
    """Return the names of all clusters."""
    default = [DEFAULT_CLUSTER] if settings.routing.upstream_hosts else []
    return [*default, *settings.clusters.sections]


def check_weighted_clusters(value: Raw) -> tuple[WeightedCluster, ...]:
    """Read clusters with their shares: ``stable weight=95, canary weight=5``; one without has 1."""
    weighted = parse_each(_weighted_cluster, split_items(value))
    names = [cluster.name for cluster in weighted]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"{', '.join(twice)} stands twice; a weight says that it takes more")
    if weighted and not any(cluster.weight for cluster in weighted):
        raise ValueError("no cluster has a weight of more than 0")
    return weighted


def check_percent(value: Raw) -> float:
    """Read a share of more than 0 and up to 100 per cent: ``5``, ``0.5`` or ``5%``."""
    text = check_text(value)
    number = text.removesuffix("%").strip()
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", number) or not 0 < float(number) <= 100:
        raise ValueError(f"{text!r} is not a share of more than 0 and up to 100 per cent")
    return float(number)


def _weighted_cluster(text: str) -> WeightedCluster:
    name, *rest = text.split()
    weight = re.fullmatch(r"weight=([0-9]{1,6})", rest[0]) if rest else None
    if len(rest) > 1 or (rest and weight is None):
        raise ValueError(f"{text!r} is not a cluster and its weight, as in: stable weight=95")
    return WeightedCluster(name, int(weight[1]) if weight else 1)


def check_headers(value: Raw) -> tuple[str, ...]:
    """Read ``Name: value`` items; a comma in one that stands in quotes is the value's."""
    items = [value] if isinstance(value, str) else value
    texts = tuple(item.strip() for item in items if item.strip())
    header_fields(texts)
    return texts


CHECKS: dict[str, Callable[..., object]] = {
    "weighted_clusters": check_weighted_clusters,
    "percent": check_percent,
    "header_list": check_headers,
}


def _problems_of(route: RouteSettings, known: list[str], largest: int) -> Iterator[tuple[str, str]]:
    yield from _faults("match", lambda: _read_rule(route.match))
    given = [key for key in _DESTINATIONS if getattr(route, key)]
    if len(given) != 1:
        fault = "exclude each other" if given else "are missing; a route has one of them"
        yield " and ".join(given or ("cluster, clusters, redirect", "respond")), fault
    yield from _names(route, known)
    yield from _faults("strip_prefix", lambda: route.strip_prefix and path_argument(route.strip_prefix))
    yield from _faults("add_prefix", lambda: route.add_prefix and path_argument(route.add_prefix))
    yield from _faults("replace_path", lambda: Rewriting(pattern=route.replace_path))
    yield from _faults("redirect", lambda: route.redirect and RedirectTemplate(route.redirect))
    yield from _faults("fallback_on", lambda: failures_of(route.fallback_on))
    if not dict(_faults("replace_path", lambda: Rewriting(pattern=route.replace_path))):
        pair = (route.replace_path, route.replace_with)
        yield from _faults("replace_with", lambda: Rewriting("", "", *pair))
    yield from _combinations(route, largest)


def _combinations(route: RouteSettings, largest: int) -> Iterator[tuple[str, str]]:
    for key, needed in _NEEDS.items():
        if getattr(route, key) and not getattr(route, needed):
            yield key, f"has no use without {needed}"
    if route.redirect or route.respond:
        made = "redirect" if route.redirect else "respond"
        for key in _OF_CLUSTERS if route.redirect else (*_OF_CLUSTERS, *_REWRITES):
            if getattr(route, key) not in (None, ""):
                yield key, f"has no use with {made}, which asks no server"
    if route.redirect_status not in (301, 302, 303, 307, 308):
        yield "redirect_status", f"{route.redirect_status} is not one of 301, 302, 303, 307, 308"
    if route.respond and not 200 <= route.respond <= 599:
        yield "respond", f"{route.respond} is not a final status, 200 to 599"
    if route.respond in (204, 304) and route.respond_body:
        yield "respond_body", f"a response with status {route.respond} has no body"
    if largest and route.max_body_size > largest:
        yield "max_body_size", f"{route.max_body_size} is more than [limits] max_body_size, {largest}"


def _names(route: RouteSettings, known: list[str]) -> Iterator[tuple[str, str]]:
    named = [(key, getattr(route, key)) for key in ("cluster", "fallback", "mirror")]
    named += [("clusters", cluster.name) for cluster in route.clusters]
    for key, name in named:
        if not name or name in known:
            continue
        if "://" in name or name.startswith(("unix:", "wsgi:")):
            yield from _faults(key, lambda name=name: parse_url(name))  # type: ignore[misc]
        elif name == DEFAULT_CLUSTER:
            yield key, "there are no upstream_hosts in [routing]"
        elif name == "demo":
            yield (
                key,
                "the demo upstream can only stand in [routing] upstream_hosts; write upstream_hosts here",
            )
        else:
            yield key, f"{name!r} is no section of [clusters]{did_you_mean(name, known)}"


def header_fields(texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Read ``Name: value`` items; raises ``ValueError``."""
    fields: list[tuple[str, str]] = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise ValueError(f"{text!r} is not Name: value")
        make_field(name.strip(), value.strip())
        fields.append((name.strip(), value.strip()))
    return fields


def failures_of(items: tuple[str, ...]) -> tuple[bool, frozenset[int]]:
    """Read ``error`` and statuses: whether errors count, and which statuses do; raises ``ValueError``."""
    statuses = [item for item in items if item != "error"]
    for status in statuses:
        if not status.isdecimal() or not 400 <= int(status) <= 599:
            raise ValueError(f"{status!r} is neither error nor a status from 400 to 599")
    return "error" in items, frozenset(map(int, statuses))


def _read_rule(text: str) -> None:
    if not text:
        raise ValueError("is missing; write a rule such as Host(`a.test`) && PathPrefix(`/v1`)")
    parse_rule(text)


def _faults(key: str, check: Callable[[], object]) -> Iterator[tuple[str, str]]:
    try:
        check()
    except ValueError as error:
        yield key, str(error)
