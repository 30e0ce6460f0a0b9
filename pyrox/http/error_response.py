"""The answers that Pyrox makes itself when an exchange fails.

Small and generic on purpose: an error page tells the client that something failed and tells an
attacker nothing about what stands behind the proxy. The one text that reaches the client is what a
middleware wrote for it, the ``detail`` of an ``HTTPError``.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from pyrox.errors import HTTPError, ProxyError
from pyrox.http.accept import MediaType, add_vary, choose_media, field_value, list_items, parse_choices
from pyrox.http.headers import Headers
from pyrox.http.message import REASONS, Response

TEXT = "text/plain"
PROBLEM = "application/problem+json"  # RFC 9457 section 3
_OFFERED = tuple(map(MediaType, (TEXT, PROBLEM, "application/json")))

# RFC 9110 15.5.6: a 405 says what is allowed. Pyrox itself sends one only for CONNECT.
_ALLOWED = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"

# What is noted on an exception while it passes the stack. Into its ``__dict__``, because an exception
# class may forbid setting attributes.
_MIDDLEWARE = "middleware"  # where it was raised; see stack.py
_HEADERS = "_answer_headers"
_PAGE = "_answer_page"

# Renders the body of an answer: from its status and the detail that a client may see to the body and its
# media type.
Page = Callable[[int, str], tuple[str, str]]


def error_response(error: ProxyError, accept: str | None) -> Response:
    """Make the response that tells the client about ``error``.

    ``accept`` is the value of the request's Accept field, or None when it had none (or no request was
    understood). The body is text/plain, or problem+json (RFC 9457) when ``accept`` prefers it.
    ``Proxy-Status`` (RFC 9209) carries the error's token, and a 503 a ``Retry-After`` of one second.

    The ``detail`` and ``headers`` of an ``HTTPError`` are part of the answer; a Content-Type among them
    says what ``detail`` is, and it is sent as it stands. Nothing of any other error is shown. A page that
    ``answer_page`` noted makes any other body. Last, ``answer_headers(error)`` replace the fields of their
    names; Vary they extend.

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
        page: Page | None = error.__dict__.get(_PAGE)
        rendered = page(error.status, detail) if page else render(error.status, detail, accept)
        body, headers["Content-Type"] = rendered
    if error.status == 503:
        headers.setdefault("Retry-After", "1")
    headers.add("Proxy-Status", f"pyrox; error={error.proxy_status}")
    _replace(headers, error.__dict__.get(_HEADERS))
    response = Response(error.status, body.encode(errors="replace"), headers)
    response.made_by = error.__dict__.get(_MIDDLEWARE) or "pyrox"
    return response


def answer_headers(error: Exception) -> Headers:
    """Return the fields that the answer to ``error`` gets besides its own, to be changed in place.

    For a middleware that marks every response: an exception that passes it will become one.
    """
    headers: Headers = error.__dict__.setdefault(_HEADERS, Headers())
    return headers


def answer_page(error: Exception, page: Page) -> None:
    """Let ``page`` make the body of the answer to ``error``, unless that is for an inner layer's page."""
    error.__dict__.setdefault(_PAGE, page)


def _replace(headers: Headers, marks: Headers | None) -> None:
    """Let ``marks`` replace the fields of their names; but what either varies by, the answer varies by."""
    if marks is None:
        return
    varies_by = field_value(headers, "vary")
    headers.update(marks)
    if varies_by is not None:
        add_vary(headers, *list_items(varies_by))


def internal_error(error: BaseException) -> ProxyError:
    """Return the 500 that answers for ``error``, which is no ``ProxyError``: a fault in a middleware."""
    failure = ProxyError(f"{type(error).__name__}: {error}")
    for key in (_MIDDLEWARE, _HEADERS, _PAGE):
        if key in error.__dict__:
            failure.__dict__[key] = error.__dict__[key]
    return failure


def render(status: int, detail: str, accept: str | None) -> tuple[str, str]:
    """Return the body of an answer and its media type, text or JSON as ``accept`` prefers."""
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
    return bool(choose_media(parse_choices(accept), _OFFERED))  # None, or 0 for text
