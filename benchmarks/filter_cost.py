#!/usr/bin/env python3
"""Measure what a legacy pipeline adds to a request, in the stack that the proxy itself builds.

No sockets: one filter that reads and sets a request header, one that sets a response header from the request,
around an app that answers at once; the heads are those of a browser's GET and of an API's answer. Each
variant's time is the least of many short runs, because noise only ever adds. Encoding is part of it, since
changed heads are encoded anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from report import verdict
from turns import least_of_each

import pyrox.filtering as filtering
from pyrox.config import parse_settings
from pyrox.http.forwarding import ClientSide
from pyrox.http.head import HeadLimits, encode_request_head, encode_response_head
from pyrox.http.head_cache import HeadCache
from pyrox.http.message import Request, Response
from pyrox.http.model import HttpRequest, HttpResponse
from pyrox.middleware.stack import build_stack, load_stack

MUST, AIM = 8.0, 5.0  # microseconds
CALLS = 1000
LIFETIMES = ("request", "connection", "worker")

REQUEST = (
    b"GET /api/v1/users?limit=10 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11)\r\n"
    b"Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en\r\n"
    b"Cookie: id=42\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 254\r\nConnection: keep-alive\r\n\r\n"
)


class Upstream(filtering.HttpFilter):
    """Sees request heads."""

    @filtering.handles_request_head
    def on_request_head(self, request: HttpRequest) -> object:
        token = request.get_header("cookie")
        if token is None:
            return filtering.reject()
        request.local_data["user"] = token.values[0]
        request.header("X-User").values.append("42")
        return filtering.next()


class Downstream(filtering.HttpFilter):
    """Sees response heads."""

    @filtering.handles_response_head
    def on_response_head(self, response: HttpResponse, request: HttpRequest) -> None:
        response.header("X-Served-For").values.append(request.local_data["user"])


PIPELINE = f"""[pipeline]
one = {__name__}.Upstream
two = {__name__}.Downstream
upstream = one
downstream = two
filter_lifetime = """


def request_maker(pipeline: str) -> Callable[[], object]:
    """Return what takes one request through the stack of a configuration."""
    heads = HeadCache(HeadLimits())
    side = ClientSide("127.0.0.1", 40000)

    def upstream(request: Request) -> Response:
        encode_request_head(request, b"")
        response = heads.response(RESPONSE, "GET")
        response.made_by = "upstream"
        return response

    app = build_stack(load_stack(parse_settings(pipeline)), upstream)

    def one_request() -> None:
        request = heads.request(REQUEST)
        side.receive(request)
        encode_response_head(app(request), b"")

    return one_request


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=100, help="(%(default)s)")
    repeats = parser.parse_args().repeats
    makers = {name: request_maker("") for name in ("bare", "no pipeline")}
    makers |= {lifetime: request_maker(PIPELINE + lifetime) for lifetime in LIFETIMES}
    least = least_of_each(makers, repeats, CALLS)
    bare = least.pop("bare")
    print(f"microseconds added by a request-head and a response-head filter; budget {MUST:g}, aim {AIM:g}")
    print(
        f"{'no pipeline':14}{least.pop('no pipeline') - bare:8.3f}   of {bare:.1f} for parsing and encoding"
    )
    for lifetime, microseconds in least.items():
        print(f"{lifetime:14}{microseconds - bare:8.3f}   {verdict(microseconds - bare, MUST, AIM)}")


if __name__ == "__main__":
    main()
