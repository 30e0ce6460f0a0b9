"""``pyrox explain``: what becomes of a request, told without sending it.

pyrox explain -c FILE 'GET /v1/users' -H 'Host: a.test'
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from pyrox.config import load_settings
from pyrox.errors import ClientError
from pyrox.http.forwarding import ClientSide, parse_address
from pyrox.http.head import HeadLimits, parse_request_head
from pyrox.http.message import Request
from pyrox.routing.explain import Explanation, explain
from pyrox.settings import DEFAULT_CONFIG, Settings

_USAGE = "pyrox explain [-c FILE] 'METHOD TARGET' [-H 'NAME: VALUE']... [--client ADDRESS] [--tls]"
_DESCRIPTION = "Tell which route a request takes, and why none of the others; nothing is sent."


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status: 0, or 2 for a bad request; raises ``ConfigError``."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    settings, line = load_settings(arguments.config), " ".join(arguments.request)
    try:
        request = make_request(settings, line, arguments.header, arguments.client, arguments.tls)
    except ClientError as error:
        print(f"such a request is refused with {error.status}: {error.detail}", file=sys.stderr)
        return 2
    for line in describe(explain(settings, request), request):
        print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "pyrox explain", usage=_USAGE, description=_DESCRIPTION, allow_abbrev=False
    )
    add = parser.add_argument
    what = "the request line, without a version; GET may be left out"
    add("request", metavar="'METHOD TARGET'", nargs="+", help=what)
    add("-c", "--config", metavar="FILE", default=DEFAULT_CONFIG, help="default: %(default)s")
    add("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[], help="may be repeated")
    add(
        "--client",
        metavar="ADDRESS",
        type=_client,
        default="127.0.0.1",
        help="who asks; default: %(default)s",
    )
    add("--tls", action="store_true", help="the client speaks TLS")
    return parser


def _client(text: str) -> str:
    if text != "unix" and parse_address(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address; a peer at a unix socket is unix")
    return text


def make_request(settings: Settings, line: str, fields: Sequence[str], client: str, tls: bool) -> Request:
    """Make the request that the engine would; raises ``ClientError`` for one that it would refuse."""
    method, blank, target = line.strip().partition(" ")
    if not blank:
        method, target = "GET", method
    lines = [f"{method} {target.strip()} HTTP/1.1", *fields]
    if not any(field.lower().startswith("host:") for field in fields):
        lines.insert(1, "Host: localhost")
    limits = settings.limits
    head = HeadLimits(
        limits.request_line, limits.head_size, limits.head_fields, settings.http.underscore_headers
    )
    request = parse_request_head("\r\n".join([*lines, "", ""]).encode(), head)
    ClientSide(client, tls=tls, trusted_proxies=settings.http.trusted_proxies).receive(request)
    return request


def describe(told: Explanation, request: Request) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{request.method} {request.target} of host {told.host or '(none)'} by {request.client_address}"
    if len(told.paths) > 1:
        yield f"its path may be read as: {', '.join(told.paths)}"
    if told.tried:
        yield "routes, in the order in which they are tried:"
        width = max(len(route.name) for route in told.tried)
        yield from (f"  {r.name:{width}}  priority {r.priority}: {r.verdict}" for r in told.tried)
    yield f"stack: {', '.join(told.stack) or 'empty'}"
    if told.status is not None:
        yield f"answer: {told.status}, {told.reason}{' to ' if told.location else ''}{told.location}"
        return
    yield f"route: {told.route or 'none, so the default'}"
    shares = (f"{name} {share:.4g} %" for name, share in ((n, s * 100) for n, s in told.clusters))
    yield f"cluster: {told.clusters[0][0] if len(told.clusters) == 1 else ', '.join(shares)}"
    others = "" if told.is_certain else ", or another: it depends on what was sent before"
    yield f"server: {told.server}{others}"
    yield f"asked for: {told.target}"
    yield from _limits(told)


def _limits(told: Explanation) -> Iterator[str]:
    times = (f"{name} {f'{seconds:g} s' if seconds else 'none'}" for name, seconds in told.timeouts.items())
    yield f"timeouts: {', '.join(times)}"
    yield f"max_body_size: {told.max_body_size or 'none'}"
    if told.mirror:
        yield f"mirror: {told.mirror}"
    if told.fallback:
        yield f"fallback: {told.fallback}"
