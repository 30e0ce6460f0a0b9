"""Clients that ask without a pause, and count exactly: each request is answered whole, or it failed.

A load generator such as wrk counts a connection that ends between two requests like one that ends in
place of an answer. Here a connection may only end where that was announced: after an answer with
``Connection: close``. Anything else that is not a whole answer with status 200 is a failure, also a
connection that is refused, and each is kept with its reason and its time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass

from tests.support.wire import Address

_TIMEOUT = 20.0


@dataclass(frozen=True)
class Failure:
    """A request that got no whole answer; ``when`` is in seconds of the monotonic clock."""

    when: float
    reason: str


class Load:
    """``connections`` clients at once, in a thread of their own, from ``with`` to its end.

    ``keep_alive``: each asks on and on; else each request has a connection of its own, as says the
    request. ``pause`` seconds lie between an answer and the next request. ``workers`` counts the answers
    by their field ``X-Worker``.
    """

    def __init__(
        self, address: Address, connections: int, *, keep_alive: bool, target: str = "/", pause: float = 0.0
    ) -> None:
        self.address = address
        self.keep_alive = keep_alive
        self.answered = 0
        self.failures: list[Failure] = []
        self.workers: Counter[str] = Counter()
        self._count = connections
        self._pause = pause
        close = "" if keep_alive else "Connection: close\r\n"
        self._request = f"GET {target} HTTP/1.1\r\nHost: a.test\r\n{close}\r\n".encode()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * _TIMEOUT)
        if self._thread.is_alive():
            raise TimeoutError("a client of the load does not end")

    def wait_for(self, more: int, timeout: float = 30.0) -> None:
        """Wait until ``more`` requests have been answered from now on."""
        goal, deadline = self.answered + more, time.monotonic() + timeout
        while self.answered < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.answered} of {goal} answers; failures: {self.failures[:5]}")
            time.sleep(0.01)

    def reasons(self) -> Counter[str]:
        """How often requests failed, by reason."""
        return Counter(failure.reason for failure in self.failures)

    async def _run(self) -> None:
        await asyncio.gather(*[self._client() for _ in range(self._count)])

    async def _client(self) -> None:
        while not self._stop.is_set():
            try:
                reader, writer = await self._connect()
            except OSError as error:
                self._fail(f"connect: {error!r}")
                await asyncio.sleep(0.01)
                continue
            try:
                await self._ask_until_closed(reader, writer)
            finally:
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.address, str):
            return await asyncio.open_unix_connection(self.address)
        return await asyncio.open_connection(*self.address)

    async def _ask_until_closed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                writer.write(self._request)
                async with asyncio.timeout(_TIMEOUT):
                    is_last = await self._read_answer(reader)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                partial = getattr(error, "partial", b"")
                where = "first" if number == 1 else "later"
                self._fail(f"{type(error).__name__} after {len(partial)} bytes, {where} request")
                return
            if is_last:
                return
            if self._pause:
                await asyncio.sleep(self._pause)

    async def _read_answer(self, reader: asyncio.StreamReader) -> bool:
        """Read one answer; returns whether it announced the end of the connection."""
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:-2])
        }
        await reader.readexactly(int(fields.get(b"content-length", b"0")))
        if lines[0].split()[1] == b"200":
            self.answered += 1
        else:
            self._fail(lines[0].decode())
        self.workers[fields.get(b"x-worker", b"").decode()] += 1
        return fields.get(b"connection", b"").lower() == b"close"

    def _fail(self, reason: str) -> None:
        self.failures.append(Failure(time.monotonic(), reason))
