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
from dataclasses import field as dataclass_field
from typing import NoReturn

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from pyrox.errors import ClientError, UpstreamError
from pyrox.http.body import Message
from pyrox.http.field_names import CLAIM_FIELDS, CONNECTION_FIELDS, PROTECTED_FIELDS, NameTable, normal_name
from pyrox.http.framing import UNTIL_CLOSE, request_body_length, response_body_length
from pyrox.http.headers import Field, Headers
from pyrox.http.message import Request, Response
from pyrox.http.target import check_host, settle_target

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# '#' never belongs on the wire (RFC 9112 3.2); a proxy and its upstream may disagree on what it ends.
_request_line = re.compile(rb"(%b) ([!\"$-~]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN).match
_status_line = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n").match
_WITHOUT_BODY = (b"204", b"304")
_has_coding_line = re.compile(rb"\r\n(?i:transfer-encoding):").search
_length_line = re.compile(rb"\r\n(?i:content-length):[ \t]*+([0-9]++)[ \t]*+(?=\r\n)")

# What Connection may name without a field of that name being removed.
_NEVER_NAMED = PROTECTED_FIELDS | {b"close", b"keep-alive", b"te", b"upgrade"}
_COMMON_OPTIONS = frozenset((b"keep-alive", b"Keep-Alive", b"close", b"upgrade", b"Upgrade"))
_CONSUMED_FIELDS = CONNECTION_FIELDS | CLAIM_FIELDS


_response_names = NameTable(CONNECTION_FIELDS)


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
    names: NameTable = dataclass_field(init=False, repr=False, compare=False)  # of a request's fields

    def __post_init__(self) -> None:
        special = CONNECTION_FIELDS | CLAIM_FIELDS | self.identity_fields | self.reserved_fields | {b"host"}
        object.__setattr__(self, "names", NameTable(special))


class _Silent:
    """Makes llhttp judge a head without calling back: its verdict is what it is asked for."""

    on_url = on_status = on_header = on_headers_complete = on_body = None
    on_message_begin = on_message_complete = on_chunk_header = on_chunk_complete = None


Verdict = tuple[list[Field], list[Field]]  # fields for the next hop, and those that need a decision


def _split_fields(block: bytes, names: NameTable, most: int) -> Verdict | None:
    """Take apart field lines: those for the next hop, and those that need a decision; None: too many.

    Right only for what llhttp accepts. It refuses line folding, control characters and bare line ends,
    so a line is a name, a colon and a value with optional whitespace around it (RFC 9112 5). A call
    back per field would cost twice this.
    """
    fields: list[Field] = []
    special: list[Field] = []
    lines = block.split(b"\r\n")[:-2]
    if len(lines) > most:
        return None
    for line in lines:
        name, _, value = line.partition(b":")
        lower, is_special = names[name]
        field = (lower, name, value.strip(b" \t"))
        if is_special:
            special.append(field)
            if lower in _CONSUMED_FIELDS:
                continue
        fields.append(field)
    return fields, special


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
    verdict = _split_fields(raw[end:], limits.names, limits.head_fields)
    if verdict is None:
        raise ClientError("too many header fields", status=431)
    fields, special = verdict
    try:
        HttpRequestParser(_Silent).feed_data(raw)
    except HttpParserUpgrade:
        pass  # Connection: upgrade or CONNECT; the head itself was fine
    except HttpParserError as error:
        _refuse_request(error, special, version)
    request = Request.from_head(method.decode(), target.decode(), version, fields)
    hosts = _settle_fields(request, special, limits)
    check_host(request, hosts)
    if target[:1] != b"/" or method == b"CONNECT":
        settle_target(request, target)
    return request


def _refuse_start(raw: bytes, limits: HeadLimits) -> NoReturn:
    check_partial_request_head(raw, limits)
    line = raw[: raw.find(b"\r\n")]
    if re.fullmatch(rb"%b [^ ]+ HTTP/[0-9](\.[0-9])?" % _TOKEN, line) and line[-4:-1] not in (b"/1.", b"TP/"):
        raise ClientError("only HTTP/1.0 and HTTP/1.1 are spoken here", status=505)
    raise ClientError("malformed request line")


def _refuse_request(error: HttpParserError, special: list[Field], version: str) -> NoReturn:
    """llhttp knows that it is wrong; say more exactly what, where the status depends on it."""
    if isinstance(error, HttpParserInvalidMethodError):
        raise ClientError("method not known here", status=501) from None
    _request_framing(special, version)
    raise ClientError(f"malformed request head: {error}") from None


def _request_framing(special: list[Field], version: str) -> int | None:
    lengths = [field[2] for field in special if field[0] == b"content-length"]
    codings = [field[2] for field in special if field[0] == b"transfer-encoding"]
    return request_body_length(lengths, codings, version) if lengths or codings else None


def _settle_fields(request: Request, special: list[Field], limits: HeadLimits) -> list[bytes]:
    """Consume the fields that speak of this connection, put claims aside, return the Hosts."""
    hosts: list[bytes] = []
    options: list[bytes] = []
    upgrade: list[bytes] = []
    is_old = request.version == "1.0"
    request.keep_alive = not is_old
    for field in special:
        name = field[0]
        if name == b"host":
            hosts.append(field[2])
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
    line = _status_line(raw)
    if line is None or len(raw) > limits.head_size:
        check_partial_response_head(raw, limits)
        raise UpstreamError("malformed status line")
    minor, status, reason = line.groups()
    verdict = _split_fields(raw[line.end() :], _response_names, limits.head_fields)
    if verdict is None:
        token = "http_response_header_section_size"
        raise UpstreamError("too many response fields", proxy_status=token)
    fields, special = verdict
    try:
        HttpResponseParser(_Silent).feed_data(raw)
    except HttpParserUpgrade:
        pass  # 101; the head itself was fine
    except HttpParserError as error:
        if repaired := _with_one_length(raw):
            return parse_response_head(repaired, method, limits)
        if (method == "HEAD" or status in _WITHOUT_BODY) and (repaired := _without_length(raw)):
            response = parse_response_head(repaired, method, limits)
            response.keep_alive = False  # whoever frames a message twice may send more than is due
            return response
        raise UpstreamError(f"malformed response head: {error}") from None
    version = "1.1" if minor == b"1" else "1.0"
    reason_text = reason.decode("latin-1") if reason else ""
    response = Response.from_head(int(status), reason_text, version, fields)
    _settle_response(response, special, method)
    return response


def _with_one_length(raw: bytes) -> bytes | None:
    """Make equal Content-Length lines one, which llhttp does not; None when there is nothing to make one.

    RFC 9112 6.3, rule 5: a recipient may take the value of a field that was merely repeated.
    """
    first = _length_line.search(raw)
    if first is None or {match[1] for match in _length_line.finditer(raw, first.end())} != {first[1]}:
        return None
    return raw[: first.end()] + _length_line.sub(b"", raw[first.end() :])


def _without_length(raw: bytes) -> bytes | None:
    """Take out a Content-Length beside a Transfer-Encoding, which overrides it; None when there is none.

    For what ends with its head "regardless of the header fields" (RFC 9112 6.3), so that nothing is in doubt.
    """
    repaired, lengths = _length_line.subn(b"", raw)
    return repaired if lengths == 1 and _has_coding_line(raw) else None


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
    parts = [f"HTTP/1.1 {response.status} {response._reason}\r\n".encode("latin-1")]
    _encode_fields(parts, response)
    parts += (framing, b"\r\n")
    return b"".join(parts)


def _encode_fields(parts: list[bytes], message: Message) -> None:
    fields = message.headers.fields
    known = message._known
    # Middleware mostly add fields: what the message came with is still there, and encoded already.
    if known is not None and fields[: len(known[0])] == known[0]:
        parts.append(known[1])
        fields = fields[len(known[0]) :]
    for lower, name, value in fields:
        if lower not in CONNECTION_FIELDS:
            parts += (name, b": ", value, b"\r\n")


def remember_encoded(message: Message) -> None:
    """Keep the encoded form of the fields that ``message`` has now, for its copies."""
    parts: list[bytes] = []
    _encode_fields(parts, message)
    message._known = message.headers.fields, b"".join(parts)
