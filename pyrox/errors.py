"""Every exception Pyrox raises.

Each class says what the client is told (``status``), whose fault it was (``source``), whether the
same request may be sent again (``retryable``) and which RFC 9209 token describes it
(``proxy_status``), so that nobody downstream has to ask with ``isinstance``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

Source = Literal["client", "proxy", "upstream"]


class PyroxError(Exception):
    """The root of all errors of Pyrox."""


class ProxyError(PyroxError):
    """An exchange failed for a known reason.

    ``detail`` is for the log; the client is told the status and nothing more.
    """

    status: int = 500
    source: ClassVar[Source] = "proxy"
    retryable: bool = False
    proxy_status: str = "proxy_internal_error"

    def __init__(
        self, detail: str = "", *, status: int | None = None, proxy_status: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if status is not None:
            self.status = status
        if proxy_status is not None:
            self.proxy_status = proxy_status

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.status}, {self.detail!r})"


class ClientError(ProxyError):
    """The client sent something that is refused: 400, 405, 408, 413, 414, 431, 501 or 505."""

    status = 400
    source: ClassVar[Source] = "client"
    proxy_status = "http_request_error"


class ClientTimeout(ClientError):
    """The client was too slow to send its request (408)."""

    status = 408


class ClientGone(ClientError):
    """The client left before its answer was complete; 499 in the access log, never on the wire."""

    status = 499


class UpstreamError(ProxyError):
    """The upstream could not be used or broke the protocol (502).

    ``failure`` is what a cluster's ``retry_on`` calls it.
    """

    status = 502
    source: ClassVar[Source] = "upstream"
    proxy_status = "http_protocol_error"
    failure: ClassVar[str] = "invalid"


class ConnectError(UpstreamError):
    """No connection to the server: nothing was sent, so any method may be retried elsewhere."""

    retryable = True
    proxy_status = "connection_refused"
    failure = "connect"


class UpstreamClosed(UpstreamError):
    """The server closed or reset the connection before its response was complete (502)."""

    proxy_status = "connection_terminated"
    failure = "reset"


class UpstreamTimeout(UpstreamError):
    """The server did not accept, answer or go on within its timeout (504)."""

    status = 504
    proxy_status = "http_response_timeout"
    failure = "timeout"


class NoHealthyServer(UpstreamError):
    """No server may be used for this request now (503)."""

    status = 503
    proxy_status = "destination_unavailable"
    failure = "nobody"


class Overloaded(NoHealthyServer):
    """Every server has as much to do as it may have, and the queue is full or took too long (503)."""

    proxy_status = "connection_limit_reached"


class NoRoute(ProxyError):
    """Nothing in the configuration says where this request goes (404)."""

    status = 404
    proxy_status = "destination_not_found"


class HTTPError(ProxyError):
    """Raised by a middleware to answer the request with ``status``.

    ``detail`` is shown to the client: a str becomes text/plain, or problem+json when the client
    prefers it. ``headers`` are added to the answer (``WWW-Authenticate``, ``Retry-After`` ...).

    Raises ``ValueError`` when ``status`` is not between 400 and 599.
    """

    proxy_status = "http_request_denied"

    def __init__(
        self,
        status: int,
        detail: str = "",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HTTPError status must be 400 to 599, not {status!r}")
        super().__init__(detail, status=status)
        self.headers = headers


class ConfigError(PyroxError):
    """The configuration cannot be used; ``problems`` holds one line for each fault found."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))
