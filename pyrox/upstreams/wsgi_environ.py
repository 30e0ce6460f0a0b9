"""A request as PEP 3333 wants it: the ``environ``, its body as a file, and a place for complaints."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from pyrox.http.field_names import CONNECTION_FIELDS
from pyrox.http.message import Request

# The key in ``request.state`` for what was taken off the path before the request goes to its application.
SCRIPT_NAME = "pyrox.script_name"

_log = logging.getLogger("pyrox.upstream")

# CGI programs take HTTP_PROXY from their environment for the proxy that they should use (CVE-2016-5385).
_DROPPED = CONNECTION_FIELDS | {b"proxy"}
_SEPARATORS = {"HTTP_COOKIE": "; "}  # RFC 6265 5.4; all others are lists (RFC 9110 5.3)


def make_environ(
    request: Request, body: IO[bytes], length: int | None, errors: ErrorLog, multiprocess: bool
) -> dict[str, Any]:
    """Return the environ for one call of an application.

    ``length`` is that of the body, None when only its end will tell: then there is no CONTENT_LENGTH, and
    ``wsgi.input_terminated`` says that ``body`` ends where the request does. Names and values are bytes
    as latin-1 text, as PEP 3333 has them.
    """
    name, port = _server_of(request)
    state = request._state
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": _decoded(state[SCRIPT_NAME]) if state and SCRIPT_NAME in state else "",
        "PATH_INFO": "" if request.target == "*" else _decoded(request.path),
        "QUERY_STRING": request.query,
        "REQUEST_URI": request.target,  # what PATH_INFO cannot tell: whether a slash came as %2F
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "SERVER_SOFTWARE": "pyrox",
        "REMOTE_ADDR": "" if request.client_address == "unix" else request.client_address,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": errors,
        "wsgi.multithread": True,  # while one greenlet waits in it, another may come
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "pyrox.request": request,
    }
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    _add_fields(environ, request)
    return environ


def _add_fields(environ: dict[str, Any], request: Request) -> None:
    for lower, _, raw in request.headers.fields:
        key, value = _variable(lower), raw.decode("latin-1")
        if not key:
            continue
        if key in environ:
            value = f"{environ[key]}{_SEPARATORS.get(key, ', ')}{value}"
        environ[key] = value


@lru_cache(maxsize=512)
def _variable(name: bytes) -> str:
    """Return the key for a field; ``""`` for none.

    With an underscore it would be the same as its twin with a hyphen, which may be a claim that Pyrox has
    judged.
    """
    if name in _DROPPED or b"_" in name:
        return ""
    if name == b"content-type":
        return "CONTENT_TYPE"
    return "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


def _decoded(path: str) -> str:
    return path if "%" not in path else unquote_to_bytes(path).decode("latin-1")


def _server_of(request: Request) -> tuple[str, str]:
    """Return name and port of the server, as the client knows it."""
    name, colon, port = request.host.rpartition(":")
    if not colon or not port.isdecimal():
        name, port = request.host.removesuffix(":"), ""
    return name or "localhost", port or ("443" if request.scheme == "https" else "80")


def body_file(body: bytes | Iterator[bytes]) -> IO[bytes]:
    """Return ``body`` as ``wsgi.input``: a file that reads on as it is read, and ends where it does."""
    return io.BytesIO(body) if isinstance(body, bytes) else io.BufferedReader(_Pieces(body))


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._failure is not None:
            raise self._failure  # an application that went over it must not take it for the end
        while not self._rest:
            try:
                self._rest = memoryview(next(self._pieces))
            except StopIteration:
                return 0
            except Exception as failure:
                self._failure = failure
                raise
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class ErrorLog:
    """``wsgi.errors`` of one call: each line that is written to it is one of the error log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = ""

    def write(self, text: str) -> int:
        """Log every line that is complete."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _log.error("%s: %s", self._name, line)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``, which bring their own ends."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Log what is there of a line."""
        if self._line:
            self.write("\n")
