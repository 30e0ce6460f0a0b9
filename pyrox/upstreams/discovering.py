"""Settings -> discoveries: which clusters have servers that come and go, and by which resolvers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyrox.config_report import Report
from pyrox.middleware.extras import require
from pyrox.middleware.importing import failure_of, import_target
from pyrox.middleware.options import bind_options
from pyrox.settings import ClusterSettings, ServerSettings, Settings
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.discovery import Discovery, OnGone
from pyrox.upstreams.dns import DnsResolver, Lookup
from pyrox.upstreams.member import Member
from pyrox.upstreams.notebook import Notebook
from pyrox.upstreams.resolver import ResolveError, Resolver
from pyrox.upstreams.server import parse_server
from pyrox.upstreams.server_file import FileResolver

_SECTION = "clusters"


def make_discoveries(
    settings: Settings, clusters: Mapping[str, Cluster], lookup: Callable[[], Lookup], on_gone: OnGone
) -> list[Discovery]:
    """Return a discovery for each of ``clusters`` whose servers come and go.

    ``lookup`` makes what asks nameservers, and is called once if at all. Raises ``ConfigError`` when a
    resolver cannot be made.
    """
    report = Report(settings.source, {})
    discovered = _discovered(settings)
    notebook = Notebook() if discovered else None
    is_asked = any(server.resolve for cluster in discovered.values() for server in cluster.servers)
    asking = lookup() if is_asked else None
    discoveries = []
    for name, section in discovered.items():
        discovery = Discovery(
            clusters[name],
            clusters[name].members[: _count_static(section)],
            on_gone,
            settings.discovery.min_ttl,
            notebook,
        )
        for server in section.servers:
            if server.resolve and asking is not None:
                resolver = DnsResolver(server, settings.discovery, asking)
                asked = f"{server.url} {server.service}"
                discovery.add(_name_of(server), resolver, _stand_in(clusters[name], server), asked)
        for label, other in _other_resolvers(name, section, report):
            options = section.resolver_options if label == section.resolver else ()
            discovery.add(label, other, asked=" ".join([label, *options]))
        discoveries.append(discovery)
    report.raise_if_any()
    return discoveries


def first_members(servers: Collection[ServerSettings]) -> list[Member]:
    """Return the servers that there are before any is discovered, those that stay first.

    A name to be resolved stands for itself until it is: then it is looked up for each connection.
    """
    named = [server for server in servers if not server.resolve]
    named += [server for server in servers if server.resolve and not server.service]
    return [Member(parse_server(server.url), server.weight, server.is_backup) for server in named]


def check_discovery(settings: Settings) -> None:
    """Read every file of servers, make every resolver, and throw them away.

    Raises ``ConfigError`` with every problem found. No nameserver is asked: it may be up by the start.
    """
    report = Report(settings.source, {})
    for name, cluster in _discovered(settings).items():
        if any(server.resolve for server in cluster.servers):
            try:
                require("dns.resolver", "dns")
            except ValueError as error:
                report.add(_SECTION, "servers", f"resolve {error}", name)
        for _, resolver in _other_resolvers(name, cluster, report):
            if isinstance(resolver, FileResolver):
                try:
                    resolver.resolve()
                except ResolveError as error:
                    report.add(_SECTION, "servers_file", str(error), name)
            resolver.close()
    report.raise_if_any()


def has_discovery(settings: Settings) -> bool:
    """Whether any cluster has servers that come and go."""
    return bool(_discovered(settings))


def _discovered(settings: Settings) -> dict[str, ClusterSettings]:
    return {name: each for name, each in settings.clusters.sections.items() if each.is_discovered}


def _count_static(cluster: ClusterSettings) -> int:
    return sum(not server.resolve for server in cluster.servers)


def _stand_in(cluster: Cluster, server: ServerSettings) -> Member | None:
    return next((member for member in cluster.members if member.server == parse_server(server.url)), None)


def _name_of(server: ServerSettings) -> str:
    host = parse_server(server.url).host
    return f"{server.service}.{host}" if server.service else host


def _other_resolvers(name: str, cluster: ClusterSettings, report: Report) -> Iterator[tuple[str, Resolver]]:
    if cluster.servers_file:
        yield cluster.servers_file, FileResolver(cluster.servers_file)
    if cluster.resolver:
        resolver = _custom(name, cluster, report)
        if resolver is not None:
            yield cluster.resolver, resolver


def _custom(name: str, cluster: ClusterSettings, report: Report) -> Resolver | None:
    pairs = (option.partition("=") for option in cluster.resolver_options)
    options = {key.strip(): value.strip() for key, _, value in pairs}
    try:
        target = import_target(cluster.resolver)
        arguments, problems = bind_options(target, options, Path(report.source).absolute().parent)
        for option, reason in problems:
            report.add(_SECTION, "resolver_options", f"{option}: {reason}", name)
        return None if problems else _made(target, name, arguments)
    except ImportError as error:
        report.add(_SECTION, "resolver", str(error), name)
    except ValueError as error:
        report.add(_SECTION, "resolver_options", str(error), name)
    except Exception as error:  # a constructor may fail in any way
        report.add(_SECTION, "resolver", failure_of(error), name)
    return None


def _made(target: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> Resolver:
    resolver = target(name, **arguments)
    if not isinstance(resolver, Resolver):
        raise TypeError(f"{resolver!r} is no pyrox.upstreams.resolver.Resolver")
    return resolver
