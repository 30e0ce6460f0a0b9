"""An upstream server with moods, and a journal of every request that it took::

    python -m tests.soak.moody --port 8001 --journal FILE

A mood is a line on standard input: ``well``; ``slow`` answers after three seconds; ``error`` with 503;
``garbage`` with what is no HTTP; ``reset`` breaks off in the middle of the body; ``refuse`` takes no
connections. The answer to a request is its target. The journal has a line ``METHOD TARGET`` for each request,
written before the answer: what is in it was executed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import struct
import sys

MOODS = ("slow", "error", "garbage", "reset", "refuse")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, with no time to linger


class Moody:
    """The server; ``mood`` may change at any time."""

    def __init__(self, port: int, journal: int) -> None:
        self.mood = "well"
        self._port = port
        self._journal = journal
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def be(self, mood: str) -> None:
        """Change the mood."""
        self.mood = mood
        if mood == "refuse" and self._listener is not None:
            self._listener.close()
            self._listener = None
            for writer in self._open:
                writer.close()
        elif mood != "refuse" and self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve, "127.0.0.1", self._port, backlog=1024, reuse_address=True
            )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the proxy may leave at any time
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; returns whether there may be another."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b" ", 2)
        length = int((head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) or b"0")
        await reader.readexactly(length)
        os.write(self._journal, method + b" " + target + b"\n")
        mood = self.mood
        if mood == "slow":
            await asyncio.sleep(3)
        if mood == "garbage":
            writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            return False
        status = b"503 Service Unavailable" if mood == "error" else b"200 OK"
        announced = len(target) + 1000 if mood == "reset" else len(target)
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, announced, target))
        await writer.drain()
        if mood == "reset":
            await asyncio.sleep(0.01)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
            return False
        return True


async def main(port: int, journal: str) -> None:
    """Serve until standard input ends."""
    moody = Moody(port, os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    await moody.be("well")
    print("serving", flush=True)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        await moody.be(line.decode().strip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", required=True)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.port, arguments.journal))
