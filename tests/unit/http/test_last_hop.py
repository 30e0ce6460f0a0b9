"""What the last recipient of a TRACE tells of it."""

from __future__ import annotations

from pyrox.http.forwarding import ClientSide, answer_last_hop
from pyrox.http.head import HeadLimits, parse_request_head

RAW = b"TRACE /a HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\nX-A: 1\r\nCookie: b=c\r\nX-B: 1\r\n\r\n"


def test_trace_shows_what_was_received_and_nothing_that_a_middleware_added() -> None:
    request = parse_request_head(RAW, HeadLimits())
    ClientSide("192.0.2.7").receive(request)
    request.headers["X-Backend-Secret"] = "s3cret"
    request.headers["X-B"] = "changed"
    del request.headers["via"]
    answer = answer_last_hop(request)
    assert answer is not None
    assert answer.read_body().split(b"\r\n") == [
        b"TRACE /a HTTP/1.1",
        b"Host: a.test",
        b"Max-Forwards: 0",
        b"X-A: 1",
        b"X-Forwarded-For: 192.0.2.7",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: a.test",
        b"",
        b"",
    ]
