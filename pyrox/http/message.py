"""``Request`` and ``Response``: what a middleware holds in its hands.

A message is a head and a body that may not have arrived yet. Nothing here knows a socket: a streaming
body is any iterable of bytes, and the engine's readers are just that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyrox.errors import HTTPError, ProxyError, UpstreamError
from pyrox.http.body import Body, HeaderItems, Message
from pyrox.http.headers import Field, Headers, has_control, is_latin1, is_token

if TYPE_CHECKING:
    from pyrox.exchange import Exchange
    from pyrox.http.forwarding import ClientSide

_new = object.__new__  # what the copies of cached heads are made with: no constructor, no checks

# RFC 9112 3.2.1 without the fragment mark, which never belongs on the wire.
_is_origin_form = re.compile(r"/[!\"$-~]*").fullmatch

REASONS = {status.value: status.phrase for status in HTTPStatus}


class Request(Message):
    """A request, as its middleware may see and change it.

    * ``method`` and ``target``: the request line; ``path`` and ``query`` are the target's parts.
    * ``version``: ``"1.1"`` or ``"1.0"``, of the client's side.
    * ``headers``: without the hop-by-hop fields, and with Via and X-Forwarded-* already added.
    * ``upgrade``: the protocol the client offers to switch to, or None; set None to refuse it.
    * ``client``: whom the request came from; ``client_address`` is the IP address to judge it by: the
      peer's or, behind ``trusted_proxies``, that of the first client that is not one of them.
    """

    __slots__ = (
        "_method",
        "_state",
        "_target",
        "accepts_trailers",
        "claims",
        "client",
        "client_address",
        "content_length",
        "exchange",
        "keep_alive",
        "route",
        "upgrade",
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: HeaderItems = (),
        body: Body | str = b"",
        client: ClientSide | None = None,
    ) -> None:
        super().__init__(body, headers)
        self.method = method
        self.target = target
        self.client = client
        self._rest()
        if client is not None:
            self.client_address = client.address_of(self.headers)

    @classmethod
    def from_head(cls, method: str, target: str, version: str, fields: list[Field]) -> Request:
        """Make a request from a parsed head, unchecked; its body is empty."""
        request = cls.__new__(cls)
        request._method = method
        request._target = target
        request.version = version
        request.headers = Headers.from_fields(fields)
        request.trailers = request._filters = request.client = None
        request._known = ()
        request._body = b""
        request._rest()
        return request

    def _again(self, method: str, target: str) -> Request:
        """Return a new request with this one's head but for the request line, unchecked."""
        request = _new(Request)
        request._method = method
        request._target = target
        request.version = self.version
        headers = request.headers = _new(Headers)
        headers.fields = self.headers.fields.copy()
        request.trailers = request._filters = request._state = None
        request.client = request.route = request.exchange = None
        request.client_address = ""
        request._body = b""
        request._known = self._known
        request.upgrade = self.upgrade
        request.accepts_trailers = self.accepts_trailers
        request.keep_alive = self.keep_alive
        request.content_length = self.content_length
        request.claims = self.claims
        return request

    def _rest(self) -> None:
        self._state: dict[str, Any] | None = None
        self.client_address = ""
        self.route: str | None = None
        self.upgrade: str | None = None
        self.accepts_trailers = False  # the client sent TE: trailers
        self.keep_alive = True  # the client wants to send another request on this connection
        self.content_length: int | None = None  # as the client declared it; CHUNKED when chunked
        self.claims: list[Field] | None = None  # X-Forwarded-* and the like, before they are judged
        self.exchange: Exchange | None = None  # the engine's record; None for a request made here

    @property
    def method(self) -> str:
        """The method as sent, for example ``"GET"``; assigning anything but a token: ``ValueError``."""
        return self._method

    @method.setter
    def method(self, method: str) -> None:
        if not is_token(method):
            raise ValueError(f"invalid method {method!r}")
        self._method = method

    @property
    def target(self) -> str:
        """What is asked for, in origin form with its query (``"/a?b=c"``), or ``"*"``.

        Assigning anything else raises ``ValueError``: a space or a line break here would be a second
        request to the upstream.
        """
        return self._target

    @target.setter
    def target(self, target: str) -> None:
        if target != "*" and not _is_origin_form(target):
            raise ValueError(f"invalid request target {target!r}; it starts with / and is percent-encoded")
        self._target = target

    @property
    def state(self) -> dict[str, Any]:
        """A scratch dict that lives as long as the request; middleware pass things on in it."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def path(self) -> str:
        """The target up to its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after its first ``?``, still percent-encoded; empty when there is none."""
        return self.target.partition("?")[2]

    @property
    def host(self) -> str:
        """The authority the client asked for, with its port if it gave one; ``""`` in HTTP/1.0."""
        return self.headers.get("host", "")

    @property
    def scheme(self) -> str:
        """``"https"`` when the client came by TLS to Pyrox, or to the trusted proxy before it."""
        return self.client.scheme_of(self.headers) if self.client else "http"

    @property
    def url(self) -> str:
        """The absolute URL the client asked for."""
        return f"{self.scheme}://{self.host}{self.target}"

    def route_to(self, destination: str) -> None:
        """Send this request to ``destination`` whatever the router says.

        ``destination`` is ``http://host:port``, ``https://host``, ``unix:/path`` or a cluster's name.
        Raises ``ValueError`` when it is a URL that names no host, or has a path.
        """
        if "://" in destination:
            parts = urlsplit(destination)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"route_to: {destination!r} is not http://host:port")
            if parts.path not in ("", "/") or parts.query:
                raise ValueError(f"route_to: {destination!r} has a path; set request.target instead")
        self.route = destination

    def _too_long(self, limit: int) -> ProxyError:
        return HTTPError(413, f"the request body is longer than {limit} bytes")

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"


class Response(Message):
    """A response, from upstream or made by a middleware.

    ``Response(401, "who are you?\\n")``: a str body is sent as UTF-8 and gets a text/plain
    Content-Type unless ``headers`` has one; bytes and iterables of bytes are sent as they are.
    """

    __slots__ = (
        "_callbacks",
        "_closed",
        "_reason",
        "_status",
        "body_length",
        "content_length",
        "keep_alive",
        "made_by",
        "upgrade",
    )

    def __init__(self, status: int, body: Body | str = b"", headers: HeaderItems = ()) -> None:
        super().__init__(body, headers)
        if isinstance(body, str) and "content-type" not in self.headers:
            self.headers["Content-Type"] = "text/plain; charset=utf-8"
        self.status = status
        self._rest()

    @classmethod
    def from_head(cls, status: int, reason: str, version: str, fields: list[Field]) -> Response:
        """Make a response from a parsed head, unchecked; its body is empty."""
        response = cls.__new__(cls)
        response._status = status
        response._reason = reason
        response.version = version
        response.headers = Headers.from_fields(fields)
        response.trailers = response._filters = None
        response._known = ()
        response._body = b""
        response._rest()
        return response

    def _again(self) -> Response:
        """Return a new response with this one's head."""
        response = _new(Response)
        response._status = self._status
        response._reason = self._reason
        response.version = self.version
        headers = response.headers = _new(Headers)
        headers.fields = self.headers.fields.copy()
        response.trailers = response._filters = response._callbacks = response.made_by = None
        response._body = b""
        response._closed = False
        response._known = self._known
        response.content_length = self.content_length
        response.body_length = self.body_length
        response.keep_alive = self.keep_alive
        response.upgrade = self.upgrade
        return response

    def _rest(self) -> None:
        # What upstream declared for a body that is not sent (HEAD, 304).
        self.content_length: int | None = None
        # What upstream's framing said, for the engine: the length of the body that follows, whether
        # its connection may be used again, and the protocol of a 101.
        self.body_length = 0
        self.keep_alive = False
        self.upgrade = ""
        # Who made it, for the access log: "upstream", a middleware's name, or None until known.
        self.made_by: str | None = None
        self._callbacks: list[Callable[[], object]] | None = None
        self._closed = False

    @property
    def status(self) -> int:
        """The status code; assigning one also sets its usual reason phrase.

        Assigning anything but a final status, 200 to 599, raises ``ValueError``.
        """
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"a final response has a status from 200 to 599, not {status!r}")
        self._status = int(status)
        self._reason = REASONS.get(status, "")

    @property
    def reason(self) -> str:
        """The reason phrase.

        Assigning one with a control character or outside latin-1 raises ``ValueError``.
        """
        return self._reason

    @reason.setter
    def reason(self, reason: str) -> None:
        if has_control(reason) or not is_latin1(reason):
            raise ValueError(f"reason phrase {reason!r} cannot be sent")
        self._reason = reason

    @classmethod
    def json_of(cls, value: Any, status: int = 200, headers: HeaderItems = ()) -> Response:
        """Make a response whose body is ``value`` as JSON."""
        response = cls(status, json.dumps(value).encode() + b"\n", headers)
        response.headers.setdefault("Content-Type", "application/json")
        return response

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` once, after the last byte was sent or when the exchange failed.

        Callbacks run in the order in which they were added; an exception in one is logged and does
        not keep the others from running. When the response is closed already, it is called at once.
        """
        if self._closed:
            callback()
            return
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    def close(self) -> list[Exception]:
        """Release the body and run the ``on_close`` callbacks; a second call does nothing.

        Returns the exceptions that callbacks raised, for the caller to log.
        """
        if self._closed:
            return []
        self._closed = True
        if self._callbacks is None and isinstance(self._body, bytes):
            return []
        callbacks = self._callbacks or []
        close_body = getattr(self._body, "close", None)
        if close_body is not None:
            callbacks = [close_body, *callbacks]
        failures = []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                failures.append(error)
        return failures

    def _too_long(self, limit: int) -> ProxyError:
        return UpstreamError(f"the response body is longer than {limit} bytes")

    def __repr__(self) -> str:
        return f"<Response {self.status} made by {self.made_by or 'nobody yet'}>"
