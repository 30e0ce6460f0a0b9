#!/usr/bin/env python3
"""Measure what a WSGI application costs a request, from the forwarder to the whole response and its close.

No sockets; the application does next to nothing, so what is measured is the way to it and back: the environ,
the call, the checks of what it answers. The least of many short runs, because noise only ever adds.
"""

from __future__ import annotations

import argparse
import sys
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from report import verdict

from pyrox.green.attempt import UpstreamExchange
from pyrox.green.deadlines import Deadlines
from pyrox.green.wsgi import Applications
from pyrox.http.forwarding import ClientSide
from pyrox.http.head import HeadLimits
from pyrox.http.head_cache import HeadCache
from pyrox.upstreams.member import Member
from pyrox.upstreams.server import parse_server

MUST, AIM = 60.0, 30.0  # microseconds
CALLS = 500
PATIENCE = 240  # ticks: a minute, as by default
URL = "wsgi:benchmark:app"
REQUEST = (
    b"GET /path?user=42 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip\r\nAccept-Language: en\r\nCookie: a=b\r\n\r\n"
)
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "100")]


def listed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", HEADERS.copy())
    return [b"x" * 100]


def streamed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", HEADERS[:1])
    yield b"x" * 50
    yield b"x" * 50


def microseconds(application: Any, repeats: int) -> float:
    """Return the least time of one request to ``application``."""
    heads, side = HeadCache(HeadLimits()), ClientSide("192.0.2.1", 4711)
    applications = Applications({URL: application}, Deadlines(), multiprocess=True)
    member = Member(parse_server(URL))

    def ask() -> None:
        request = heads.request(REQUEST)
        side.receive(request)
        response = applications.answer(UpstreamExchange(member, request), None, None, PATIENCE)
        assert len(b"".join(response.stream())) == 100
        response.close()

    return min(timeit.repeat(ask, number=CALLS, repeat=repeats)) / CALLS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=40, help="(%(default)s)")
    repeats = parser.parse_args().repeats
    print(f"microseconds for each request; budget {MUST:g}, aim {AIM:g}")
    for application in (listed, streamed):
        cost = microseconds(application, repeats)
        print(f"{application.__name__:14}{cost:8.2f}   {verdict(cost, MUST, AIM)}")


if __name__ == "__main__":
    main()
