"""Many upstream servers in one process: each has a port, and says in its answers which one it is.

    python -m tests.soak.farm --servers 2000
    python -m tests.soak.farm --servers 1 --host 10.0.0.1 --port 8000

Prints the ports on one line when all of them listen. ``GET /anything`` is answered with the target and the
address, so that whoever asked can tell whose answer he got; connections are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import signal


class Server(asyncio.Protocol):
    """One connection to one server."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            body = head.split(b" ", 2)[1] + b" %b\n" % self._name
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def serve(count: int, host: str, port: int) -> None:
    """Serve on ``count`` ports, free ones for ``port`` 0, until TERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    ports = [await _start(loop, host, port) for _ in range(count)]
    print(*ports, flush=True)
    await stopped.wait()


async def _start(loop: asyncio.AbstractEventLoop, host: str, port: int) -> int:
    name = ""
    server = await loop.create_server(lambda: Server(name), host, port, backlog=256)
    address: tuple[str, int] = server.sockets[0].getsockname()
    name = f"{address[0]}:{address[1]}"
    return address[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=2000)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.servers, arguments.host, arguments.port))
