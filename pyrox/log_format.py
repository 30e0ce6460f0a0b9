"""What a line of the access log says: ``combined``, ``json``, or a format of ``$name`` fields.

A format is taken apart once, at start-up, into a function from an ``Exchange`` to its line. Whatever a
client, an upstream or a middleware chose is escaped, because a log that can be forged is no evidence;
and since hardly any value needs it, one look at all of them together decides whether it must be done.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as _quote

from pyrox.exchange import Exchange
from pyrox.http.message import Request
from pyrox.log_values import (
    MARK_SPECIAL,
    Clock,
    asked,
    client_address,
    escape,
    escaped_user,
    observed,
    phases,
    request_id,
    request_line,
    user,
)

Render = Callable[[Exchange], bytes]
Getter = Callable[[Exchange], str]

_NAMED = ("combined", "json")
_COMBINED_FIELDS = frozenset((b"referer", b"user-agent"))
_REQUEST_JSON = ',"method":%s,"target":%s,"version":%s,"host":%s,"referer":%s,"user_agent":%s,"request_id":%s'
_ASKED_JSON = _REQUEST_JSON + ',"unparsed":null'
_UNPARSED_JSON = _REQUEST_JSON.replace("%s", "null") + ',"unparsed":%s'
_SOME_TIMES_JSON = (
    ',"duration":%s,"head_time":%s,"middleware_time":%s,"connect_time":%s,"upstream_time":%s,"send_time":%s'
)
_TIMES_JSON = _SOME_TIMES_JSON.replace("%s", "%.6f")  # one operation: a third of the time of six
_find_fields = re.compile(r"\$(\$|\w*)", re.ASCII)
_has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search


def validate_format(format: str) -> None:
    """Raise ``ValueError``, naming the fault and the fix, unless ``format`` can be compiled."""
    compile_format(format)


def compile_format(format: str, server_name: str = "pyrox", clock: Clock | None = None) -> Render:
    """Return the function that makes the line of an exchange, its newline included.

    * ``format``: ``combined``, ``json``, or text with ``$name`` fields; ``$$`` is a dollar sign.
    * ``server_name``: what ``$server_name`` stands for.

    Raises ``ValueError`` for an unknown name, a lone ``$``, and text without any field.
    """
    clock = clock or Clock()
    if format == "combined":
        return _compile_combined(clock)
    if format == "json":
        return _compile_json(clock)
    return _compile_text(format, _known_fields(clock, server_name))


# --- combined ----------------------------------------------------------------------------------------


def _compile_combined(clock: Clock) -> Render:
    """NCSA combined, byte for byte what nginx writes. The default, and so the one that is tuned."""

    def render(exchange: Exchange) -> bytes:
        request = exchange.request
        address = exchange.peer_address
        referer = agent = None
        who = b"-"
        if request is not None:
            if request._state is not None and "identity" in request._state:
                who = escaped_user(exchange).encode()
            if request.client is not None and request.client.trusted:
                address = request.client_address
            for name, _, value in request.headers.fields:
                if name in _COMBINED_FIELDS:
                    if name == b"user-agent":
                        agent = value if agent is None else agent
                    elif referer is None:
                        referer = value
                    if agent is not None and referer is not None:
                        break
        client = address.encode()
        line = exchange.raw_request_line or request_line(exchange) or b"-"
        referer = b"-" if referer is None else referer
        agent = b"-" if agent is None else agent
        chosen = b"".join((client, line, referer, agent))
        if chosen.translate(MARK_SPECIAL) is not chosen:
            client, line, referer, agent = map(_escape_bytes, (client, line, referer, agent))
        status, body_size = exchange.status, exchange.bytes_sent - exchange.head_bytes_sent
        now = clock.now()
        if not clock.second <= now < clock.next_second:
            clock.advance(now)
        what = (client, who, clock.local_bytes, line, status, body_size, referer, agent)
        return b'%b - %b [%b] "%b" %d %d "%b" "%b"\n' % what

    return render


def _escape_bytes(raw: bytes) -> bytes:
    return escape(raw.decode("latin-1")).encode()


# --- json --------------------------------------------------------------------------------------------


def _compile_json(clock: Clock) -> Render:
    """One JSON object a line; every key is always there, null where it does not apply."""

    def render(exchange: Exchange) -> bytes:
        answered_by, error, server = exchange.answered_by, exchange.error, exchange.server
        verdicts, who, route = observed(exchange), user(exchange), exchange.route
        return (
            f'{{"time":"{clock.utc()}","client":{_quote(client_address(exchange))}'
            f',"peer":{_quote(exchange.peer_address)}{_asked_json(exchange)}'
            f',"status":{exchange.status},"answered_by":{_quote(answered_by) if answered_by else "null"}'
            f',"user":{_quote(who) if who else "null"}'
            f',"observed":{_quote(verdicts) if verdicts else "null"}'
            f',"error":{_quote(error) if error else "null"},"route":{_quote(route) if route else "null"}'
            f',"upstream":{_quote(server) if server else "null"}'
            f',"retries":{exchange.retries},"bytes_in":{exchange.bytes_received}'
            f',"bytes_out":{exchange.bytes_sent}{_times_json(exchange)}}}\n'
        ).encode()

    return render


def _asked_json(exchange: Exchange) -> str:
    request = exchange.request
    if request is None:
        return _UNPARSED_JSON % _quote(exchange.raw_request_line.decode("latin-1"))
    method, target, protocol = asked(exchange)
    identifier = request_id(exchange)
    fields = {name: value for name, _, value in reversed(request.headers.fields)}
    return _ASKED_JSON % (
        _quote(method),
        _quote(target),
        _quote(protocol[5:]),
        _field_json(fields.get(b"host")),
        _field_json(fields.get(b"referer")),
        _field_json(fields.get(b"user-agent")),
        "null" if identifier is None else _quote(identifier),
    )


def _field_json(value: bytes | None) -> str:
    return "null" if value is None else _quote(value.decode("latin-1"))


def _times_json(exchange: Exchange) -> str:
    times = (exchange.finished - exchange.started, *phases(exchange))
    if None not in times:
        return _TIMES_JSON % times
    return _SOME_TIMES_JSON % tuple("null" if time is None else f"{time:.6f}" for time in times)


# --- a format of fields ------------------------------------------------------------------------------


def _compile_text(format: str, known: Mapping[str, Getter]) -> Render:
    getters: list[Getter] = []

    def take(field: re.Match[str]) -> str:
        if field[1] == "$":
            return "$"
        getters.append(_getter(field[1], field.start(), known))
        return "%s"

    if _has_control(format):
        raise ValueError(f"{format!r} has a line break or a control character; it is one line")
    template = _find_fields.sub(take, format.replace("%", "%%"))
    if not getters:
        hint = _did_you_mean(format, _NAMED)
        raise ValueError(f"{format!r} is not combined or json and has no $name field{hint}")

    def render(exchange: Exchange) -> bytes:
        texts = [get(exchange) for get in getters]
        chosen = "".join(texts).encode("utf-8", "surrogatepass")
        if chosen.translate(MARK_SPECIAL) is not chosen:
            texts = [escape(text) for text in texts]
        return (template % tuple(texts)).encode() + b"\n"

    return render


def _getter(name: str, position: int, known: Mapping[str, Getter]) -> Getter:
    if name.startswith("http_") and len(name) > len("http_"):
        field = name.removeprefix("http_").replace("_", "-")
        return lambda exchange: _header(exchange.request, field)
    if not name:
        raise ValueError(f"the $ at position {position} is followed by no field name; $$ is a dollar sign")
    if name not in known:
        hint = _did_you_mean(name, (*known, "http_NAME"))
        raise ValueError(f"there is no field ${name}{hint}; docs/access_log.md lists them")
    return known[name]


def _did_you_mean(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean {'$' if known is not _NAMED else ''}{close[0]}?" if close else ""


def _header(request: Request | None, name: str) -> str:
    return "-" if request is None else request.headers.get(name, "-")


def _known_fields(clock: Clock, server_name: str) -> dict[str, Getter]:
    """Every field of docs/access_log.md but ``$http_NAME``; named as in nginx where nginx has it."""
    return {
        "remote_addr": client_address,
        "peer_addr": lambda exchange: exchange.peer_address,
        "remote_user": lambda exchange: user(exchange) or "-",
        "time_local": lambda exchange: clock.local(),
        "time_iso8601": lambda exchange: clock.iso(),
        "msec": lambda exchange: clock.msec(),
        "request": lambda exchange: request_line(exchange).decode("latin-1") or "-",
        "request_method": lambda exchange: asked(exchange)[0],
        "request_uri": lambda exchange: asked(exchange)[1],
        "server_protocol": lambda exchange: asked(exchange)[2],
        "scheme": lambda exchange: exchange.request.scheme if exchange.request else "-",
        "host": lambda exchange: _header(exchange.request, "host"),
        "status": lambda exchange: str(exchange.status),
        "body_bytes_sent": lambda exchange: str(exchange.bytes_sent - exchange.head_bytes_sent),
        "bytes_sent": lambda exchange: str(exchange.bytes_sent),
        "request_length": lambda exchange: str(exchange.bytes_received),
        "answered_by": lambda exchange: exchange.answered_by or "-",
        "error": lambda exchange: exchange.error or "-",
        "route": lambda exchange: exchange.route or "-",
        "upstream_addr": lambda exchange: exchange.server or "-",
        "retries": lambda exchange: str(exchange.retries),
        "request_id": lambda exchange: request_id(exchange) or "-",
        "observed": lambda exchange: observed(exchange) or "-",
        "request_time": lambda exchange: f"{exchange.finished - exchange.started:.6f}",
        "head_time": lambda exchange: _phase(exchange, 0),
        "middleware_time": lambda exchange: _phase(exchange, 1),
        "connect_time": lambda exchange: _phase(exchange, 2),
        "upstream_time": lambda exchange: _phase(exchange, 3),
        "send_time": lambda exchange: _phase(exchange, 4),
        "server_name": lambda exchange: server_name,
        "pid": lambda exchange: str(os.getpid()),
    }


def _phase(exchange: Exchange, position: int) -> str:
    seconds = phases(exchange)[position]
    return "-" if seconds is None else f"{seconds:.6f}"
