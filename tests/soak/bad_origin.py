"""A server that a soak test spoils: ``python -m tests.soak.bad_origin FOLDER NAME PORT``.

``FOLDER/NAME.mode`` says how it behaves, from request to request. What it has executed it writes, one line
for each request, to ``FOLDER/NAME.log``, before it answers or fails: method and number.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

BODY = b"x" * 2000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
MODES = ("well", "slow", "reset", "part of a head", "part of a body", "garbage", "503")


class Origin:
    """Serves on one port until it is killed."""

    def __init__(self, folder: Path, name: str) -> None:
        self._mode_file = folder / f"{name}.mode"
        self._log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self._serve_client, "127.0.0.1", port, backlog=1000)
        await server.serve_forever()

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                method, target, _ = head.partition(b"\r\n")[0].split(b" ")
                os.write(self._log, b"%b %b\n" % (method, target.rpartition(b"/")[2]))
                if not await self._answer(writer, self._mode_file.read_text()):
                    return
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, mode: str) -> bool:
        """Returns whether the connection may go on."""
        if mode == "slow":
            await asyncio.sleep(5)
        if mode == "503":
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        elif mode in ("well", "slow"):
            writer.write(OK)
        else:
            parts = {
                "part of a head": OK[:20],
                "part of a body": OK[:500],
                "garbage": b"\x00\x01 no HTTP\r\n\r\n",
            }
            writer.write(parts.get(mode, b""))
            await writer.drain()
            if mode != "garbage":
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4)
                )
            return False
        await writer.drain()
        return True


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


if __name__ == "__main__":
    asyncio.run(Origin(Path(sys.argv[1]), sys.argv[2]).serve(int(sys.argv[3])))
