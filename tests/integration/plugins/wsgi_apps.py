"""WSGI applications, good and bad, as servers inside the proxy; each path of ``app`` does one thing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from werkzeug.wrappers import Request, Response

Environ = dict[str, Any]
Start = Callable[..., Any]
PIECE = bytes(1 << 16)
PIECES = 1000

counts = {"taken": 0, "closed": 0, "interrupted": 0}


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    name = environ["PATH_INFO"].strip("/").replace("/", "_")
    return globals()[f"do_{name}"](environ, start_response)  # type: ignore[no-any-return]


def hello(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"hello ", environ["SCRIPT_NAME"].encode()]


def echo(environ: Environ, start_response: Start) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(1 << 24)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


# wsgiref's own judge of both sides of PEP 3333: what it finds is an AssertionError, and so a 500.
valid_hello, valid_echo = validator(hello), validator(echo)


@Request.application
def werkzeug_app(request: Request) -> Response:
    """What Flask stands on: forms, a stream, and its own view of the URL."""
    if request.method == "POST":
        return Response(f"{request.form['name']} {request.files['file'].read().decode()}")
    if request.path == "/stream":
        return Response(f"{number}\n" for number in range(3))
    return Response(f"{request.root_url} {request.script_root} {request.path} {request.args['q']}")


def do_environ(environ: Environ, start_response: Start) -> Iterable[bytes]:
    texts = {key: value for key, value in environ.items() if isinstance(value, str | bool)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(texts).encode()]


def do_counts(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [json.dumps(counts).encode()]


class Endless:
    def __iter__(self) -> Iterator[bytes]:
        for _ in range(PIECES):
            counts["taken"] += 1
            yield PIECE

    def close(self) -> None:
        counts["closed"] += 1


def do_events(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    try:
        yield b"data: 1\n\n"
        time.sleep(1000)
    finally:
        counts["interrupted"] += 1


def do_long(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])
    return Endless()


def do_long_known(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", str(len(PIECE) * PIECES))])
    return Endless()


def do_mirror(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Sends back what comes as it comes."""
    start_response("200 OK", [])
    for line in environ["wsgi.input"]:
        yield line.upper()


def do_raises(environ: Environ, start_response: Start) -> Iterable[bytes]:
    raise LookupError("a mistake in an application")


def do_raises_late(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "100")])
    yield b"begun"
    raise LookupError("a mistake in an application")


def do_exits(environ: Environ, start_response: Start) -> Iterable[bytes]:
    sys.exit("a mistake in an application")


def do_splits(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("X-A", environ["QUERY_STRING"] + "\r\nX-Evil: 1")])
    return [b"never"]


def do_too_short(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "100")])
    yield b"begun"


def do_too_long(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "7")])
    yield b"12345"
    yield b"67890"


def do_writes(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])(b"written ")
    environ["wsgi.errors"].write("a complaint\n")
    return [b"returned"]


def do_sleeps(environ: Environ, start_response: Start) -> Iterable[bytes]:
    time.sleep(1000)
    return []


def do_catches(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """What every framework does."""
    try:
        environ["wsgi.input"].read()
        time.sleep(1000)
    except Exception:
        start_response("500 Internal Server Error", [])
    return [b"a page about it"]


def do_counts_bytes(environ: Environ, start_response: Start) -> Iterable[bytes]:
    size = 0
    while piece := environ["wsgi.input"].read(1 << 16):
        size += len(piece)
    start_response("200 OK", [])
    return [str(size).encode()]


def do_ignores(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"ignored"]


def do_late_reader(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"begun "
    yield environ["wsgi.input"].read(4)


def do_unavailable(environ: Environ, start_response: Start) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    start_response("503 Service Unavailable", [])
    return []
