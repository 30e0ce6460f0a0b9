"""Heads: bytes to objects and back. The only importer of httptools.

llhttp is the strictest parser there is, and still a library's idea of HTTP: it knows nothing of hosts,
targets or what a proxy may pass on. So a head passes two gates. A pattern of ours takes the start line
apart; llhttp, given exactly one complete head, takes the fields apart; and what the connection itself
is told (RFC 9110 7.6.1: Connection and the fields it names, Keep-Alive, TE, Trailer, Upgrade, framing)
is consumed here and never reaches a middleware.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from pyrox.errors import ClientError, UpstreamError
from pyrox.http.framing import request_body_length, response_body_length
from pyrox.http.headers import Field
from pyrox.http.message import Request, Response

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# '#' never belongs on the wire (RFC 9112 3.2); a proxy and its upstream may disagree on what it ends.
_request_line = re.compile(rb"(%b) ([!\"$-~]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN).match
_status_line = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n").match
_is_authority = re.compile(
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9\-._~]+)?\])(?::[0-9]{0,5})?"
).fullmatch
_absolute_form = re.compile(rb"(?i:https?)://([^/?]*)(.*)").fullmatch
_has_bare_lf = re.compile(rb"(?<!\r)\n").search

# Fields that speak of this connection only; whatever a middleware sets here, the engine decides.
CONNECTION_FIELDS = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
    )
)
# Claims about the client that only a trusted peer may make; judged in forwarding.py.
CLAIM_FIELDS = frozenset(
    (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-real-ip",
    )
)
# A client that could name these in Connection could strip them before the upstream decides on them.
PROTECTED_FIELDS = CLAIM_FIELDS | {b"authorization", b"cookie", b"host", b"max-forwards", b"via"}
_SPECIAL_REQUEST_FIELDS = CONNECTION_FIELDS | CLAIM_FIELDS


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Limits of a head, in bytes and lines; the defaults are those of configspec.ini."""

    request_line: int = 8192
    head_size: int = 32768
    head_fields: int = 100
    underscore_headers: str = "drop"  # drop | allow | reject


class _Collector:
    """Gathers what httptools calls back with: plain fields, and those that need a decision."""

    __slots__ = ("fields", "special", "special_names")

    def __init__(self, special_names: frozenset[bytes]) -> None:
        self.fields: list[Field] = []
        self.special: list[Field] = []
        self.special_names = special_names

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        value = value.rstrip(b" \t")  # RFC 9110 5.5; llhttp strips only what stands before a value
        if lower in self.special_names:
            self.special.append((lower, name, value))
        else:
            self.fields.append((lower, name, value))


# --- requests ---------------------------------------------------------------------------------------


def check_partial_request_head(data: bytes, limits: HeadLimits) -> None:
    """Refuse as early as possible what can no longer become a valid head.

    Raises ``ClientError``: 414 for a request line over its limit, 431 for a head over its limit,
    400 for a bare LF (RFC 9112 2.2 allows it as a line end; two parties that differ on it can be
    made to see different messages).
    """
    line_end = data.find(b"\r\n")
    if (len(data) if line_end < 0 else line_end) > limits.request_line:
        raise ClientError("request line too long", status=414)
    if len(data) > limits.head_size:
        raise ClientError("request head too large", status=431)
    if _has_bare_lf(data):
        raise ClientError("bare LF in the request head")
    if b"" < data[:1] <= b" " and data[:1] != b"\r":
        raise ClientError("the request line does not start with a method")


def parse_request_head(raw: bytes, limits: HeadLimits) -> Request:
    """Parse one complete request head, its empty line included.

    The request's ``content_length`` becomes the length of the body that follows: None or a number, or
    ``framing.CHUNKED``. Raises ``ClientError``: 400, 405, 414, 431, 501 or 505 (RFC 9112 2-3, 5-6).
    """
    line = _request_line(raw)
    if line is None or len(raw) > limits.head_size or line.end() - 2 > limits.request_line:
        _refuse_start(raw, limits)
    method, target, major, minor = line.groups()
    if major != b"1" or minor > b"1":
        raise ClientError("only HTTP/1.0 and HTTP/1.1 are spoken here", status=505)
    collector = _Collector(_SPECIAL_REQUEST_FIELDS)
    try:
        HttpRequestParser(collector).feed_data(raw)
    except HttpParserUpgrade:
        pass  # Connection: upgrade or CONNECT; the head itself was fine
    except HttpParserError as error:
        _refuse_request(error, collector, minor)
    fields = collector.fields
    if len(fields) + len(collector.special) > limits.head_fields:
        raise ClientError("too many header fields", status=431)
    if b"_" in raw and limits.underscore_headers != "allow":
        fields = _without_underscores(fields, limits.underscore_headers)
    request = Request.from_head(
        method.decode(), target.decode(), "1.1" if minor == b"1" else "1.0", fields
    )
    if minor == b"0":
        request.keep_alive = False
    if collector.special:
        _settle_request(request, collector.special)
    _settle_target(request, target)
    return request


def _refuse_start(raw: bytes, limits: HeadLimits) -> NoReturn:
    check_partial_request_head(raw, limits)
    line = raw[: raw.find(b"\r\n")]
    if re.fullmatch(rb"%b [^ ]+ HTTP/[0-9](\.[0-9])?" % _TOKEN, line) and line[-4:-1] not in (b"/1.", b"TP/"):
        raise ClientError("only HTTP/1.0 and HTTP/1.1 are spoken here", status=505)
    raise ClientError("malformed request line")


def _refuse_request(error: HttpParserError, collector: _Collector, minor: bytes) -> NoReturn:
    """llhttp knows that it is wrong; say more exactly what, where the status depends on it."""
    if isinstance(error, HttpParserInvalidMethodError):
        raise ClientError("method not known here", status=501) from None
    _request_framing(collector.special, "1.1" if minor == b"1" else "1.0")
    raise ClientError(f"malformed request head: {error}") from None


def _request_framing(special: list[Field], version: str) -> int | None:
    lengths = [field[2] for field in special if field[0] == b"content-length"]
    codings = [field[2] for field in special if field[0] == b"transfer-encoding"]
    return request_body_length(lengths, codings, version) if lengths or codings else None


def _without_underscores(fields: list[Field], policy: str) -> list[Field]:
    """CGI, WSGI and PHP read X_User and X-User as one name, so one could be used to forge the other."""
    kept = [field for field in fields if b"_" not in field[0]]
    if len(kept) != len(fields) and policy == "reject":
        raise ClientError("header name with an underscore")
    return kept


def _settle_request(request: Request, special: list[Field]) -> None:
    """Consume the fields that speak of this connection; keep claims aside."""
    options: list[bytes] = []
    upgrade: list[bytes] = []
    for field in special:
        name = field[0]
        if name == b"connection":
            options += _list_items(field[2])
        elif name == b"content-length" or name == b"transfer-encoding":
            request.content_length = -2  # settled below
        elif name == b"te":
            request.accepts_trailers |= b"trailers" in _list_items(field[2])
        elif name == b"upgrade":
            upgrade.append(field[2])
        elif name in CLAIM_FIELDS:
            request.claims = [*(request.claims or ()), field]
    if request.content_length is not None:
        request.content_length = _request_framing(special, request.version)
    if options:
        _obey_connection(request, options)
    # RFC 9110 7.8: Upgrade counts only when Connection names it, and not in HTTP/1.0.
    if upgrade and b"upgrade" in options and request.version == "1.1":
        request.upgrade = _offered_upgrade(upgrade)


def _obey_connection(message: Request | Response, options: list[bytes]) -> None:
    """RFC 9110 7.6.1: an intermediary removes Connection and the fields it names."""
    named = {option for option in options if option not in PROTECTED_FIELDS}
    if isinstance(message, Request):
        if b"close" in named:
            message.keep_alive = False
        elif b"keep-alive" in named:
            message.keep_alive = True
    named -= {b"close", b"keep-alive", b"te", b"upgrade"}
    if named:
        headers = message.headers
        headers.fields = [field for field in headers.fields if field[0] not in named]


def _list_items(value: bytes) -> list[bytes]:
    return [item for part in value.lower().split(b",") if (item := part.strip(b" \t"))]


def _offered_upgrade(values: list[bytes]) -> str | None:
    """h2c would let a client talk past the middleware, so it is never offered (RFC 9113 3.1)."""
    offers = [item.strip() for item in b",".join(values).decode("latin-1").split(",")]
    kept = [item for item in offers if item and not item.lower().startswith("h2")]
    return ", ".join(kept) or None


def _settle_target(request: Request, target: bytes) -> None:
    """Hold the four request-target forms and Host to RFC 9112 3.2."""
    hosts = [field for field in request.headers.fields if field[0] == b"host"]
    if len(hosts) > 1:
        raise ClientError("more than one Host field")
    if not hosts and request.version == "1.1":
        raise ClientError("no Host field in an HTTP/1.1 request")
    if hosts and not _is_authority(hosts[0][2]):
        raise ClientError("invalid Host")
    if request._method == "CONNECT":
        raise ClientError("CONNECT is for forward proxies", status=405)
    if target[:1] == b"/" or (target == b"*" and request._method == "OPTIONS"):
        return
    absolute = _absolute_form(target)
    if absolute is None or not _is_authority(absolute[1]):
        raise ClientError("invalid request target")
    # RFC 9112 3.2.2: the authority of an absolute-form target replaces Host.
    request.headers["Host"] = absolute[1].decode()
    rest = absolute[2].decode()
    asterisk = not rest and request._method == "OPTIONS"
    request._target = "*" if asterisk else rest if rest[:1] == "/" else "/" + rest


def encode_request_head(request: Request, framing: bytes) -> bytes:
    """Return the head to send upstream: the request's own fields, then ``framing`` and the empty line.

    ``framing`` is the encoded lines of the fields that belong to the engine. The version is always
    HTTP/1.1 (RFC 9110 6.2: a sender states its own version).
    """
    parts = [f"{request._method} {request._target} HTTP/1.1\r\n".encode("latin-1")]
    for lower, name, value in request.headers.fields:
        if lower not in CONNECTION_FIELDS:
            parts.append(name + b": " + value + b"\r\n")
    parts.append(framing)
    parts.append(b"\r\n")
    return b"".join(parts)


# --- responses --------------------------------------------------------------------------------------


class ResponseHead:
    """A parsed response head: the response, and what only its connection needs to know."""

    __slots__ = ("body_length", "keep_alive", "response", "upgrade")

    def __init__(self, response: Response, body_length: int, keep_alive: bool) -> None:
        self.response = response
        self.body_length = body_length  # >= 0, framing.CHUNKED or framing.UNTIL_CLOSE
        self.keep_alive = keep_alive  # the server lets the connection be used again
        self.upgrade = ""  # the protocol of a 101


def check_partial_response_head(data: bytes, limits: HeadLimits) -> None:
    """Refuse early what can no longer become a response head; raises ``UpstreamError`` (502)."""
    if len(data) > limits.head_size:
        raise UpstreamError(
            "response head too large", proxy_status="http_response_header_section_size"
        )
    if _has_bare_lf(data) or not b"HTTP/1.".startswith(data[:7]):
        raise UpstreamError("malformed response head")


def parse_response_head(raw: bytes, method: str, limits: HeadLimits) -> ResponseHead:
    """Parse one complete response head, informational or final, to a request with ``method``.

    Raises ``UpstreamError`` (502) for anything that is not beyond doubt (RFC 9112 4-6).
    """
    line = _status_line(raw)
    if line is None or len(raw) > limits.head_size:
        check_partial_response_head(raw, limits)
        raise UpstreamError("malformed status line")
    minor, status, reason = line.groups()
    collector = _Collector(CONNECTION_FIELDS)
    try:
        HttpResponseParser(collector).feed_data(raw)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise UpstreamError(f"malformed response head: {error}") from None
    if len(collector.fields) + len(collector.special) > limits.head_fields:
        raise UpstreamError(
            "too many response fields", proxy_status="http_response_header_section_size"
        )
    version = "1.1" if minor == b"1" else "1.0"
    reason_text = reason.decode("latin-1") if reason else ""
    response = Response.from_head(int(status), reason_text, version, collector.fields)
    return _settle_response(response, collector.special, method)


def _settle_response(response: Response, special: list[Field], method: str) -> ResponseHead:
    lengths: list[bytes] = []
    codings: list[bytes] = []
    options: list[bytes] = []
    upgrade = b""
    for name, _, value in special:
        if name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"connection":
            options += _list_items(value)
        elif name == b"upgrade":
            upgrade = value
    length = response_body_length(response.status, method, lengths, codings, response.version)
    keep_alive = response.version == "1.1"
    if options:
        keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
        _obey_connection(response, options)
    head = ResponseHead(response, length, keep_alive)
    if length >= 0:
        response.content_length = length
        if lengths and length == 0:
            response.content_length = _declared_length(lengths[0])
        elif not lengths:
            response.content_length = None
    head.upgrade = upgrade.decode("latin-1")
    return head


def _declared_length(value: bytes) -> int | None:
    """What HEAD and 304 say of a body they do not carry; nonsense is dropped, it frames nothing."""
    return int(value) if value.isdigit() and len(value) < 20 else None


def encode_response_head(response: Response, framing: bytes) -> bytes:
    """Return the head to send to the client: status line, the response's fields, ``framing``."""
    parts = [f"HTTP/1.1 {response.status} {response._reason}\r\n".encode("latin-1")]
    for lower, name, value in response.headers.fields:
        if lower not in CONNECTION_FIELDS:
            parts.append(name + b": " + value + b"\r\n")
    parts.append(framing)
    parts.append(b"\r\n")
    return b"".join(parts)

