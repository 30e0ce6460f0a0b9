"""llhttp's verdict on heads. The only importer of httptools.

A head is judged line by line, save for the lines that frame a body: those are judged together, too
(``FRAMING_FIELDS``). So whoever knows that llhttp accepts each line of a head, and that at most one of
them frames a body, knows that it accepts the head. ``tests/property/test_known_lines.py`` holds that.
"""

from __future__ import annotations

from httptools import HttpParserError as Fault
from httptools import HttpParserInvalidMethodError as UnknownMethod
from httptools import HttpParserUpgrade, HttpRequestParser, HttpResponseParser

__all__ = ["FRAMING_FIELDS", "Fault", "UnknownMethod", "fault_of_request", "fault_of_response"]

FRAMING_FIELDS = frozenset((b"content-length", b"transfer-encoding"))


class _Silent:
    """Makes llhttp judge a head without calling back: its verdict is what it is asked for."""

    on_url = on_status = on_header = on_headers_complete = on_body = None
    on_message_begin = on_message_complete = on_chunk_header = on_chunk_complete = None


def fault_of_request(head: bytes) -> Fault | None:
    """Return what llhttp has against one complete request head; None: it accepts it."""
    return _fault(HttpRequestParser, head)


def fault_of_response(head: bytes) -> Fault | None:
    """Return what llhttp has against one complete response head; None: it accepts it."""
    return _fault(HttpResponseParser, head)


def accepts_request_field(line: bytes) -> bool:
    """Tell whether llhttp accepts ``line``, without its end, as the only field of a request."""
    return _is_line(line) and fault_of_request(b"GET / HTTP/1.1\r\n%b\r\n\r\n" % line) is None


def accepts_response_field(line: bytes) -> bool:
    """Tell whether llhttp accepts ``line``, without its end, as the only field of a response."""
    return _is_line(line) and fault_of_response(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % line) is None


def _is_line(line: bytes) -> bool:
    # What begins with white space is judged by the line before it, and an empty one ends the head.
    return line[:1] > b" "


def _fault(parser: type[HttpRequestParser | HttpResponseParser], head: bytes) -> Fault | None:
    try:
        parser(_Silent).feed_data(head)
    except HttpParserUpgrade:
        pass  # CONNECT, 101, or Connection: upgrade; the head itself was fine
    except Fault as fault:
        return fault
    return None
