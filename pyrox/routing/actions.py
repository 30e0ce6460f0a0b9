"""What a route does with its requests, as apps: answer them, lead elsewhere, or send them to a cluster."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import random

from pyrox.config_routes import failures_of, header_fields
from pyrox.error_log import log_failure
from pyrox.errors import NoHealthyServer, UpstreamError
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App
from pyrox.routing.subject import host_of
from pyrox.routing.templates import RedirectTemplate, Rewriting
from pyrox.settings import RouteSettings, WeightedCluster
from pyrox.upstreams.wsgi_environ import SCRIPT_NAME

_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"))  # to be sent twice

Pick = Callable[[], str]


def make_action(route: RouteSettings, forward: App, mirror: Callable[[App], App]) -> App:
    """Return the app that does what ``route`` says.

    ``forward`` sends a request where ``request.route`` says; ``mirror`` puts the mirror before an app.
    """
    if route.respond:
        return responder(route)
    if route.redirect:
        return redirector(route)
    return to_cluster(route, forward, mirror)


def rewriting_of(route: RouteSettings) -> Rewriting | None:
    """Return what ``route`` does to the path; None for nothing."""
    if not (route.strip_prefix or route.add_prefix or route.replace_path):
        return None
    return Rewriting(route.strip_prefix, route.add_prefix, route.replace_path, route.replace_with)


def responder(route: RouteSettings) -> App:
    """Return an app that gives a fixed answer."""
    fields, body = header_fields(route.respond_headers), route.respond_body

    def respond(request: Request) -> Response:
        response = Response(route.respond, body, fields)
        response.made_by = "pyrox"
        return response

    return respond


def redirector(route: RouteSettings) -> App:
    """Return an app that sends the client elsewhere."""
    template, rewriting = RedirectTemplate(route.redirect), rewriting_of(route)

    def redirect(request: Request) -> Response:
        target = "/" if request.target == "*" else request.target
        if rewriting is not None:
            target = rewriting.rewrite(target)
        location = template.location(request.scheme, host_of(request), target)
        response = Response(route.redirect_status, b"", {"Location": location})
        response.made_by = "pyrox"
        return response

    return redirect


def to_cluster(route: RouteSettings, forward: App, mirror: Callable[[App], App]) -> App:
    """Return an app that sends requests to the route's cluster, or to where a middleware routed them.

    What it changes in a request for that, it changes back: a middleware may send it a second time.
    """
    rewriting = rewriting_of(route)
    choose: Pick = (lambda: route.cluster) if route.cluster else weighted(route.clusters)
    chosen = with_fallback(route, forward) if route.fallback else forward
    if route.mirror:
        forward, chosen = mirror(forward), mirror(chosen)
    # What else is done to a path leaves nothing that a WSGI application could put in front of its links.
    only_strips = route.strip_prefix and not route.add_prefix and not route.replace_path

    def send(request: Request) -> Response:
        destination, target = request.route, request._target
        if rewriting is not None:
            request.target = rewriting.rewrite(target)
            if only_strips:
                request.state[SCRIPT_NAME] = _taken_off(target, request.target)
        try:
            if destination is not None:
                return forward(request)
            request.route = choose()
            return chosen(request)
        finally:
            request.route, request._target = destination, target
            if only_strips:
                request.state.pop(SCRIPT_NAME, None)

    return send


def _taken_off(target: str, rest: str) -> str:
    """Return the prefix of a path that was taken off, as the client wrote it."""
    path, left = target.partition("?")[0], rest.partition("?")[0]
    return path.removesuffix(left.lstrip("/")).rstrip("/") if left != path else ""


def weighted(clusters: Sequence[WeightedCluster], chance: Callable[[], float] = random) -> Pick:
    """Return a function that names each of ``clusters`` as often as its weight says."""
    bounds = [*accumulate(cluster.weight for cluster in clusters)]
    names = [cluster.name for cluster in clusters]
    total = bounds[-1]
    return lambda: names[bisect_right(bounds, chance() * total)]


def with_fallback(route: RouteSettings, forward: App) -> App:
    """Return an app that tries the cluster ``fallback`` when that of the request fails.

    Only a request that may be sent again is: any when nothing of it was sent, else those of idempotent
    methods whose body, if they have one, is at hand (RFC 9110 9.2.2).
    """
    on_error, statuses = failures_of(route.fallback_on)

    def send(request: Request) -> Response:
        try:
            response = forward(request)
        except UpstreamError as error:
            if not on_error or not (_is_unsent(error) or _may_repeat(request)):
                raise
        else:
            if response.status not in statuses or not _may_repeat(request):
                return response
            for failure in response.close():
                log_failure("an on_close callback failed", failure)
        request.route = route.fallback
        return forward(request)

    return send


def _is_unsent(error: UpstreamError) -> bool:
    """No server took it: none would connect, or none was there to be asked."""
    return error.retryable or isinstance(error, NoHealthyServer)


def _may_repeat(request: Request) -> bool:
    is_whole = isinstance(request._body, bytes) and request._filters is None
    return is_whole and request.upgrade is None and request._method in _SAFE
