"""Run a middleware, or a whole configured stack, in a unit test: no sockets, no gevent.

    client = TestClient((RequireKey, {"keys": {"acme": "s3cret"}}), upstream=Response(200, "hello"))
    assert client.get("/").status == 401
    assert client.get("/", headers={"X-API-Key": "s3cret"}).text == "hello"
    assert client.upstream_requests[-1].headers["x-tenant"] == "acme"

Requests take the engine's road as far as it can be taken without a network: the head is encoded and
parsed, with all that the parser refuses; claims about the client are judged; bodies stream, and pass
their filters, after the stack has returned; errors become the same answers; ``on_close`` runs at the
end. Each request is answered before ``request()`` returns.
"""

from __future__ import annotations

import json as json_module
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message as MimeMessage
from functools import cache, partialmethod
from ipaddress import ip_network
from typing import Any, cast

from pyrox.config import load_settings, parse_settings
from pyrox.errors import NoRoute, ProxyError
from pyrox.http.body import Body, HeaderItems
from pyrox.http.certificate import CertificateFields, ClientCertificate
from pyrox.http.error_response import error_response, internal_error
from pyrox.http.field_names import CONNECTION_FIELDS, normal_names
from pyrox.http.forwarding import ClientSide, Peers, add_response_fields
from pyrox.http.handshake import Handshake
from pyrox.http.head import HeadLimits, parse_request_head
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.stack import ConfiguredMiddleware, Factory, build_stack, load_stack, reserved_fields
from pyrox.preflight import use_plugin_paths
from pyrox.routing.dispatch import build_routes
from pyrox.settings import RouteSettings, Settings
from pyrox.shared_memory import forget_own_memory

Layer = Factory | Middleware | tuple[Callable[..., App], Mapping[str, Any]] | tuple[str, Factory]
Upstream = Callable[[Request], Response] | Response | Mapping[str, "Callable[[Request], Response] | Response"]

HOST = "pyrox.test"
_HANDSHAKE = Handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384")

log = logging.getLogger("pyrox.testing")


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """What the client got: the head, and the whole body after its filters."""

    status: int
    reason: str
    headers: Headers
    body: bytes
    trailers: Headers | None
    made_by: str | None  # "upstream", the name of a middleware, or "pyrox"

    @property
    def text(self) -> str:
        """The body as text, in the charset of its Content-Type or UTF-8."""
        content_type = MimeMessage()
        content_type["content-type"] = self.headers.get("content-type", "text/plain")
        return self.body.decode(content_type.get_content_charset("utf-8"))

    def json(self) -> Any:
        """The body decoded as JSON; raises ``ValueError`` when it is none."""
        return json_module.loads(self.body)


@dataclass(frozen=True, slots=True)
class _Fake:
    """The other end of the stack: answers, and remembers what it was asked."""

    upstream: Upstream
    requests: list[Request] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)  # of the request in progress

    def __call__(self, request: Request) -> Response:
        seen = _as_sent_upstream(request)
        self.requests.append(seen)
        answer = self._answer(seen)
        response = _as_received(answer)
        self.responses.extend((response, answer))
        return response

    def _answer(self, request: Request) -> Response:
        answer = self.upstream
        if isinstance(answer, Mapping):
            answer = answer.get(request.target) or answer.get(request.path) or Response(404)
        return answer if isinstance(answer, Response) else answer(request)


@dataclass(frozen=True, slots=True)
class _FakeEngine:
    """Sends all routes to one fake upstream."""

    settings: Settings
    fake: _Fake

    def forward(self, route: RouteSettings | None) -> App:
        routing = self.settings.routing
        return self.fake if routing.upstream_hosts or routing.default_cluster else self._forward_routed

    def mirror(self, route: RouteSettings, app: App) -> App:
        return app

    def enter(self, route: RouteSettings, app: App) -> App:
        return app

    def _forward_routed(self, request: Request) -> Response:
        if request.route is None:
            raise NoRoute("no route takes it")
        return self.fake(request)


class TestClient:
    """A client on one side of a stack and a fake upstream on the other.

    * ``stack``: one layer or a sequence of them, outermost first. A layer is a middleware class, a
      ``(class, options)`` pair, a function from app to app, an instance (its ``app`` is set), or a
      ``(name, factory)`` pair. It goes by the name of its class or function.
    * ``upstream``: the response to every request, a function from request to response, or a mapping
      from targets or paths to either; what is not in it is a 404. Default: an empty 200.
    * ``client_address``: the peer's IP address, or ``"unix"``; ``trusted``: whether it is in
      ``trusted_proxies``; ``tls``: whether it speaks TLS; ``certificate``: what it shows then.
    * ``raise_exceptions``: raise what is no ``ProxyError`` instead of answering 500 and logging it.

    ``upstream_requests`` holds what upstream was sent, in order, each body as bytes.
    """

    __test__ = False  # or pytest would take it for a test case

    def __init__(
        self,
        stack: Layer | Sequence[Layer] = (),
        upstream: Upstream | None = None,
        *,
        client_address: str = "127.0.0.1",
        trusted: bool = False,
        tls: bool = False,
        certificate: ClientCertificate | None = None,
        raise_exceptions: bool = True,
    ) -> None:
        self._fake = _Fake(upstream if upstream is not None else Response(200))
        forget_own_memory()  # what an earlier client's stack has counted is none of this one's business
        layers = _layers(stack)
        self._app = build_stack([_named(layer) for layer in layers], self._fake)
        self.upstream_requests = self._fake.requests
        self.client_address = client_address
        self.tls = tls
        self.raise_exceptions = raise_exceptions
        self.certificate = certificate
        self._trusted_proxies: Peers = ()
        self._use(_defaults(), normal_names(name for layer in layers for name in _reserved_by(layer)))
        if trusted:
            is_unix = client_address == "unix"
            self._trusted_proxies = (client_address if is_unix else ip_network(client_address),)

    def _use(self, settings: Settings, reserved: frozenset[bytes]) -> None:
        self._trusted_proxies = settings.http.trusted_proxies
        self._certificate_fields = CertificateFields(settings.ssl.client_certificate_headers)
        self._head_limits = HeadLimits(
            settings.limits.request_line,
            settings.limits.head_size,
            settings.limits.head_fields,
            settings.http.underscore_headers,
            self._certificate_fields.names,
            reserved,
        )

    @classmethod
    def from_config(
        cls, config: str | os.PathLike[str], upstream: Upstream | None = None, **options: Any
    ) -> TestClient:
        """Make a client for the stack and the routes of a configuration, given as its path or as its text.

        ``upstream`` stands for all servers; which of them a request went to is its ``route``. Time-outs,
        limits and mirrors of routes are the engine's, and not there.

        ``options`` are those of the constructor, except ``trusted``: the configuration says who is.
        Raises ``ConfigError`` as the ``pyrox`` command would.
        """
        is_text = isinstance(config, str) and "\n" in config
        settings = parse_settings(cast(str, config)) if is_text else load_settings(os.fspath(config))
        use_plugin_paths(settings)
        client = cls((), upstream, **options)
        routes = _FakeEngine(settings, client._fake)
        innermost = build_routes(settings, routes) if settings.routes.sections else client._fake
        client._app = build_stack(load_stack(settings), innermost)
        client._use(settings, reserved_fields(settings))
        return client

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: HeaderItems = (),
        body: Body | str = b"",
        json: Any = None,
        client_address: str | None = None,
    ) -> ClientResponse:
        """Send one request through the stack and return what comes back.

        ``body`` streams in chunks as given, bytes as one; an iterable is sent chunked. ``json`` is sent
        as JSON instead. ``client_address`` overrides the client's own for this request.

        Raises what a body filter or a body raises: by then the head is on its way, and the engine
        would break off the connection. Raises what the stack or an ``on_close`` callback raises, except
        ``ProxyError``, unless ``raise_exceptions`` is off.
        """
        sent = Headers(headers)
        if json is not None:
            body = json_module.dumps(json)
            sent.setdefault("Content-Type", "application/json")
        side = ClientSide(
            client_address or self.client_address, tls=self.tls, trusted_proxies=self._trusted_proxies
        )
        if self.tls:
            side.handshake = _HANDSHAKE
        if self.certificate is not None:
            side.identify(self.certificate, self._certificate_fields.encode(self.certificate))
        response = self._answer(method, target, sent, body, side)
        try:
            received = _as_sent_to_client(response, method)
        finally:
            failures = self._close(response)
        if failures and self.raise_exceptions:
            raise failures[0] if len(failures) == 1 else ExceptionGroup("on_close callbacks", failures)
        return received

    # Called like ``request``, without the method.
    get = partialmethod(request, "GET")
    head = partialmethod(request, "HEAD")
    options = partialmethod(request, "OPTIONS")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")

    def _answer(
        self, method: str, target: str, headers: Headers, body: Body | str, side: ClientSide
    ) -> Response:
        try:
            request = _parse(method, target, headers, body, self._head_limits)
            side.receive(request)
            return self._app(request)
        except ProxyError as error:
            return error_response(error, headers.get("accept"))
        except Exception as error:
            if self.raise_exceptions:
                self._close(None)
                raise
            log.exception("the stack failed")
            return error_response(internal_error(error), headers.get("accept"))

    def _close(self, response: Response | None) -> list[Exception]:
        """Close the response, and those of upstream that a middleware replaced and forgot."""
        opened = [*([response] if response is not None else []), *self._fake.responses]
        self._fake.responses.clear()
        failures = [failure for made in opened for failure in made.close()]
        for failure in failures:
            log.error("an on_close callback failed", exc_info=failure)
        return failures


@cache
def _defaults() -> Settings:
    return parse_settings("")


def _layers(stack: Layer | Sequence[Layer]) -> Sequence[Layer]:
    if isinstance(stack, (list, tuple)) and not _is_pair(stack):
        return cast(Sequence[Layer], stack)
    return [cast(Layer, stack)]


def _is_pair(stack: Sequence[Any]) -> bool:
    return len(stack) == 2 and (isinstance(stack[0], str) or isinstance(stack[1], Mapping))


def _named(layer: Layer) -> tuple[str, Factory]:
    if isinstance(layer, Middleware):
        return type(layer).__name__, lambda app: _rebind(layer, app)
    if not isinstance(layer, tuple):
        return getattr(layer, "__name__", repr(layer)), layer
    first, second = layer
    if isinstance(first, str):
        return first, cast(Factory, second)
    options = cast(Mapping[str, Any], second)
    return getattr(first, "__name__", repr(first)), lambda app: first(app, **options)


def _reserved_by(layer: Layer) -> Iterable[str]:
    """Return the fields that a layer reserves; of an instance nobody knows with what options it was made."""
    first, options = layer if isinstance(layer, tuple) else (layer, {})
    if not isinstance(first, type):
        return ()
    return ConfiguredMiddleware("", "", first, cast(Mapping[str, Any], options)).reserved_fields()


def _rebind(middleware: Middleware, app: App) -> App:
    middleware.app = app
    return middleware


def _parse(method: str, target: str, headers: Headers, body: Body | str, limits: HeadLimits) -> Request:
    """Make the request that the engine would make of these bytes; raises ``ClientError``."""
    if isinstance(body, str):
        body = body.encode()
    sent = Headers.from_fields([(b"host", b"Host", HOST.encode())]) if "host" not in headers else Headers()
    sent.fields += headers.fields
    if not isinstance(body, bytes):
        sent["Transfer-Encoding"] = "chunked"
    elif body:
        sent["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1".encode(), *(f[1] + b": " + f[2] for f in sent.fields)]
    request = parse_request_head(b"\r\n".join([*lines, b"", b""]), limits)
    if body:
        request.body = _streamed(body)
    return request


def _streamed(body: Body) -> Iterator[bytes]:
    """Yield the chunks of ``body``, once, as a body that arrives from a network does."""
    try:
        yield from (body,) if isinstance(body, bytes) else body
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


def _of_the_message(headers: Headers) -> Headers:
    """Return ``headers`` without what the engine would not send on, whatever a middleware sets."""
    return Headers.from_fields([f for f in headers.fields if f[0] not in CONNECTION_FIELDS])


def _as_sent_upstream(request: Request) -> Request:
    body = b"".join(request.stream())
    sent = Request(request.method, request.target, (), body, request.client)
    sent.headers = _of_the_message(request.headers)
    sent.trailers, sent.route, sent.upgrade = request.trailers, request.route, request.upgrade
    sent.content_length = len(body)
    sent.client_address = request.client_address
    sent.state.update(request.state)
    return sent


def _as_received(answer: Response) -> Response:
    """Return a new response like ``answer``, which may have to serve again."""
    response = Response(answer.status)
    response.headers = _of_the_message(answer.headers)
    response.reason, response.trailers = answer.reason, answer.trailers
    body = answer.body
    if isinstance(answer.body, bytes):
        response.content_length = len(answer.body)
    if body:
        response.body = _streamed(body)
    response.made_by = "upstream"
    add_response_fields(response)
    return response


def _as_sent_to_client(response: Response, method: str) -> ClientResponse:
    has_body = method != "HEAD" and response.status not in (204, 304)
    body = b"".join(response.stream()) if has_body else b""
    headers = _of_the_message(response.headers)
    return ClientResponse(
        response.status, response.reason, headers, body, response.trailers, response.made_by
    )
