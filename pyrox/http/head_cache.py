"""``HeadCache``: heads that were parsed before.

A client repeats its header block byte for byte, and so does a server within a second. What the parsers
accepted once need not be taken apart and judged again: a copy of the result will do. Of a head that is
not known as a whole ``field_lines.py`` knows most lines.
"""

from __future__ import annotations

from pyrox.http.head import (
    HeadLimits,
    RequestLine,
    parse_request_fields,
    parse_request_head,
    parse_request_line,
    parse_response_head,
)
from pyrox.http.headers import encode_run
from pyrox.http.message import Request, Response
from pyrox.http.remembered import Remembered

_MAX_HEADS = 256  # of each kind
_MAX_OLD_HEADS = 32  # of HTTP/1.0: checks and the like, of which there are few
_MAX_SIZE = 2048  # bytes of a head

# Methods that llhttp is known to accept, and for which the fields decide everything.
_PLAIN_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH"))


class HeadCache:
    """Parses heads under ``limits``; one per worker."""

    def __init__(self, limits: HeadLimits) -> None:
        self.limits = limits
        self._max_size = min(_MAX_SIZE, limits.head_size)
        self._lines: Remembered[RequestLine] = Remembered(_MAX_HEADS)
        # By the version, which decides what fields mean.
        self._requests: dict[str, Remembered[Request]] = {
            "1.1": Remembered(_MAX_HEADS),
            "1.0": Remembered(_MAX_OLD_HEADS),
        }
        self._responses: Remembered[Response] = Remembered(_MAX_HEADS)

    def request(self, raw: bytes) -> Request:
        """Do as ``parse_request_head``; request line and fields are known, or not, independently."""
        if len(raw) > self._max_size:
            return parse_request_head(raw, self.limits)
        start, _, fields = raw.partition(b"\r\n")
        line = self._lines.get(start) or self._plain_line(raw, start)
        if line is None:
            return parse_request_head(raw, self.limits)
        kept = self._requests[line[2]]
        known = kept.get(fields)
        if known is not None:
            return known._again(line[0], line[1])
        request = parse_request_fields(raw, fields, line, self.limits, is_plain=True)
        if kept.is_repeated(fields):
            template = request._again("GET", "/")
            template._known = (encode_run(template.headers.fields),)
            kept.keep(fields, template)
        return request

    def _plain_line(self, raw: bytes, start: bytes) -> RequestLine | None:
        """Take apart a line that is not known; None when it cannot be judged apart from the fields."""
        method, target, version, _ = parse_request_line(raw, self.limits)
        if target[:1] != b"/" or method not in _PLAIN_METHODS:
            return None
        line = method.decode(), target.decode(), version
        if self._lines.is_repeated(start):
            self._lines.keep(start, line)
        return line

    def response(self, raw: bytes, method: str) -> Response:
        """Do as ``parse_response_head``."""
        if method == "HEAD" or len(raw) > self._max_size:
            return parse_response_head(raw, method, self.limits)
        known = self._responses.get(raw)
        if known is not None:
            return known._again()
        response = parse_response_head(raw, method, self.limits)
        if self._responses.is_repeated(raw):
            template = response._again()
            template._known = (encode_run(template.headers.fields),)
            self._responses.keep(raw, template)
        return response
