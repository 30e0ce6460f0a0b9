"""Bodies far larger than the memory they may cost; PYROX_BIG_TESTS=1 makes them a gibibyte each way."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.integration.kit import InThread, get, response, response_head
from tests.support.origin import Origin, OriginConnection, Script, expect_request, send
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

MIB = 1 << 20
IS_BIG = os.environ.get("PYROX_BIG_TESTS") == "1"
SIZE = (1024 if IS_BIG else 64) * MIB
GROWTH = 16 * MIB
NOISE = memoryview(os.urandom(2 * MIB))

# The first connection is for the request that wakes the worker up.
ONCE: Script = [expect_request(), send(response())]

pytestmark = pytest.mark.timeout(600)


def mebibytes() -> Iterator[memoryview]:
    """Random mebibytes, each cut from the noise at another place."""
    for number in range(SIZE // MIB):
        start = number * 4099 % MIB
        yield NOISE[start : start + MIB]


def digest_of(pieces: Iterable[bytes | memoryview]) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def as_length(piece: memoryview) -> bytes | memoryview:
    return piece


def as_chunk(piece: memoryview) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


FRAMINGS = {
    "length": (f"Content-Length: {SIZE}", as_length, b""),
    "chunked": ("Transfer-Encoding: chunked", as_chunk, b"0\r\n\r\n"),
}


class Watch:
    """Samples the proxy's resident memory; afterwards ``growth`` is its largest increase."""

    def __init__(self, proxy: Proxy) -> None:
        self.growth = 0
        self._proxy = proxy
        self._before = proxy.rss()
        self._done = threading.Event()

    def __enter__(self) -> Watch:
        self._started = time.monotonic()
        self._sampler = InThread(self._sample)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._sampler.result()
        seconds = time.monotonic() - self._started
        print(f"{SIZE // MIB} MiB in {seconds:.1f} s, resident memory grew by {self.growth / MIB:.1f} MiB")

    def _sample(self) -> None:
        while not self._done.wait(0.02):
            self.growth = max(self.growth, self._proxy.rss() - self._before)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_download_far_larger_than_memory_comes_through_unchanged(framing: str) -> None:
    field, encode, last = FRAMINGS[framing]

    def send_all(connection: OriginConnection) -> None:
        connection.expect_request()
        connection.send(response_head(field))
        _send(connection.send, encode, last)

    with (
        Origin(ONCE, [send_all]) as origin,
        running_proxy({"routing": {"upstream_hosts": origin.url}}) as proxy,
    ):
        _warm_up(proxy)
        with Client(proxy.address, keep=False) as client, Watch(proxy) as watch:
            client.send(get())
            head = client.read_response_head()
            received = digest_of(client.stream_body_of(head))
    assert head.is_complete
    assert received == digest_of(mebibytes())
    assert watch.growth < GROWTH


@pytest.mark.parametrize("framing", FRAMINGS)
def test_upload_far_larger_than_memory_comes_through_unchanged(framing: str) -> None:
    field, encode, last = FRAMINGS[framing]
    received: list[tuple[int, str]] = []

    def take_all(connection: OriginConnection) -> None:
        request = connection.expect_head()
        received.append(digest_of(connection.stream_body_of(request)))
        connection.send(response())

    with Origin(ONCE, [take_all], keep=False) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}}) as proxy:
            _warm_up(proxy)
            with Client(proxy.address) as client, Watch(proxy) as watch:
                client.send(get("/", field, method="PUT"))
                _send(client.send, encode, last)
                assert client.read_response().status == 200
    assert received == [digest_of(mebibytes())]
    assert watch.growth < GROWTH


def _send(
    write: Callable[..., None], encode: Callable[[memoryview], bytes | memoryview], last: bytes
) -> None:
    for piece in mebibytes():
        write(encode(piece))
    if last:
        write(last)


def test_many_downloads_to_clients_that_do_not_read_cost_little_each() -> None:
    """64 KiB for each direction of an exchange is the bound; the kernel's buffers are not the proxy's."""
    clients_count = 50

    def send_all(connection: OriginConnection) -> None:
        connection.expect_request()
        connection.send(response_head(f"Content-Length: {SIZE}"))
        _send(connection.send, as_length, b"")

    with Origin(ONCE, [send_all], timeout=30) as origin:
        with running_proxy({"routing": {"upstream_hosts": origin.url}}) as proxy:
            _warm_up(proxy)
            clients = [Client(proxy.address) for _ in range(clients_count)]
            with Watch(proxy) as watch:
                for client in clients:
                    client.send(get())
                for client in clients:
                    client.read_response_head()
                proxy.wait_until(_is_still(proxy), "a proxy that is blocked on every side", timeout=30)
            for client in clients:
                client.reset()
    # Objects and stacks of the exchange itself come on top of its body.
    assert watch.growth < clients_count * 192 * 1024 + 4 * MIB


def _warm_up(proxy: Proxy) -> None:
    """Let the worker come up and do once what it does once."""
    with Client(proxy.address) as client:
        assert client.ask(get("/", "Connection: close")).status == 200


def _is_still(proxy: Proxy) -> Callable[[], bool]:
    """Whether the worker has used no processor time for a moment."""

    def ticks() -> int:
        [pid] = proxy.worker_pids(1)
        with open(f"/proc/{pid}/stat") as stat:
            return sum(int(number) for number in stat.read().rpartition(")")[2].split()[11:13])

    def is_still() -> bool:
        before = ticks()
        time.sleep(0.3)
        return ticks() <= before + 1

    return is_still
