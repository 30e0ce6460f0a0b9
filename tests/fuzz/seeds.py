"""Where the fuzzer starts: a few whole messages, and every disagreement between parsers that is known."""

from __future__ import annotations

from tests.property.disagreements import FRAMED_OTHERWISE, MORE_LENIENT, STRICTER

_MESSAGES = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nGET /a?b=c HTTP/1.0\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\n\r\n",
    b"POST http://a:80/x HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]:80\r\nX_Y: 1\r\nX-Forwarded-For: a\r\nTE: trailers\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nExpect: 100-continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;a=b;c="d\\"e"\r\nhello\r\n01\r\n,\r\n0\r\nX-T: 1\r\nExpires: 2\r\n\r\nrest',
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: 1.1 x\r\n\r\nhello",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n\x00\x01",
    b"HTTP/1.0 404 \xe4\r\nConnection: keep-alive\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nuntil close",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
)

_EXAMPLES = tuple(
    example for row in (*STRICTER, *MORE_LENIENT, *FRAMED_OTHERWISE) for example in row.examples
)


def _inputs(message: bytes) -> list[bytes]:
    """``message`` for the target of its kind and for the one that expects nothing; its body by itself."""
    kind = b"\x01" if message.startswith(b"HTTP/") else b"\x00"
    body = message.partition(b"\r\n\r\n")[2]
    return [kind + b"\x04" + message, b"\x03\x10" + message, b"\x02\x02" + body]


SEEDS = tuple(dict.fromkeys(data for message in _MESSAGES + _EXAMPLES for data in _inputs(message)))
