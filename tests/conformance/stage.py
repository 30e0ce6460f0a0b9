"""One proxy, its upstream and its client: what a transcript is played on."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conformance.expectations import ProxysAnswer
from tests.conformance.upstream import Upstream
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

TIMEOUT = 8.0
_PROBE = b"GET /still-serving HTTP/1.1\r\nHost: probe.test\r\n\r\n"
_PROBE_ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngood"


@dataclass(frozen=True)
class Setting:
    """What the stage is set up with: the proxy's configuration, and what its probes get."""

    config: str
    probe_status: int


class Stage:
    """Plays one case after the other; ``begin`` and ``finish`` stand around each."""

    def __init__(self, setting: Setting, proxy: Proxy, upstream: Upstream) -> None:
        self.setting = setting
        self.proxy = proxy
        self.upstream = upstream
        self.workers = proxy.worker_pids(1)
        self.begin()

    def begin(self) -> None:
        """Take a new client, which connects when it first speaks."""
        self._client: Client | None = None
        self.probe_on_same_connection = False
        self.may_cut = False
        self.expects_reuse = False

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client(self.proxy.address, TIMEOUT)
        return self._client

    def finish(self) -> None:
        """Assert that nothing happened that was not written, and that the same process still serves."""
        try:
            self._probe()
            assert self.may_cut or not self.upstream.cut, f"upstream saw {self.upstream.cut!r}"
            assert self.proxy.worker_pids() == self.workers, f"another worker than {self.workers}"
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close what a case has opened."""
        if self._client is not None:
            self._client.close()
        self.upstream.reset()

    def _probe(self) -> None:
        client = self.client if self.probe_on_same_connection else Client(self.proxy.address, TIMEOUT)
        with client:
            client.send(_PROBE)
            if self.setting.probe_status == 200:
                self._answer_probe()
                response = client.read_final_response()
                assert (response.status, response.body) == (200, b"good")
            else:
                ProxysAnswer(self.setting.probe_status, closes=False).assert_response(client.read_response())

    def _answer_probe(self) -> None:
        before = self.upstream.latest
        seen = self.upstream.next_request()
        assert seen.start_line == _PROBE.split(b"\r\n")[0], f"the upstream saw {seen!r}"
        assert self.upstream.latest is not None
        if self.expects_reuse:
            assert self.upstream.latest is before, "the upstream's connection was not used again"
        self.upstream.latest.send(_PROBE_ANSWER)


@contextlib.contextmanager
def opened_stage(setting: Setting) -> Iterator[Stage]:
    """Start a proxy with ``setting.config``, where ``${UPSTREAM}`` is the upstream's URL.

    ``${REFUSING}`` is the URL of a port that nobody listens on, ``${SILENT}`` one that never accepts.
    """
    upstream = Upstream(TIMEOUT)
    with contextlib.closing(upstream), _refusing() as refusing, _silent() as silent:
        env = {"UPSTREAM": upstream.url, "REFUSING": refusing, "SILENT": silent}
        with running_proxy(setting.config, env=env) as proxy:
            stage = Stage(setting, proxy, upstream)
            yield stage
            stage.abandon()


@contextlib.contextmanager
def _refusing() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield _url(bound)


@contextlib.contextmanager
def _silent() -> Iterator[str]:
    """A full backlog: the kernel drops every further SYN."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield _url(listener)


def _url(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"
