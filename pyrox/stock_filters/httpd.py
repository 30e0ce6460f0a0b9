"""``WebServer``: a folder of static files, served by a filter; nothing goes upstream.

::

    [pipeline]
    files = pyrox.stock_filters.httpd.WebServer
    files.root = /srv/www
    upstream = files
"""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import stat
import time
from contextlib import ExitStack
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import pyrox.filtering as filtering
import pyrox.http as http

INDEX = "index.html"

_READ_AT_ONCE = 1 << 16  # bytes; a longer file is streamed

# What can stand for itself in a folder. Since the rest is refused and not cleaned up, a file has one path,
# and a filter that guards "/private/" is not got round by "//private/" or "/x/../private/". A backslash is
# refused because a browser that is redirected to "/\evil.test" goes to another server.
_is_name = re.compile(r"(?!\.\.?\Z)[^/\\\0]+").fullmatch

_match_range = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE).fullmatch
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class WebServer(filtering.HttpFilter):
    """Answers every request with the file below ``root`` that its path names.

    GET and HEAD, with 304 for what a client has already (ETag, Last-Modified) and 206 for a single Range;
    a folder's ``index.html``; the media type by the file's suffix. All that can be read below ``root`` is
    public, and nothing else: no path and no symbolic link leads out of it, and what is no regular file is
    not there. ``ValueError`` when ``root`` is not a directory.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        if not root or not os.path.isdir(self.root):
            raise ValueError(f"root: {root!r} is not a directory")

    @filtering.handles_request_head
    def on_request_head(self, request: http.HttpRequest) -> filtering.FilterAction:
        if request.method not in ("GET", "HEAD"):
            return _refuse("405 Method Not Allowed", ("Allow", "GET, HEAD"))
        path, mark, query = request.url.partition("?")
        names = _names_in(path)
        if names is None:
            return _refuse("404 Not Found")
        try:
            return self._answer(request, names, mark + query)
        except PermissionError:
            return _refuse("403 Forbidden")
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            return _refuse("404 Not Found")

    def _answer(self, request: http.HttpRequest, names: list[str], query: str) -> filtering.FilterAction:
        names[-1] = names[-1] or INDEX
        path = self._resolve(names)
        if os.path.isdir(path):  # its own links are relative to the form with a slash
            location = quote(os.fsencode("/".join(names)))
            return _refuse("301 Moved Permanently", ("Location", f"/{location}/{query}"))
        with ExitStack() as cleanup:
            file = cleanup.enter_context(_open(path))
            found = _Found.of(names[-1], os.fstat(file.fileno()))
            response, start, length = found.respond_to(request)
            if length <= _READ_AT_ONCE:
                return filtering.reply(response, _Span(file, start, length).read_all())
            cleanup.pop_all()
            return filtering.reply(response, _Span(file, start, length))

    def _resolve(self, names: list[str]) -> str:
        """Return the path without symbolic links; ``FileNotFoundError`` when it leads out of the root."""
        path = os.path.realpath(os.path.join(self.root, *names), strict=True)
        if os.path.commonpath((self.root, path)) != self.root:
            raise FileNotFoundError(errno.ENOENT, "outside of the root", path)
        return path


class _Found(NamedTuple):
    """What is known of a file without reading it."""

    media_type: str
    size: int
    modified: float
    etag: str

    @classmethod
    def of(cls, name: str, status: os.stat_result) -> _Found:
        # RFC 9110 8.8.2.1: no date later than the message's.
        modified = min(status.st_mtime, time.time())
        return cls(
            _media_type(name), status.st_size, modified, f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        )

    def respond_to(self, request: http.HttpRequest) -> tuple[http.HttpResponse, int, int]:
        """Return the response's head, and where its body starts in the file and how long it is."""
        if self._is_known_to(request):
            return self._response("304 Not Modified"), 0, 0
        asked_for = self._range_for(request)
        if asked_for is None:
            return self._response("200 OK", self.size), 0, self.size
        start, end = asked_for
        if start >= end:
            return _response("416 Range Not Satisfiable", ("Content-Range", f"bytes */{self.size}")), 0, 0
        response = self._response("206 Partial Content", end - start)
        response.header("Content-Range").values.append(f"bytes {start}-{end - 1}/{self.size}")
        return response, start, end - start

    def _response(self, status: str, length: int | None = None) -> http.HttpResponse:
        response = _response(status, ("ETag", self.etag), ("Last-Modified", self._last_modified()))
        if length is not None:
            response.header("Content-Type").values.append(self.media_type)
            response.header("Content-Length").values.append(str(length))
            response.header("Accept-Ranges").values.append("bytes")
        return response

    def _last_modified(self) -> str:
        return formatdate(self.modified, usegmt=True)

    def _is_known_to(self, request: http.HttpRequest) -> bool:
        """RFC 9110 13.2.2: a client's ETags decide, and its date only when it sent none."""
        tags = _value(request, "if-none-match")
        if tags is not None:
            known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
            return self.etag in known or "*" in known
        since = _timestamp(_value(request, "if-modified-since"))
        return since is not None and int(self.modified) <= since

    def _range_for(self, request: http.HttpRequest) -> tuple[int, int] | None:
        """Return start and end of a single range that is asked for; not start < end when there is none.

        None for no range, and for several or a malformed one, which may be ignored (RFC 9110 14.2).
        """
        match = _match_range(_value(request, "range") or "")
        if request.method != "GET" or match is None or match[0] == "bytes=-":
            return None
        if _value(request, "if-range") not in (None, self.etag, self._last_modified()):
            return None  # what it has a part of is another version
        if not match[1]:
            return max(0, self.size - int(match[2])), self.size
        start, last = int(match[1]), int(match[2]) if match[2] else self.size
        return (start, min(last + 1, self.size)) if start <= last or not match[2] else None


class _Span:
    """A part of a file, as a file object; raises ``EOFError`` when the file turns out to be shorter."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._left = length
        file.seek(start)

    def read(self, size: int) -> bytes:
        piece = self._file.read(min(size, self._left))
        if self._left and not piece:
            raise EOFError("the file became shorter while it was sent")
        self._left -= len(piece)
        return piece

    def read_all(self) -> bytes:
        return b"".join(iter(lambda: self.read(_READ_AT_ONCE), b""))

    def close(self) -> None:
        self._file.close()


def _names_in(path: str) -> list[str] | None:
    """Return the decoded names in a path, the last one empty for a folder; None when one is refused."""
    names = [os.fsdecode(unquote_to_bytes(name)) for name in path[1:].split("/")]
    if not path.startswith("/") or not all(_is_name(name) for name in names[:-1]):
        return None
    return names if not names[-1] or _is_name(names[-1]) else None


def _open(path: str) -> BinaryIO:
    # To open a device can set it in motion, and a FIFO's writer may never come.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file", path)
    return open(path, "rb", buffering=0, opener=_open_what_was_checked)


def _open_what_was_checked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _media_type(name: str) -> str:
    # The slash keeps a colon in the name from being taken for a URL's.
    media_type, encoding = mimetypes.guess_type("/" + name)
    if encoding is not None:  # the file is what is asked for, not what is compressed in it
        return _COMPRESSED.get(encoding, "application/octet-stream")
    return media_type or "application/octet-stream"


def _value(request: http.HttpRequest, name: str) -> str | None:
    """Return the header's lines joined by commas (RFC 9110 5.3); None when there is none."""
    header = request.get_header(name)
    if header is None or not header.values:
        return None
    return ", ".join(v if isinstance(v, str) else v.decode("latin-1") for v in header.values)


def _timestamp(date: str | None) -> float | None:
    """Return an HTTP date in seconds since the epoch; None for anything else."""
    try:
        return parsedate_to_datetime(date or "").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _refuse(status: str, *headers: tuple[str, str]) -> filtering.FilterAction:
    return filtering.reply(_response(status, ("Content-Type", "text/plain"), *headers), status + "\n")


def _response(status: str, *headers: tuple[str, str]) -> http.HttpResponse:
    response = http.HttpResponse()
    response.status = status
    for name, value in headers:
        response.header(name).values.append(value)
    return response
