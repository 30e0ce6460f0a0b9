"""Heads: bytes to objects and back.

llhttp is the strictest parser there is, and still a library's idea of HTTP: it knows nothing of hosts,
targets or what a proxy may pass on. So a head passes two gates. A pattern of ours takes the start line
apart; llhttp, given exactly one complete head, accepts the fields; and what the connection itself
is told (RFC 9110 7.6.1: Connection and the fields it names, Keep-Alive, TE, Trailer, Upgrade, framing)
is consumed here and never reaches a middleware.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import NoReturn

from pyrox.errors import ClientError, UpstreamError
from pyrox.http.body import Message
from pyrox.http.field_lines import LineTable
from pyrox.http.field_names import CLAIM_FIELDS, CONNECTION_FIELDS, PROTECTED_FIELDS, NameTable, normal_name
from pyrox.http.framing import UNTIL_CLOSE, request_body_length, response_body_length
from pyrox.http.head_repair import with_one_length, without_length
from pyrox.http.headers import Field, Headers
from pyrox.http.llhttp import (
    FRAMING_FIELDS,
    Fault,
    UnknownMethod,
    accepts_request_field,
    accepts_response_field,
    fault_of_request,
    fault_of_response,
)
from pyrox.http.message import Request, Response
from pyrox.http.remembered import Remembered
from pyrox.http.target import check_host, settle_target

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# '#' never belongs on the wire (RFC 9112 3.2); a proxy and its upstream may disagree on what it ends.
_request_line = re.compile(rb"(%b) ([!\"$-~]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN).match
_status_line = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n").match
_WITHOUT_BODY = (204, 304)

# What Connection may name without a field of that name being removed.
_NEVER_NAMED = PROTECTED_FIELDS | {b"close", b"keep-alive", b"te", b"upgrade"}
_COMMON_OPTIONS = frozenset((b"keep-alive", b"Keep-Alive", b"close", b"upgrade", b"Upgrade"))

RequestLine = tuple[str, str, str]  # method, target and version
StatusLine = tuple[str, int, str]  # version, status and reason
_LONGEST_STATUS_LINE = 64  # of those that are worth remembering


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Limits of a head, in bytes and lines; the defaults are those of configspec.ini.

    ``identity_fields`` are claims besides ``CLAIM_FIELDS``, as the configuration names them, in the form of
    ``normal_name``. ``reserved_fields``, named likewise, are taken from nobody: middleware
    set them, to say what they have found out about the client.
    """

    request_line: int = 8192
    head_size: int = 32768
    head_fields: int = 100
    underscore_headers: str = "drop"  # drop | allow | reject
    identity_fields: frozenset[bytes] = frozenset()
    reserved_fields: frozenset[bytes] = frozenset()
    # What heads under these limits are known to consist of.
    request_fields: LineTable = dataclass_field(init=False, repr=False, compare=False)
    response_fields: LineTable = dataclass_field(init=False, repr=False, compare=False)
    status_lines: Remembered[StatusLine] = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        consumed = CONNECTION_FIELDS | CLAIM_FIELDS
        special = consumed | self.identity_fields | self.reserved_fields | {b"host"}
        requests = LineTable(NameTable(special), consumed, accepts_request_field)
        responses = LineTable(NameTable(CONNECTION_FIELDS), CONNECTION_FIELDS, accepts_response_field)
        object.__setattr__(self, "request_fields", requests)
        object.__setattr__(self, "response_fields", responses)
        object.__setattr__(self, "status_lines", Remembered(64))


def _is_framed_once(special: list[Field]) -> bool:
    """Tell whether at most one line frames a body; more of them llhttp judges together."""
    return len(special) < 2 or sum(field[0] in FRAMING_FIELDS for field in special) < 2


# --- requests ---------------------------------------------------------------------------------------


def _has_bare_line_end(data: bytes) -> bool:
    """Tell whether a CR or LF stands alone; a CR at the end may still get its LF.

    Asked anew for each piece of a head that arrives in many: counting takes a twentieth of the time of
    a pattern, which let a client that sends single bytes occupy a worker.
    """
    pairs = data.count(b"\r\n")
    return data.count(b"\n") != pairs or data.count(b"\r") - data.endswith(b"\r") != pairs


def check_partial_request_head(data: bytes, limits: HeadLimits) -> None:
    """Refuse as early as possible what can no longer become a valid head.

    Raises ``ClientError``: 414 for a request line over its limit, 431 for a head over its limit,
    400 for a bare LF or CR (RFC 9112 2.2 allows LF as a line end; two parties that differ on it can
    be made to see different messages).
    """
    line_end = data.find(b"\r\n")
    if (len(data) if line_end < 0 else line_end) > limits.request_line:
        raise ClientError("request line too long", status=414)
    if len(data) > limits.head_size:
        raise ClientError("request head too large", status=431)
    if _has_bare_line_end(data):
        raise ClientError("bare LF or CR in the request head")
    if b"" < data[:1] <= b" " and data[:1] != b"\r":
        raise ClientError("the request line does not start with a method")


def parse_request_line(raw: bytes, limits: HeadLimits) -> tuple[bytes, bytes, str, int]:
    """Return method, target, version and where the fields begin; raises as ``parse_request_head``."""
    line = _request_line(raw)
    if line is None or len(raw) > limits.head_size or line.end() - 2 > limits.request_line:
        _refuse_start(raw, limits)
    method, target, major, minor = line.groups()
    if major != b"1" or minor > b"1":
        raise ClientError("only HTTP/1.0 and HTTP/1.1 are spoken here", status=505)
    return method, target, "1.1" if minor == b"1" else "1.0", line.end()


def parse_request_head(raw: bytes, limits: HeadLimits) -> Request:
    """Parse one complete request head, its empty line included.

    The request's ``content_length`` becomes the length of the body that follows: None or a number, or
    ``framing.CHUNKED``. Raises ``ClientError``: 400, 405, 414, 431, 501 or 505 (RFC 9112 2-3, 5-6).
    """
    method, target, version, end = parse_request_line(raw, limits)
    return parse_request_fields(raw, raw[end:], (method.decode(), target.decode(), version), limits)


def parse_request_fields(
    raw: bytes, block: bytes, line: RequestLine, limits: HeadLimits, is_plain: bool = False
) -> Request:
    """Do as ``parse_request_head`` with a request line that was taken apart; ``block`` is what follows it.

    ``is_plain``: llhttp is known to accept that line. When it is known to accept all others as well, it is
    not asked.
    """
    method, target, version = line
    parts = limits.request_fields.take_apart(block, limits.head_fields)
    if parts is None:
        raise ClientError("too many header fields", status=431)
    fields, encoded, special, are_known = parts
    is_accepted = is_plain and are_known and version == "1.1" and _is_framed_once(special)
    if not is_accepted and (fault := fault_of_request(raw)) is not None:
        _refuse_request(fault, special, version)
    request = Request.from_head(method, target, version, fields)
    request._known = ((fields.copy(), encoded),)
    hosts = special
    if len(special) != 1 or special[0][0] != b"host" or version != "1.1":
        hosts = _settle_fields(request, special, limits)
    check_host(request, hosts)
    if target[:1] != "/" or method == "CONNECT":
        settle_target(request, target.encode())
    return request


def _refuse_start(raw: bytes, limits: HeadLimits) -> NoReturn:
    check_partial_request_head(raw, limits)
    line = raw[: raw.find(b"\r\n")]
    if re.fullmatch(rb"%b [^ ]+ HTTP/[0-9](\.[0-9])?" % _TOKEN, line) and line[-4:-1] not in (b"/1.", b"TP/"):
        raise ClientError("only HTTP/1.0 and HTTP/1.1 are spoken here", status=505)
    raise ClientError("malformed request line")


def _refuse_request(error: Fault, special: list[Field], version: str) -> NoReturn:
    """llhttp knows that it is wrong; say more exactly what, where the status depends on it."""
    if isinstance(error, UnknownMethod):
        raise ClientError("method not known here", status=501)
    _request_framing(special, version)
    raise ClientError(f"malformed request head: {error}")


def _request_framing(special: list[Field], version: str) -> int | None:
    lengths = [field[2] for field in special if field[0] == b"content-length"]
    codings = [field[2] for field in special if field[0] == b"transfer-encoding"]
    return request_body_length(lengths, codings, version) if lengths or codings else None


def _settle_fields(request: Request, special: list[Field], limits: HeadLimits) -> list[Field]:
    """Consume the fields that speak of this connection, put claims aside, return the Hosts."""
    hosts: list[Field] = []
    options: list[bytes] = []
    upgrade: list[bytes] = []
    is_old = request.version == "1.0"
    request.keep_alive = not is_old
    for field in special:
        name = field[0]
        if name == b"host":
            hosts.append(field)
        elif name == b"connection":
            options += _list_items(field[2])
        elif name == b"content-length" or name == b"transfer-encoding":
            request.content_length = _request_framing(special, request.version)
        elif name == b"te":
            request.accepts_trailers |= b"trailers" in _list_items(field[2])
        elif name == b"upgrade":
            upgrade.append(field[2])
        elif name in CLAIM_FIELDS:
            request.claims = [*(request.claims or ()), field]
        else:
            _settle_odd_name(request, field, limits)
    if options:
        request.keep_alive = b"close" not in options and (not is_old or b"keep-alive" in options)
        _remove_named(request.headers, options)
    if is_old:  # RFC 9110 10.1.1: an expectation in an HTTP/1.0 request is to be ignored
        request.headers.fields = [field for field in request.headers.fields if field[0] != b"expect"]
    # RFC 9110 7.8: Upgrade counts only when Connection names it, and not in HTTP/1.0.
    if upgrade and b"upgrade" in options and not is_old:
        request.upgrade = _offered_upgrade(upgrade)
    return hosts


def _settle_odd_name(request: Request, field: Field, limits: HeadLimits) -> None:
    """A name with an underscore, a name that the configuration makes a claim or reserves, or both."""
    name = field[0]
    is_odd = b"_" in name
    if is_odd and limits.underscore_headers == "reject":
        raise ClientError("header name with an underscore")
    meant = normal_name(name)
    is_reserved = meant in limits.reserved_fields
    is_claim = meant in limits.identity_fields
    if is_reserved or is_claim or (is_odd and limits.underscore_headers == "drop"):
        request.headers.fields.remove(field)
    if is_claim and name == meant and not is_reserved:
        request.claims = [*(request.claims or ()), field]


def _remove_named(headers: Headers, options: list[bytes]) -> None:
    """RFC 9110 7.6.1: an intermediary removes the fields that Connection names."""
    named = set(options) - _NEVER_NAMED
    if named:
        headers.fields = [field for field in headers.fields if field[0] not in named]


def _list_items(value: bytes) -> list[bytes]:
    if value in _COMMON_OPTIONS:
        return [value.lower()]
    return [item for part in value.lower().split(b",") if (item := part.strip(b" \t"))]


def _offered_upgrade(values: list[bytes]) -> str | None:
    """h2c would let a client talk past the middleware, so it is never offered (RFC 9113 3.1)."""
    offers = [item.strip() for item in b",".join(values).decode("latin-1").split(",")]
    kept = [item for item in offers if item and not item.lower().startswith("h2")]
    return ", ".join(kept) or None


def encode_request_head(request: Request, framing: bytes) -> bytes:
    """Return the head to send upstream: the request's own fields, then ``framing`` and the empty line.

    ``framing`` is the encoded lines of the fields that belong to the engine. The version is always
    HTTP/1.1 (RFC 9110 6.2: a sender states its own version).
    """
    parts = [f"{request._method} {request._target} HTTP/1.1\r\n".encode("latin-1")]
    _encode_fields(parts, request)
    parts += (framing, b"\r\n")
    return b"".join(parts)


# --- responses --------------------------------------------------------------------------------------


def check_partial_response_head(data: bytes, limits: HeadLimits) -> None:
    """Refuse early what can no longer become a response head; raises ``UpstreamError`` (502)."""
    if len(data) > limits.head_size:
        raise UpstreamError("response head too large", proxy_status="http_response_header_section_size")
    if _has_bare_line_end(data) or not b"HTTP/1.".startswith(data[:7]):
        raise UpstreamError("malformed response head")


def parse_response_head(raw: bytes, method: str, limits: HeadLimits) -> Response:
    """Parse one complete response head, informational or final, to a request with ``method``.

    The response's ``body_length`` becomes the length of the body that follows: a number,
    ``framing.CHUNKED`` or ``framing.UNTIL_CLOSE``. Raises ``UpstreamError`` (502) for anything that is
    not beyond doubt (RFC 9112 4-6).
    """
    end = raw.find(b"\r\n") + 2
    line = known = limits.status_lines.get(raw[:end])
    if line is None or len(raw) > limits.head_size:
        line = _parse_status_line(raw, limits)
    version, status, reason = line
    parts = limits.response_fields.take_apart(raw[end:], limits.head_fields)
    if parts is None:
        token = "http_response_header_section_size"
        raise UpstreamError("too many response fields", proxy_status=token)
    fields, encoded, special, are_known = parts
    is_accepted = known and are_known and _is_framed_once(special)
    if not is_accepted and (fault := fault_of_response(raw)) is not None:
        return _parse_repaired(raw, status, method, limits, fault)
    response = Response.from_head(status, reason, version, fields)
    response._known = ((fields.copy(), encoded),)
    _settle_response(response, special, method)
    return response


def _parse_status_line(raw: bytes, limits: HeadLimits) -> StatusLine:
    match = _status_line(raw)
    if match is None or len(raw) > limits.head_size:
        check_partial_response_head(raw, limits)
        raise UpstreamError("malformed status line")
    minor, status, reason = match.groups()
    line = "1.1" if minor == b"1" else "1.0", int(status), reason.decode("latin-1") if reason else ""
    start = match[0]
    is_worth = minor == b"1" and len(start) <= _LONGEST_STATUS_LINE and limits.status_lines.is_repeated(start)
    if is_worth and fault_of_response(start + b"\r\n") is None:
        limits.status_lines.keep(start, line)
    return line


def _parse_repaired(raw: bytes, status: int, method: str, limits: HeadLimits, fault: Fault) -> Response:
    """Parse a head that llhttp refuses and that is yet beyond doubt, if it is."""
    if repaired := with_one_length(raw):
        return parse_response_head(repaired, method, limits)
    if (method == "HEAD" or status in _WITHOUT_BODY) and (repaired := without_length(raw)):
        response = parse_response_head(repaired, method, limits)
        response.keep_alive = False  # whoever frames a message twice may send more than is due
        return response
    raise UpstreamError(f"malformed response head: {fault}")


def _settle_response(response: Response, special: list[Field], method: str) -> None:
    """Consume the fields that speak of this connection."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    options: list[bytes] = []
    for name, _, value in special:
        if name == b"content-length":
            lengths.append(value)
        elif name == b"connection":
            options += _list_items(value)
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"upgrade":
            response.upgrade = value.decode("latin-1")
    length = response_body_length(response.status, method, lengths, codings, response.version)
    response.body_length = length
    if length > 0:
        response.content_length = length
    elif lengths:
        response.content_length = _declared_length(lengths[0])
    response.keep_alive = response.version == "1.1"
    if options:
        response.keep_alive = b"close" not in options and (response.keep_alive or b"keep-alive" in options)
        _remove_named(response.headers, options)
    if length == UNTIL_CLOSE:
        response.keep_alive = False


def _declared_length(value: bytes) -> int | None:
    """What HEAD and 304 say of a body they do not carry; nonsense is dropped, it frames nothing."""
    return int(value) if value.isdigit() and len(value) < 20 else None


def encode_response_head(response: Response, framing: bytes) -> bytes:
    """Return the head to send to the client: status line, the response's fields, ``framing``."""
    parts = [f"HTTP/1.1 {response._status} {response._reason}\r\n".encode("latin-1")]
    _encode_fields(parts, response)
    parts += (framing, b"\r\n")
    return b"".join(parts)


def _encode_fields(parts: list[bytes], message: Message) -> None:
    fields = message.headers.fields
    start = 0
    # Middleware mostly add fields: what the message came with is still there, and encoded already.
    for run, encoded in message._known:
        end = start + len(run)
        if fields[start:end] != run:
            break
        parts.append(encoded)
        start = end
    for lower, name, value in fields[start:]:
        if lower not in CONNECTION_FIELDS:
            parts += (name, b": ", value, b"\r\n")
