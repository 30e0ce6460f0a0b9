"""``decompress``: undo content codings that the receiver cannot (RFC 9110 section 8.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from pyrox.errors import ClientError, HTTPError, ProxyError, UpstreamError
from pyrox.http.accept import add_vary, field_value, parse_choices
from pyrox.http.body import known_length
from pyrox.http.coding import available_codings, parse_codings
from pyrox.http.decoding import Decoder
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.representation import forbids_transformation, forget_bytes, weaken_etag
from pyrox.middleware.sizes import read_size


class Decompress(Middleware):
    """Decodes request bodies for upstreams that take plain ones, and responses for clients that must.

    A request body whose coding is not known here gets 415 with the list of those that are. A response is
    decoded when the client did not ask for its coding; one with a coding that is not known stays as it is,
    and so does what Cache-Control: no-transform forbids to change, and a part (206). Bodies are decoded as
    they stream by, at most 64 KiB at once.

    A few bytes can stand for millions. A request over a limit is answered with 413, a response over one
    with 502 or, once its head is out, broken off; data that is no such coding, with 400 and 502.

    * ``request``, ``response``: decode this side. Default ``yes`` both.
    * ``max_request_size``: the most bytes of a decoded request body: ``65536``, ``64k``, ``10m``. Default
      ``10m``.
    * ``max_response_size``: the same of a response. Default ``none``.
    * ``max_ratio``: how many times longer a decoded body may be, beyond its first MiB. Default 100; text
      has 3 to 20, and the most repetitive logs some hundred.
    """

    def __init__(
        self,
        app: App,
        request: bool = True,
        response: bool = True,
        max_request_size: int | str | None = "10m",
        max_response_size: int | str | None = None,
        max_ratio: int = 100,
    ) -> None:
        super().__init__(app)
        if not request and not response:
            raise ValueError("request: neither requests nor responses are decoded; leave decompress out")
        if max_ratio < 1:
            raise ValueError(f"max_ratio: {max_ratio} is less than 1")
        self._requests, self._responses = request, response
        self._max_request_size = _limit("max_request_size", max_request_size)
        self._max_response_size = _limit("max_response_size", max_response_size)
        self._max_ratio = max_ratio
        self._known = available_codings()

    def __call__(self, request: Request) -> Response:
        if self._requests:
            coded_by = field_value(request.headers, "content-encoding")
            if coded_by is not None and known_length(request) != 0:
                self._decode_request(request, coded_by)
        accepted = field_value(request.headers, "accept-encoding") if self._responses else None
        response = self.app(request)
        if self._responses:
            coded_by = field_value(response.headers, "content-encoding")
            if coded_by is not None:
                self._decode_response(request, response, coded_by, accepted)
        return response

    def _decode_request(self, request: Request, coded_by: str) -> None:
        codings = parse_codings(coded_by, self._known)
        if codings is None:
            known = ", ".join(self._known)
            # RFC 9110 12.5.3: what would have been accepted.
            raise HTTPError(415, f"the body may be coded with {known}", {"Accept-Encoding": known})
        if codings:
            decoder = Decoder(codings, ClientError, self._max_ratio)
            request.body = _decoded(request.stream(), decoder, self._max_request_size, _request_too_long)
        request.headers.discard("Content-Encoding")
        forget_bytes(request.headers)

    def _decode_response(
        self, request: Request, response: Response, coded_by: str, accepted: str | None
    ) -> None:
        codings = parse_codings(coded_by, self._known)
        headers = response.headers
        if not codings or response.status in (206, 304) or forbids_transformation(headers):
            return
        add_vary(headers, "Accept-Encoding")
        if _accepts(accepted, codings):
            return
        # Of HEAD there is nothing to decode, and the length of what there would be is not known.
        decoder = Decoder(codings, UpstreamError, self._max_ratio)
        response.body = _decoded(response.stream(), decoder, self._max_response_size, _response_too_long)
        response.content_length = None
        headers.discard("Content-Encoding")
        weaken_etag(headers)
        forget_bytes(headers)


def _limit(option: str, size: int | str | None) -> int | None:
    return None if size is None else read_size(option, size)


def _request_too_long(limit: int) -> ProxyError:
    return HTTPError(413, f"the body, decoded, may have {limit} bytes at most")


def _response_too_long(limit: int) -> ProxyError:
    return UpstreamError(f"the decoded body is over {limit} bytes", proxy_status="http_response_body_size")


def _accepts(accept_encoding: str | None, codings: Sequence[str]) -> bool:
    """Tell whether a client asked for all of these; who sends no Accept-Encoding has asked for none."""
    weights = {
        choice.name.removeprefix("x-"): choice.weight for choice in reversed(parse_choices(accept_encoding))
    }
    return all(weights.get(coding, weights.get("*", 0.0)) > 0.0 for coding in codings)


def _decoded(
    chunks: Iterable[bytes], decoder: Decoder, limit: int | None, error: Callable[[int], ProxyError]
) -> Iterator[bytes]:
    """Yield the plain body: a generator, not a filter, because it holds one piece at a time."""
    size = 0
    for chunk in chunks:
        for piece in decoder.decode(chunk):
            size += len(piece)
            if limit is not None and size > limit:
                raise error(limit)
            yield piece
    decoder.finish()
