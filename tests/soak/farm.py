"""Many upstream servers in one process: each has a port, and says in its answers which one it is.

    python -m tests.soak.farm --servers 2000

Prints the ports on one line when all of them listen. ``GET /anything`` is answered with the target and the
port, so that whoever asked can tell whose answer he got; connections are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import signal


class Server(asyncio.Protocol):
    """One connection to one server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            body = head.split(b" ", 2)[1] + b" %d\n" % self._port
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def serve(count: int) -> None:
    """Serve on ``count`` free ports until TERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    ports = [await _start(loop) for _ in range(count)]
    print(*ports, flush=True)
    await stopped.wait()


async def _start(loop: asyncio.AbstractEventLoop) -> int:
    port = 0
    server = await loop.create_server(lambda: Server(port), "127.0.0.1", 0, backlog=256)
    port = server.sockets[0].getsockname()[1]
    return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=2000)
    asyncio.run(serve(parser.parse_args().servers))
