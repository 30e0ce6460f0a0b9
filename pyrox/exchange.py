"""``Exchange``: the record of one request and its response, from first byte in to last byte out.

The engine fills it, the access log reads it. Times are ``time.monotonic()`` seconds; 0.0 means
"has not happened". Byte counts are of what stood on the client's side of the wire. When an exchange is
tried again, ``connect_started`` keeps the time of the first try and the later marks that of the last,
so that the marks stay in order and the phases between them add up.
"""

from __future__ import annotations

from pyrox.http.message import Request, Response


class Exchange:
    """One exchange; see the attributes' comments."""

    __slots__ = (
        "answered_by",
        "bytes_received",
        "bytes_sent",
        "connect_done",
        "connect_started",
        "error",
        "finished",
        "first_byte",
        "head_bytes_sent",
        "head_received",
        "peer_address",
        "raw_request_line",
        "request",
        "responses",
        "retries",
        "route",
        "server",
        "started",
        "status",
    )

    def __init__(self, peer_address: str, started: float) -> None:
        self.peer_address = peer_address  # the socket's other end: an IP address, or "unix"
        self.started = started  # first byte of the request
        self.head_received = 0.0  # the request's head was complete
        self.connect_started = 0.0  # a connection to the server was looked for
        self.connect_done = 0.0  # ... and found (at once when pooled)
        self.first_byte = 0.0  # the response's head came from upstream
        self.finished = 0.0  # the last byte went out, or the exchange was given up
        self.request: Request | None = None  # None: the head could not be parsed
        # As received, without its CRLF, because a middleware may change method and target; cut at
        # 1 KiB when request is None. b"": the access log makes one up from the request.
        self.raw_request_line = b""
        # Made in this exchange, by the upstream or a middleware, sent or not; closed when it is over.
        self.responses: list[Response] = []
        self.status = 0  # sent to the client; 499: it left first; 101: became a tunnel
        self.answered_by = ""  # "upstream", a middleware's name, or "pyrox" for errors
        self.error = ""  # RFC 9209 error token, or ""
        self.route = ""  # the route of [routes] that the request took; "" when it took none
        self.server = ""  # the upstream server, "http://10.0.0.1:8000"; "" when none was asked
        self.retries = 0  # tries after the first
        self.bytes_received = 0  # head and body, as framed on the wire
        self.bytes_sent = 0  # likewise, 1xx included
        self.head_bytes_sent = 0  # of them, the heads: nginx's body_bytes_sent is the difference
