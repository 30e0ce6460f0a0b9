"""``HeadCache``: heads that were parsed before.

A client repeats its header block byte for byte, and so does a server within a second. What the parsers
accepted once need not be taken apart and judged again: a copy of the result will do. What is not in the
cache costs a microsecond more, so blocks that hardly repeat because they are long are left out.
"""

from __future__ import annotations

from pyrox.http.head import HeadLimits, parse_request_head, parse_request_line, parse_response_head
from pyrox.http.message import Request, Response

_MAX_HEADS = 256  # of each kind; the cache starts anew when they are more
_MAX_SIZE = 2048  # bytes of a head

# Methods that llhttp is known to accept, and for which the fields decide everything.
_PLAIN_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH"))


class HeadCache:
    """Parses heads under ``limits``; one per worker."""

    def __init__(self, limits: HeadLimits) -> None:
        self.limits = limits
        self._requests: dict[tuple[str, bytes], Request] = {}
        self._responses: dict[bytes, Response] = {}

    def request(self, raw: bytes) -> Request:
        """Do as ``parse_request_head``: the request line is parsed each time, the fields may be known."""
        method, target, version, end = parse_request_line(raw, self.limits)
        if target[:1] != b"/" or method not in _PLAIN_METHODS or len(raw) > _MAX_SIZE:
            return parse_request_head(raw, self.limits)
        key = version, raw[end:]
        known = self._requests.get(key)
        if known is not None:
            return known._again(method.decode(), target.decode())
        request = parse_request_head(raw, self.limits)
        if len(self._requests) >= _MAX_HEADS:
            self._requests.clear()
        self._requests[key] = request._again("GET", "/")
        return request

    def response(self, raw: bytes, method: str) -> Response:
        """Do as ``parse_response_head``."""
        if method == "HEAD" or len(raw) > _MAX_SIZE:
            return parse_response_head(raw, method, self.limits)
        known = self._responses.get(raw)
        if known is not None:
            return known._again()
        response = parse_response_head(raw, method, self.limits)
        if len(self._responses) >= _MAX_HEADS:
            self._responses.clear()
        self._responses[raw] = response._again()
        return response
