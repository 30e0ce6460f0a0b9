"""``mode = observe`` of every built-in middleware: both wires are what they are without it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pyrox.errors import HTTPError, UpstreamTimeout
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware.stack import BUILT_IN
from pyrox.testing import TestClient
from tests.support.tokens import SECRET

USERS = Path(__file__).with_name("users.htpasswd")
OPTIONS = {
    "access_control": "deny = 127.0.0.1",
    "api_key": f"[[[keys]]]\na = {'5e' * 32}",
    "basic_auth": f"file = {USERS}",
    "body_limit": "request = 1\nresponse = 1",
    "compress": "min_size = 1",
    "cors": "origins = https://a.example",
    "error_pages": "upstream = 400-599",
    "forward_auth": "url = http://127.0.0.1:1/",
    "headers": "request_set = X-A: 1\nresponse_set = X-A: 1\nresponse_remove = ETag",
    "health": "path = /",
    "in_flight": "limits = 1",
    "json_fields": "response_remove = a\nrequest_remove = a",
    "jwt_auth": f"algorithms = HS256\nsecret = {SECRET}",
    "keystone": "url = http://127.0.0.1:1\nuser = a\npassword = b",
    "negotiate": "media_types = text/csv,\nconsumes = text/csv,",
    "rate_limit": "policies = 1/year",
    "rbac": "[[[rules]]]\n/ = nobody",
    "redact": "fields = a\non = both",
    "substitute": "literal = e => x\non = both",
}
STREAMED = [b'{"a": ', b'"text"}']
UPSTREAMS: list[Callable[[], Response]] = [
    lambda: Response(200, b'{"a": 1}', {"Content-Type": "application/json", "ETag": '"1"'}),
    lambda: Response(200, list(STREAMED), {"Content-Type": "application/json"}),
    lambda: Response(
        200, gzip.compress(b"text", mtime=0), {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    ),
    lambda: Response(200, b"<a>1</a>", {"Content-Type": "application/xml", "Server": "x"}),
    lambda: Response(404, b"none", {"Content-Type": "text/html"}),
    lambda: Response(204),
    lambda: _fail(UpstreamTimeout("late")),
    lambda: _fail(HTTPError(418, "no", {"X-Why": "so"})),
]
JSON = {"Content-Type": "application/json", "Accept": "text/html", "Origin": "https://a.example"}


def _fail(error: Exception) -> Response:
    raise error


def chunked() -> Iterator[bytes]:
    yield from STREAMED


def asked(client: TestClient) -> list[Any]:
    return [
        client.get("/", headers={**JSON, "Accept-Encoding": "gzip", "Range": "bytes=0-1"}),
        client.head("/", headers=JSON),
        client.post("/", headers=JSON, body=b'{"a": 1}'),
        client.put("/", headers=JSON, body=chunked()),
        client.options("/", headers={**JSON, "Access-Control-Request-Method": "PUT"}),
        client.get("/a//b", headers={"Cookie": "a=b", "X-API-Key": "x", "X-Auth-Token": "x"}),
        client.get("/", headers={"Authorization": "Basic YTpi", "If-None-Match": 'W/"1"'}),
    ]


@cache
def wires(config: str) -> list[Any]:
    """What the client and the upstream see of some requests."""
    current: list[Callable[[], Response]] = []

    def answer(request: Request) -> Response:
        request.read_body()  # and keep it, for the comparison
        return current[0]()

    client = TestClient.from_config(config, answer)
    answers: list[Any] = []
    for upstream in UPSTREAMS:
        current[:] = [upstream]
        answers += asked(client)
    return [
        [(a.status, a.reason, _visible(a.headers), a.body, a.trailers) for a in answers],
        [(r.method, r.target, r.headers.items(), r.body, r.route) for r in client.upstream_requests],
    ]


def _visible(headers: Headers) -> list[tuple[str, str]]:
    return [item for item in headers.items() if item[0] != "Date"]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_wires_are_those_without_it(name: str) -> None:
    section = f"[middleware]\nstack = {name},\n[[{name}]]\nmode = observe\n{OPTIONS.get(name, '')}\n"
    assert wires(section) == wires("[core]\n")
