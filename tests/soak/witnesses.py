"""Clients that ask the demo upstream through a proxy, judge every answer, and remember when it was what.

Each request carries a token, and the right answer follows from it (``loadtests/proof.py``), so an answer
that is another's, cut off, doubled or mixed up does not pass. The verdicts:

* ``right``
* a status such as ``503``: the proxy said that it could not
* ``lost``: the connection was refused, or ended before the whole answer was there, for all to see
* ``late``: nothing came within ``PATIENCE`` seconds
* ``wrong: ...``: an answer that says it is whole and well, and is not the right one
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from loadtests import proof
from tests.support.wire import Address

PATIENCE = 15.0
RIGHT, LOST, LATE = "right", "lost", "late"


@dataclass(frozen=True, slots=True)
class Testimony:
    """What came of one request; times are monotonic."""

    began: float
    ended: float
    verdict: str
    request: str


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and what finds the fault of the body that answers it."""

    name: str
    head: str
    body: bytes
    fault_of: Callable[[bytes], str]

    def encode(self) -> bytes:
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        return f"{self.head} HTTP/1.1\r\nHost: a.test\r\n{length}\r\n".encode() + self.body


def download(least: int, most: int) -> Question:
    """A GET whose answer has a size between these."""
    token, size = proof.new_token(), proof.size_between(least, most)
    head = f"GET /random/{size}?seed={token}"
    return Question("download", head, b"", lambda body: proof.fault_of_content(body, token, size))


def echo() -> Question:
    """A POST that comes back."""
    target = f"/echo?{proof.new_token()}"
    body = proof.new_token() * random.randrange(1, 200)
    return Question(
        "echo", f"POST {target}", body.encode(), lambda got: proof.fault_of_echo(got, target, body)
    )


def upload() -> Question:
    """A PUT of a few hundred KiB whose hash comes back."""
    body = proof.content_of(proof.new_token(), proof.size_between(10_000, 500_000))
    return Question("upload", "PUT /upload", body, lambda got: proof.fault_of_upload(got, body))


def any_question() -> Question:
    """Mostly small answers; now and then an upload, or one of up to a MiB."""
    makers: list[tuple[Callable[[], Question], int]] = [
        (lambda: download(100, 20_000), 12),
        (echo, 5),
        (upload, 2),
        (lambda: download(100_000, 1_000_000), 1),
    ]
    [maker] = random.choices([maker for maker, _ in makers], [weight for _, weight in makers])
    return maker()


class Witnesses:
    """``count`` clients at once, in a thread of their own, from ``with`` to its end.

    ``pause`` seconds lie between an answer and the next request, about; a tenth of the requests are the
    last ones of their connections. ``testimonies`` grows by one for each request.
    """

    def __init__(self, address: Address, count: int = 20, pause: float = 0.2) -> None:
        self.testimonies: list[Testimony] = []
        self._address = address
        self._count = count
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Witnesses:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * PATIENCE)
        if self._thread.is_alive():
            raise TimeoutError("a client does not end")

    def verdicts(self, since: float = 0.0, until: float = float("inf")) -> Counter[str]:
        """How often there was which verdict, of the requests that began between these times."""
        return Counter(each.verdict for each in self.testimonies if since <= each.began < until)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self._count)))

    async def _client(self) -> None:
        connection = _Connection(self._address)
        await asyncio.sleep(random.random() * self._pause)
        while not self._stop.is_set():
            question = any_question()
            began = time.monotonic()
            verdict = await connection.ask(question)
            self.testimonies.append(Testimony(began, time.monotonic(), verdict, question.name))
            if verdict in (LOST, LATE) or random.random() < 0.1:
                connection.close()
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))
        connection.close()


class _Connection:
    """A connection that is opened when it is needed."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, question: Question) -> str:
        """Ask, and return the verdict on the answer."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._exchange(question)
        except TimeoutError:
            return LATE
        except (OSError, asyncio.IncompleteReadError):
            return LOST

    async def _exchange(self, question: Question) -> str:
        if self._streams is None:
            host, port = self._address
            self._streams = await asyncio.open_connection(host, port)
        reader, writer = self._streams
        writer.write(question.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        _, _, length = head.partition("\r\ncontent-length: ")
        body = await reader.readexactly(int(length.partition("\r\n")[0]))
        if "\r\nconnection: close\r\n" in head:
            self.close()
        status = head.split(" ", 2)[1]
        if status != "200":
            return status
        fault = question.fault_of(body)
        return f"wrong: {fault}" if fault else RIGHT

    def close(self) -> None:
        """Close it, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
