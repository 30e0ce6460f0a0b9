"""WSGI applications inside the proxy: what came in, as a page; and a stand-in for servers that are down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any
from wsgiref.types import StartResponse


def whoami(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Show the request as the application sees it."""
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return _page(environ)


def sorry(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer for servers that are down."""
    start_response("503 Service Unavailable", [("Content-Type", "text/plain"), ("Retry-After", "60")])
    return [b"We are changing the tyres. Back in a minute.\n"]


def _page(environ: dict[str, Any]) -> Iterator[bytes]:
    yield f"<h1>{escape(environ['SCRIPT_NAME'])} {escape(environ['PATH_INFO'])}</h1><pre>".encode()
    for key, value in sorted(environ.items()):
        if isinstance(value, str):
            yield f"{escape(key)}: {escape(value)}\n".encode("latin-1", "replace")
    yield b"</pre>"
