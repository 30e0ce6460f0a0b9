#!/usr/bin/env python3
"""Send streams of many gibibytes through a transform, and watch the proxy's memory::

    python -m tests.soak.transforms [--gib 10] [--growth 32] [plain gzip zstd br events]

``--gib`` is how much text there is in each stream once decoded, ``--growth`` how many MiB the proxy may grow
by. What comes out is counted, and for a plain stream also what was replaced in it. The exit status is 0
when all of it holds.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable

from pyrox.http.encoding import Encoder
from tests.integration.kit import get, response, response_head
from tests.support.origin import Origin, OriginConnection, expect_request, send
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

MIB = 1 << 20
LINE = 'data: {"user": "%x", "note": "the quick brown fox jumps over the lazy dog", "n": %d}\n\n'
NOISE = random.Random(1)  # what repeats too often is a bomb
PIECE = "".join(
    [LINE % (NOISE.getrandbits(64), NOISE.randrange(10**9, 10**10)) for _ in range(10_000)]
).encode()
STREAMS = {"plain": "", "gzip": "gzip", "zstd": "zstd", "br": "br", "events": ""}

CONFIG = {
    "middleware": {
        "stack": ["substitute"],
        "substitute": {"literal": ["brown => green"], "regex": ["n.: [0-9]{10} => n"]},
    },
}


class Watch:
    """Samples the resident memory of the proxy; ``growth`` is the most that it has grown by."""

    def __init__(self, proxy: Proxy) -> None:
        self.growth = 0
        self._proxy = proxy
        self._before = proxy.rss()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(0.05):
            self.growth = max(self.growth, self._proxy.rss() - self._before)


def sender(name: str, count: int) -> Callable[[OriginConnection], None]:
    """Return what sends ``PIECE`` ``count`` times; gzip's members and zstd's frames may follow each other."""
    coding = STREAMS[name]
    encoder = Encoder([coding]) if coding else None
    head = ["Transfer-Encoding: chunked"]
    head.append("Content-Type: text/event-stream" if name == "events" else "Content-Type: text/plain")
    head += [f"Content-Encoding: {coding}"] if coding else []
    whole = Encoder([coding]).finish(PIECE) if coding in ("gzip", "zstd") else PIECE

    def send_all(connection: OriginConnection) -> None:
        connection.expect_request()
        connection.send(response_head(*head))
        for _ in range(count):
            data = whole if encoder is None or coding != "br" else encoder.encode(PIECE) + encoder.flush()
            connection.send(b"%x\r\n%b\r\n" % (len(data), data))
        if encoder is not None and coding == "br":
            data = encoder.finish()
            connection.send(b"%x\r\n%b\r\n" % (len(data), data))
        connection.send(b"0\r\n\r\n")

    return send_all


def run(name: str, gib: float, growth: int) -> bool:
    count = int(gib * 1024 * MIB / len(PIECE))
    total = count * len(PIECE)
    warm_up = [expect_request(), send(response())]
    with Origin(warm_up, [sender(name, count)], timeout=600) as origin:
        with running_proxy({**CONFIG, "routing": {"upstream_hosts": origin.url}}) as proxy:
            with Client(proxy.address) as client:
                client.ask(get("/", "Connection: close"))
            started = time.monotonic()
            with Client(proxy.address, timeout=600, keep=False) as client, Watch(proxy) as watch:
                client.send(get("/", "Accept-Encoding: gzip, br, zstd"))
                answer = client.read_response_head()
                received = greens = 0
                for piece in client.stream_body_of(answer):
                    received += len(piece)
                    greens += piece.count(b"green")
            seconds = time.monotonic() - started
    is_whole = answer.is_complete and (bool(STREAMS[name]) or greens >= 0.99 * count * PIECE.count(b"brown"))
    is_well = is_whole and watch.growth <= growth * MIB
    print(
        f"{name}: {total / MIB:.0f} MiB of text, {received / MIB:.0f} MiB received in {seconds:.0f} s, "
        f"resident memory grew by {watch.growth / MIB:.1f} MiB: {'well' if is_well else 'NOT WELL'}",
        flush=True,
    )
    return is_well


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("streams", nargs="*", metavar="STREAM", help=" ".join(STREAMS))
    parser.add_argument("--gib", type=float, default=10.0)
    parser.add_argument("--growth", type=int, default=32)
    arguments = parser.parse_args()
    outcomes = [run(name, arguments.gib, arguments.growth) for name in arguments.streams or STREAMS]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
