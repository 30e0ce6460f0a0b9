"""Words for what every integration test says: requests, and what the access log has to say of them."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.origin import Origin, OriginConnection, Step
from tests.support.proxy import Proxy
from tests.support.wire import Address, Client

Record = dict[str, Any]

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Encode a request without a body; ``fields`` are whole field lines."""
    lines = [f"{method} {target} HTTP/{version}", "Host: a.test", *fields, "", ""]
    return "\r\n".join(lines).encode()


def post(target: str = "/", body: bytes = b"", *fields: str, method: str = "POST") -> bytes:
    """Encode a request with a body of known length."""
    return get(target, f"Content-Length: {len(body)}", *fields, method=method) + body


def via(origin: Origin) -> str:
    """The field line that makes the shared proxy send a request to ``origin``."""
    return f"X-Origin: {origin.url}"


def response(body: bytes = b"ok", *fields: str, status: str = "200 OK") -> bytes:
    """Encode a response with a body of known length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def response_head(*fields: str, status: str = "200 OK") -> bytes:
    """Encode the head of a response."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()


CHUNKED_HEAD = response_head("Transfer-Encoding: chunked")


def records_of(proxy: Proxy, target: str, count: int = 1) -> list[Record]:
    """The access log's records of ``target``, waiting until there are at least ``count``; json format."""

    def found() -> list[Record]:
        _flush_log(proxy)
        return [record for record in map(_parsed, proxy.access_log()) if record["target"] == target]

    proxy.wait_until(lambda: len(found()) >= count, f"{count} access log records of {target}")
    return found()


def _parsed(line: str) -> Record:
    return json.loads(line) if line.endswith("}") else {"target": None}  # the rest is being written


def _flush_log(proxy: Proxy) -> None:
    """A line as long as this one is written at once, and those before it; waiting takes up to a second."""
    with Client(proxy.address) as client:
        client.ask(get("/flush", "Referer: " + "x" * 9000, "Max-Forwards: 0", method="OPTIONS"))


def record_of(proxy: Proxy, target: str) -> Record:
    """The one access log record of ``target``."""
    [record] = records_of(proxy, target)
    return record


def tell(event: threading.Event) -> Step:
    """A script's step: let the test know that the script has come this far."""
    return lambda connection: event.set()


def census(proxy: Proxy) -> dict[str, int]:
    """How many objects of the engine's the proxy holds, by type; needs the ``census`` middleware."""
    with Client(proxy.address) as client:
        return json.loads(client.ask(get("/census")).body)  # type: ignore[no-any-return]


# The one that asks is a client with an exchange, too.
_NOTHING_BUT_THE_CENSUS = {"ClientStream": 1, "LiveExchange": 1, "UpstreamStream": 0, "UpstreamExchange": 0}


@contextlib.contextmanager
def nothing_left_behind(proxy: Proxy) -> Iterator[None]:
    """At its end the proxy must have no descriptor, greenlet or stream more than at the start."""

    def is_idle(counts: dict[str, int]) -> bool:
        return counts.items() >= _NOTHING_BUT_THE_CENSUS.items()

    proxy.wait_until(lambda: is_idle(census(proxy)), "an idle proxy")
    descriptors, greenlets = proxy.fd_count(), census(proxy)["greenlet"] + 1
    spawned = census(proxy)["Greenlet"]  # that run all the time, such as the one that looks after clusters
    yield
    proxy.wait_until(lambda: is_idle(census(proxy)), "an idle proxy")
    proxy.wait_until(lambda: census(proxy)["greenlet"] <= greenlets, f"return to {greenlets} greenlets")
    assert census(proxy)["Greenlet"] == spawned
    proxy.wait_until(lambda: proxy.fd_count() <= descriptors, f"return to {descriptors} descriptors")


def start_tls(context: ssl.SSLContext) -> Step:
    """A script's step: speak TLS from here on."""

    def step(connection: OriginConnection) -> None:
        connection.socket = context.wrap_socket(connection.socket, server_side=True)

    return step


def tls_client(address: Address, context: ssl.SSLContext, name: str = "localhost") -> Client:
    """A client that speaks TLS."""
    client = Client(address)
    try:
        client.socket = context.wrap_socket(client.socket, server_hostname=name)
    except BaseException:
        client.close()
        raise
    return client


def pattern(size: int, piece: int = 1 << 16) -> Iterator[bytes]:
    """Yield ``size`` bytes in pieces of at most ``piece``; no two neighbours are alike."""
    number = 0
    while size > 0:
        data = (number.to_bytes(8, "big") * (piece // 8))[:size]
        number += 1
        size -= len(data)
        yield data


class InThread:
    """Runs ``function`` beside the test; ``result()`` waits for it and raises what it raised."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments
        self._outcome: Any = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        function, arguments = self._call
        try:
            self._outcome = function(*arguments)
        except BaseException as failure:
            self._failure = failure

    def result(self, timeout: float = 30.0) -> Any:
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"still running after {timeout} s")
        if self._failure is not None:
            raise self._failure
        return self._outcome
