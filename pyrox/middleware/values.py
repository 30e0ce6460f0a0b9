"""Templates of field values: ``{client.address}`` and the like, compiled when the proxy starts.

What a placeholder stands for may be the client's word. On the wire a field ends at a line break, so control
characters are percent-encoded: no value can become a second field. What came in a field goes out byte for
byte; an identity is written as authentication writes it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from pyrox.config_report import did_you_mean
from pyrox.http.cookies import find_cookie
from pyrox.http.headers import make_field
from pyrox.http.message import Request, Response
from pyrox.middleware.identity import identity_of, quote_identity

Value = Callable[[Request, Response | None], bytes]  # b"" where there is no such thing

# A letter after the brace: JSON, as in Report-To, is no placeholder. "{{name}}" is the text "{name}".
_placeholder = re.compile(r"\{\{([a-z][^{}]*)\}\}|\{([a-z][^{}]*)\}")
_control = re.compile(rb"[\x00-\x1f\x7f]")


def is_template(text: str) -> bool:
    """Tell whether ``text`` has a placeholder in it, or one that was made plain text."""
    return _placeholder.search(text) is not None


def tells_identity(text: str) -> bool:
    """Tell whether a template says who the client is: then no client may send such a field itself."""
    names = (found[2] or "" for found in _placeholder.finditer(text))
    return any(name.startswith(("identity.", "tls.")) for name in names)


def compile_value(text: str, has_response: bool) -> Value:
    """Return the function that fills in ``text`` for one exchange.

    It returns ``b""`` when all placeholders come out empty, whatever stands around them. The response is
    None, and placeholders about it unknown, unless ``has_response``. Raises ``ValueError`` for an unknown
    placeholder.
    """
    parts: list[bytes | Value] = []
    end = 0
    for found in _placeholder.finditer(text):
        parts.append(_plain(text[end : found.start()]))
        parts.append(_plain(f"{{{found[1]}}}") if found[1] else _parse(found[2], has_response))
        end = found.end()
    parts.append(_plain(text[end:]))
    parts = [part for part in parts if part != b""]
    if all(isinstance(part, bytes) for part in parts):
        plain = b"".join(part for part in parts if isinstance(part, bytes))
        return lambda request, response: plain
    if len(parts) == 1 and not isinstance(parts[0], bytes):
        return _alone(parts[0])
    return _joined(parts)


def _alone(value: Value) -> Value:
    def fill(request: Request, response: Response | None) -> bytes:
        return _safe(value(request, response))

    return fill


def _joined(parts: list[bytes | Value]) -> Value:
    def fill(request: Request, response: Response | None) -> bytes:
        filled, is_empty = [], True
        for part in parts:
            if isinstance(part, bytes):
                filled.append(part)
            elif value := part(request, response):
                filled.append(value)
                is_empty = False
        return b"" if is_empty else _safe(b"".join(filled))

    return fill


def _safe(value: bytes) -> bytes:
    if _control.search(value):
        value = _control.sub(lambda found: b"%%%02X" % found[0][0], value)
    return value.strip()


def _plain(text: str) -> bytes:
    # Through the check of all fields; the blank at either end of a part is no part of it.
    make_field("X", text)
    return text.encode("latin-1")


def _parse(placeholder: str, has_response: bool) -> Value:
    """Return the value of ``name``, ``name:argument`` or either with ``|default``."""
    name, bar, default = placeholder.partition("|")
    value = _named(name.strip(), has_response)
    if not bar:
        return value
    otherwise = _plain(default.strip())
    return lambda request, response: value(request, response) or otherwise


def _named(name: str, has_response: bool) -> Value:
    kind, colon, argument = name.partition(":")
    if colon and kind in _WITH_ARGUMENT and argument:
        return _WITH_ARGUMENT[kind](argument)
    if not colon and name in _SIMPLE:
        return _SIMPLE[name]
    known = [*_SIMPLE, *(f"{kind}:NAME" for kind in _WITH_ARGUMENT)]
    if has_response:
        if name == "response.status":
            return lambda request, response: b"%d" % response.status if response is not None else b""
        if kind == "response.header" and argument:
            return _response_field(argument)
        known += ["response.status", "response.header:NAME"]
    hint = did_you_mean(name, known, "{{{}}}") or f"; there are {', '.join(known)}"
    raise ValueError(f"{{{name}}} is unknown{hint}; write {{{{{name}}}}} for the text {{{name}}}")


def _text(get: Callable[[Request], str]) -> Value:
    return lambda request, response: get(request).encode("utf-8", "surrogateescape")


def _certificate(attribute: str) -> Value:
    def get(request: Request) -> str:
        certificate = request.client.certificate if request.client is not None else None
        value = getattr(certificate, attribute, "")
        return value if isinstance(value, str) else ",".join(value)

    return _text(get)


def _handshake(attribute: str) -> Value:
    def get(request: Request) -> str:
        handshake = request.client.handshake if request.client is not None else None
        return getattr(handshake, attribute, "")

    return _text(get)


def _identity(attribute: str) -> Value:
    def get(request: Request) -> str:
        return _identity_text(getattr(identity_of(request), attribute, ""))

    return _text(get)


def _claim(name: str) -> Value:
    def get(request: Request) -> str:
        identity = identity_of(request)
        return "" if identity is None else _identity_text(identity.claims.get(name))

    return _text(get)


def _identity_text(value: object) -> str:
    """As authentication tells upstream: percent-encoded, so that no name can pass for another, or for two."""
    if isinstance(value, (set, frozenset)):
        value = sorted(map(_claim_text, value))
    if isinstance(value, (list, tuple)):
        return ",".join(quote_identity(_claim_text(item)).replace(",", "%2C") for item in value)
    return quote_identity(_claim_text(value))


def _claim_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (str, int, float)) else ""


def _request_field(name: str) -> Value:
    key = make_field(name, "")[0]
    return lambda request, response: _lines(request, key)


def _response_field(name: str) -> Value:
    key = make_field(name, "")[0]
    return lambda request, response: b"" if response is None else _lines(response, key)


def _lines(message: Request | Response, key: bytes) -> bytes:
    return b", ".join([field[2] for field in message.headers.fields if field[0] == key])


def _cookie(name: str) -> Value:
    key = name.encode()
    return lambda request, response: find_cookie(request.headers, key) or b""


def _state(key: str) -> Callable[[Request], str]:
    return lambda request: str(request.state.get(key, ""))


def _server(request: Request) -> str:
    return request.exchange.server if request.exchange is not None else ""


_SIMPLE: Mapping[str, Value] = {
    "client.address": _text(lambda request: request.client_address),
    "peer.address": _text(lambda request: request.client.address if request.client else ""),
    "peer.port": _text(lambda request: str(request.client.port or "") if request.client else ""),
    "request.id": _text(_state("request_id")),
    "request.method": _text(lambda request: request.method),
    "request.scheme": _text(lambda request: request.scheme),
    "request.host": lambda request, response: request.host.encode("latin-1"),
    "request.target": _text(lambda request: request.target),
    "request.path": _text(lambda request: request.path),
    "request.query": _text(lambda request: request.query),
    "request.version": _text(lambda request: request.version),
    "tls.version": _handshake("version"),
    "tls.cipher": _handshake("cipher"),
    "tls.subject": _certificate("subject"),
    "tls.issuer": _certificate("issuer"),
    "tls.names": _certificate("names"),
    "tls.serial": _certificate("serial"),
    "tls.fingerprint": _certificate("fingerprint"),
    "identity.name": _identity("name"),
    "identity.roles": _identity("roles"),
    "identity.scopes": _identity("scopes"),
    "identity.verified_by": _identity("verified_by"),
    "server": _text(_server),
    "time": lambda request, response: b"%.3f" % time.time(),
}
_WITH_ARGUMENT: Mapping[str, Callable[[str], Value]] = {
    "request.header": _request_field,
    "request.cookie": _cookie,
    "identity.claim": _claim,
}
