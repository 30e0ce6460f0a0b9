"""The WSGI applications that a configuration names, as in ``wsgi:package.module:app``.

Only the configuration can name one: what it names is imported, and so run. A middleware, whose destinations
may be made from what a client sends, can send a request to an application that is there, and to no other.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from pyrox.config_report import Report
from pyrox.middleware.importing import failure_of, import_target
from pyrox.settings import Settings
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.server import WSGI, parse_server
from pyrox.upstreams.wsgi import Application

Place = tuple[str, str, str]  # section, option, subsection


def application_places(settings: Settings) -> Iterator[tuple[str, Place]]:
    """Yield the URL of every application, and where it stands."""
    for url, place in _urls(settings):
        if url.startswith(WSGI):
            yield url, place


def _urls(settings: Settings) -> Iterator[tuple[str, Place]]:
    for url in settings.routing.upstream_hosts:
        yield url, ("routing", "upstream_hosts", "")
    for name, cluster in settings.clusters.sections.items():
        for server in cluster.servers:
            yield server.url, ("clusters", "servers", name)
    for name, route in settings.routes.sections.items():
        for option in ("cluster", "fallback", "mirror"):
            yield getattr(route, option), ("routes", option, name)
        for cluster_of_route in route.clusters:
            yield cluster_of_route.name, ("routes", "clusters", name)


def application_clusters(settings: Settings) -> dict[str, Cluster]:
    """Return a cluster for each application, under its URL, for the routes and middleware that name it."""
    urls = dict(application_places(settings))
    return {url: Cluster(url, [Member(parse_server(url))]) for url in urls}


def load_applications(settings: Settings) -> dict[str, Application]:
    """Import every application; returns them by their URLs.

    Call it where they may be imported: in a worker, after patching. Raises ``ConfigError`` with every problem
    found.
    """
    report = Report(settings.source, {})
    applications: dict[str, Application] = {}
    for url, (section, option, subsection) in application_places(settings):
        if url in applications:
            continue
        try:
            applications[url] = import_application(url)
        except ImportError as error:
            report.add(section, option, f"{url}: {error}", subsection)
    report.raise_if_any()
    return applications


def import_application(url: str) -> Application:
    """Return the application at ``wsgi:package.module:app``, or what ``wsgi:package.module:make()`` returns.

    Every failure is an ImportError.
    """
    path = url.removeprefix(WSGI)
    target = import_target(path.removesuffix("()"))
    if not path.endswith("()"):
        return target
    try:
        application = target()
    except (Exception, SystemExit) as error:
        traceback.print_exception(error)
        raise ImportError(failure_of(error)) from error
    if not callable(application):
        raise ImportError(f"it returned {application!r}, which is not callable")
    return application  # type: ignore[no-any-return]
