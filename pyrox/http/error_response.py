"""The answers that Pyrox makes itself when an exchange fails.

Small and generic on purpose: an error page tells the client that something failed and tells an
attacker nothing about what stands behind the proxy. The one text that reaches the client is what a
middleware wrote for it, the ``detail`` of an ``HTTPError``.
"""

from __future__ import annotations

import json

from pyrox.errors import HTTPError, ProxyError
from pyrox.http.headers import Headers
from pyrox.http.message import REASONS, Response

TEXT = "text/plain"
PROBLEM = "application/problem+json"  # RFC 9457 section 3

# RFC 9110 15.5.6: a 405 says what is allowed. Pyrox itself sends one only for CONNECT.
_ALLOWED = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"

# What is noted on an exception while it passes the stack. Into its ``__dict__``, because an exception
# class may forbid setting attributes.
_MIDDLEWARE = "middleware"  # where it was raised; see stack.py
_HEADERS = "_answer_headers"


def error_response(error: ProxyError, accept: str | None) -> Response:
    """Make the response that tells the client about ``error``.

    ``accept`` is the value of the request's Accept field, or None when it had none (or no request was
    understood). The body is text/plain, or problem+json (RFC 9457) when ``accept`` prefers it.
    ``Proxy-Status`` (RFC 9209) carries the error's token, and a 503 a ``Retry-After`` of one second.

    The ``detail`` and ``headers`` of an ``HTTPError`` are part of the answer; a Content-Type among them
    says what ``detail`` is, and it is sent as it stands. Nothing of any other error is shown. Last,
    ``answer_headers(error)`` replace the fields of their names.

    Raises ``ValueError`` or ``TypeError`` when the headers of an ``HTTPError`` cannot be sent; one that
    comes out of a stack has been checked by it.
    """
    detail, headers = "", Headers()
    if isinstance(error, HTTPError):
        detail, headers = error.detail, Headers(error.headers)
    elif error.status == 405:
        headers["Allow"] = _ALLOWED
    body = detail
    if "content-type" not in headers:
        body, headers["Content-Type"] = _render(error.status, detail, accept)
    if error.status == 503:
        headers.setdefault("Retry-After", "1")
    headers.add("Proxy-Status", f"pyrox; error={error.proxy_status}")
    headers.update(error.__dict__.get(_HEADERS, ()))
    response = Response(error.status, body.encode(errors="replace"), headers)
    response.made_by = error.__dict__.get(_MIDDLEWARE) or "pyrox"
    return response


def answer_headers(error: Exception) -> Headers:
    """Return the fields that the answer to ``error`` gets besides its own, to be changed in place.

    For a middleware that marks every response: an exception that passes it will become one.
    """
    headers: Headers = error.__dict__.setdefault(_HEADERS, Headers())
    return headers


def internal_error(error: BaseException) -> ProxyError:
    """Return the 500 that answers for ``error``, which is no ``ProxyError``: a fault in a middleware."""
    failure = ProxyError(f"{type(error).__name__}: {error}")
    for key in (_MIDDLEWARE, _HEADERS):
        if key in error.__dict__:
            failure.__dict__[key] = error.__dict__[key]
    return failure


def _render(status: int, detail: str, accept: str | None) -> tuple[str, str]:
    """Return the body and its media type."""
    phrase = REASONS.get(status, "Error")
    if not prefers_problem(accept):
        text = detail or f"{status} {phrase}"
        return text if text.endswith("\n") else text + "\n", TEXT + "; charset=utf-8"
    # RFC 9457 4.2.1: about:blank says no more than the status does; its title is the phrase.
    problem: dict[str, str | int] = {"type": "about:blank", "title": phrase, "status": status}
    if detail:
        problem["detail"] = detail.strip()
    return json.dumps(problem) + "\n", PROBLEM


def prefers_problem(accept: str | None) -> bool:
    """Tell whether ``accept`` (RFC 9110 12.5.1) ranks problem+json above text/plain.

    A client that asks for ``application/json`` can read problem+json, so that counts too. With equal
    weights, as for ``*/*``, text wins: it is what a person at a terminal wants.
    """
    if not accept or "application/" not in accept.lower():
        return False
    weights = _weights(accept)
    anything = weights.get("*/*", 0.0)
    text = weights.get(TEXT, weights.get("text/*", anything))
    application = weights.get("application/*", anything)
    problem = max(weights.get(PROBLEM, application), weights.get("application/json", 0.0))
    return problem > text


def _weights(accept: str) -> dict[str, float]:
    """Return each media range's weight; a malformed weight counts as 0."""
    weights = {}
    for item in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        weights[media_range] = next((_weight(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
    return weights


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
