"""Old filters in a running proxy, and what went over both of its wires because of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.integration.kit import get, response
from tests.support.config import Value
from tests.support.messages import WireRequest, WireResponse
from tests.support.origin import Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

Answer = bytes | Callable[[WireRequest], bytes]
Options = Mapping[str, Value]

HERE = Path(__file__).parent
SAMPLES = HERE / "samples"
FILTERS = HERE / "filters"

PLAIN = response(b"plain", "Content-Type: text/plain", "Date: today")
# What the proxy adds to each request that it sends on.
ADDED = (
    "Via: 1.1 pyrox\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n"
)


class Scene:
    """A client on one keep-alive connection, the proxy with its filters, and the upstream.

    ``sent_up`` and ``sent_down`` are the exact bytes that the last request made the proxy send to the
    upstream and to the client; only the value of a Date that the proxy wrote is replaced by ``now``.
    """

    def __init__(self, proxy: Proxy, origin: Origin, client: Client) -> None:
        self.proxy = proxy
        self.origin = origin
        self.client = client
        self._up = self._down = 0

    def ask(self, request: bytes, method: str = "GET") -> WireResponse:
        """Send ``request`` and read its final response."""
        self._up, self._down = len(self._received_upstream()), len(self.client.received)
        return self.client.ask(request, method)

    @property
    def sent_up(self) -> bytes:
        return self._received_upstream()[self._up :]

    @property
    def sent_down(self) -> bytes:
        sent = bytes(self.client.received[self._down :])
        return re.sub(rb"Date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", b"Date: now", sent)

    def ask_plain(self, target: str = "/plain", *fields: str) -> None:
        """A further request on the same connection must come and go as it was sent."""
        answer = self.ask(get(target, *fields))
        assert (answer.status, answer.body) == (200, b"plain")
        assert self.sent_up.startswith(f"GET {target} HTTP/1.1\r\nHost: a.test\r\n".encode())

    def _received_upstream(self) -> bytes:
        return b"".join(bytes(connection.received) for connection in self.origin.connections)


@contextmanager
def scene(
    upstream: str = "",
    downstream: str = "",
    aliases: Mapping[str, str] | None = None,
    *,
    answers: Mapping[str, Answer] | None = None,
    plugins: Sequence[Path] = (FILTERS,),
    failures: int | None = 0,
    env: Mapping[str, str] | None = None,
    **sections: Options,
) -> Iterator[Scene]:
    """Run a proxy with the pipelines ``upstream`` and ``downstream`` of ``aliases``.

    The upstream answers a target that is in ``answers`` with that, else with ``PLAIN``. ``failures`` is
    how many tracebacks there must be in the log in the end, None for any.
    """

    def answer(request: WireRequest) -> bytes:
        found = (answers or {}).get(request.target, PLAIN)
        return found if isinstance(found, bytes) else found(request)

    pipelines = {"upstream": upstream, "downstream": downstream}
    listed: Options = {key: names.replace(" ", "").split(",") for key, names in pipelines.items() if names}
    # A scene that many tests share leaves a connection to its upstream idle for as long as they take.
    with Origin(serve(answer), timeout=600.0) as origin:
        config: dict[str, Options] = {
            "core": {"plugin_paths": [str(folder) for folder in plugins]},
            "routing": {"upstream_hosts": origin.url},
            **sections,
            "pipeline": {**(aliases or {}), **listed, **sections.get("pipeline", {})},
        }
        # What filters print is to be seen at once by itself.
        with running_proxy(config, env={"PYTHONUNBUFFERED": "", **(env or {})}) as proxy:
            with Client(proxy.address) as client:
                yield Scene(proxy, origin, client)
    assert failures in (None, proxy.error_log().count("Traceback"))


def request_line_and(*fields: str, target: str = "/", method: str = "GET") -> bytes:
    """A request's head as it goes upstream: what the proxy adds, then ``fields``."""
    more = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {target} HTTP/1.1\r\nHost: a.test\r\n{ADDED}{more}\r\n".encode()


def chunked(*chunks: bytes) -> bytes:
    """A whole chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
