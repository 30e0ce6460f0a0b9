"""``HeadCache``: heads that were parsed before.

A client repeats its header block byte for byte, and so does a server within a second. What the parsers
accepted once need not be taken apart and judged again: a copy of the result will do. What is not in the
cache costs two microseconds more, so blocks that hardly repeat because they are long are left out.
"""

from __future__ import annotations

from typing import TypeVar

from pyrox.http.head import (
    HeadLimits,
    parse_request_head,
    parse_request_line,
    parse_response_head,
    remember_encoded,
)
from pyrox.http.message import Request, Response

Key = TypeVar("Key")
Value = TypeVar("Value")

_MAX_HEADS = 256  # of each kind; the cache starts anew when they are more
_MAX_SIZE = 2048  # bytes of a head

# Methods that llhttp is known to accept, and for which the fields decide everything.
_PLAIN_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH"))


class HeadCache:
    """Parses heads under ``limits``; one per worker."""

    def __init__(self, limits: HeadLimits) -> None:
        self.limits = limits
        self._max_size = min(_MAX_SIZE, limits.head_size)
        self._lines: dict[bytes, tuple[str, str, str]] = {}  # method, target and version
        self._requests: dict[tuple[str, bytes], Request] = {}
        self._responses: dict[bytes, Response] = {}

    def request(self, raw: bytes) -> Request:
        """Do as ``parse_request_head``; request line and fields are known, or not, independently."""
        if len(raw) > self._max_size:
            return parse_request_head(raw, self.limits)
        end = raw.find(b"\r\n") + 2
        line = self._lines.get(raw[:end])
        if line is None:
            method, target, version, _ = parse_request_line(raw, self.limits)
            if target[:1] != b"/" or method not in _PLAIN_METHODS:
                return parse_request_head(raw, self.limits)
            line = method.decode(), target.decode(), version
            _keep(self._lines, raw[:end], line)
        key = line[2], raw[end:]
        known = self._requests.get(key)
        if known is None:
            request = parse_request_head(raw, self.limits)
            template = request._again("GET", "/")
            remember_encoded(template)
            _keep(self._requests, key, template)
            return request
        return known._again(line[0], line[1])

    def response(self, raw: bytes, method: str) -> Response:
        """Do as ``parse_response_head``."""
        if method == "HEAD" or len(raw) > self._max_size:
            return parse_response_head(raw, method, self.limits)
        known = self._responses.get(raw)
        if known is not None:
            return known._again()
        response = parse_response_head(raw, method, self.limits)
        template = response._again()
        remember_encoded(template)
        _keep(self._responses, raw, template)
        return response


def _keep(kept: dict[Key, Value], key: Key, value: Value) -> None:
    if len(kept) >= _MAX_HEADS:
        kept.clear()
    kept[key] = value
