"""What the demo upstream answers: one function an endpoint, no sockets.

Bodies are read and made in pieces of at most 64 KiB, so that a body of any size passes in constant
memory. Every answer is a function of the request alone, so that a test knows what to expect.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qs

import gevent

PIECE = 65536
ECHO_LIMIT = 1 << 20  # /echo holds the body in memory
LONGEST_DELAY = 600.0
SSE_INTERVAL = 0.2

# Byte i of /bytes/N is i % 256, so any range of it can be checked.
PATTERN = bytes(range(256)) * (PIECE // 256)

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Pyrox demo</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem }
dt { font-family: monospace; margin-top: .8rem } dd { margin-left: 1.5rem }
</style>
<h1>It works.</h1>
<p>This is the demo upstream of Pyrox. If you came through the proxy, <a href="/headers">/headers</a>
shows what it added to your request.</p>
<dl>
<dt><a href="/echo?q=1">/echo</a><dd>method, target, headers and body (up to 1 MiB) as JSON
<dt><a href="/headers">/headers</a><dd>the request's header lines, in order, as JSON
<dt><a href="/delay/1">/delay/SECONDS</a><dd>answers after that long, 600 s at most
<dt><a href="/bytes/1024">/bytes/N</a><dd>N bytes with a Content-Length; byte i is i % 256
<dt><a href="/random/1024?seed=1">/random/N?seed=TEXT</a><dd>N bytes that follow from the seed
<dt><a href="/stream/10">/stream/N</a><dd>N lines of text, one chunk each
<dt><a href="/status/418">/status/CODE</a><dd>an answer with that status, 200 to 599
<dt><a href="/sse?count=5">/sse?count=N</a><dd>N server-sent events, 0.2 s apart; 10 without a count
<dt>/upload<dd>size and SHA-256 of the request's body, of any length
<dt>/ws<dd>a WebSocket that sends each message back: <button onclick="talk()">try</button>
<output id="said"></output>
</dl>
<script>
function talk() {
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws");
  const say = text => document.getElementById("said").textContent = text;
  socket.onopen = () => socket.send("hello");
  socket.onmessage = event => { say("it said: " + event.data); socket.close(); };
  socket.onerror = () => say("it failed");
}
</script>
</html>
"""

Answer = tuple[int, list[tuple[str, str]], Iterable[bytes]]


class Reader(Protocol):
    """The body of a request; ``read`` returns ``b""`` after its end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request: ``argument`` is what follows the endpoint's name in the path."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    argument: str
    query: str
    body: Reader


def answer(call: Call, endpoint: str) -> Answer:
    """Answer ``call``: 404 for an unknown endpoint, 400 for an argument that it cannot take."""
    function = ENDPOINTS.get(endpoint)
    if function is None:
        return _text(404, f"there is no /{endpoint} here; / lists what is\n")
    try:
        return function(call)
    except ValueError as error:
        return _text(400, f"{error}\n")


def status_line(status: int) -> str:
    """Return ``"404 Not Found"``; a status without a registered phrase gets ``"Unassigned"``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unassigned"


def _page(call: Call) -> Answer:
    return 200, [("Content-Type", "text/html; charset=utf-8")], [PAGE.encode()]


def _echo(call: Call) -> Answer:
    body = b"".join(_pieces(call.body, ECHO_LIMIT + 1))
    if len(body) > ECHO_LIMIT:
        return _text(413, f"/echo takes {ECHO_LIMIT} bytes; /upload takes any number\n")
    report: dict[str, Any] = {
        "method": call.method,
        "target": call.target,
        "version": call.version,
        "headers": _lines(call),
    }
    try:
        report["body"] = body.decode()
    except UnicodeDecodeError:
        report["body_base64"] = base64.b64encode(body).decode()
    return _json(report)


def _headers(call: Call) -> Answer:
    return _json(_lines(call))


def _delay(call: Call) -> Answer:
    seconds = float(call.argument)
    if not 0 <= seconds <= LONGEST_DELAY:
        raise ValueError(f"a delay is 0 to {LONGEST_DELAY:g} seconds, not {call.argument}")
    gevent.sleep(seconds)
    return _text(200, f"waited {seconds:g} s\n")


def _bytes(call: Call) -> Answer:
    size = _count(call.argument)
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]
    return 200, headers, _pattern(size)


def _random(call: Call) -> Answer:
    size = _count(call.argument)
    seed = parse_qs(call.query).get("seed", [""])[0]
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]
    return 200, headers, random_pieces(seed, size)


def _stream(call: Call) -> Answer:
    lines = (b"line %d\n" % number for number in range(_count(call.argument)))
    return 200, [("Content-Type", "text/plain")], lines


def _status(call: Call) -> Answer:
    status = _count(call.argument)
    if not 200 <= status <= 599:
        raise ValueError(f"a final status is 200 to 599, not {status}")
    if status in (204, 205, 304):  # RFC 9110 15.3.5, 15.3.6, 15.4.5: they have no content
        return status, [], []
    return _text(status, status_line(status) + "\n")


def _sse(call: Call) -> Answer:
    count = _count(parse_qs(call.query).get("count", ["10"])[0])
    headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
    return 200, headers, _events(count)


def _upload(call: Call) -> Answer:
    size, digest = 0, hashlib.sha256()
    for piece in _pieces(call.body):
        size += len(piece)
        digest.update(piece)
    return _json({"size": size, "sha256": digest.hexdigest()})


def _not_upgraded(call: Call) -> Answer:
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Content-Type", "text/plain")]
    return 426, headers, [b"/ws speaks WebSocket only\n"]


ENDPOINTS: dict[str, Callable[[Call], Answer]] = {
    "": _page,
    "bytes": _bytes,
    "delay": _delay,
    "echo": _echo,
    "headers": _headers,
    "random": _random,
    "sse": _sse,
    "status": _status,
    "stream": _stream,
    "upload": _upload,
    "ws": _not_upgraded,
}


def _text(status: int, text: str) -> Answer:
    return status, [("Content-Type", "text/plain; charset=utf-8")], [text.encode()]


def _json(value: Any) -> Answer:
    return 200, [("Content-Type", "application/json")], [json.dumps(value, indent=2).encode() + b"\n"]


def _lines(call: Call) -> list[str]:
    return [f"{name}: {value}" for name, value in call.headers]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"a whole number is needed, not {text!r}")
    return int(text)


def _pieces(body: Reader, limit: int | None = None) -> Iterator[bytes]:
    """Yield the body, or its first ``limit`` bytes."""
    left = limit
    while left is None or left > 0:
        piece = body.read(PIECE if left is None else min(PIECE, left))
        if not piece:
            return
        if left is not None:
            left -= len(piece)
        yield piece


def _pattern(size: int) -> Iterator[bytes]:
    for _ in range(size // PIECE):
        yield PATTERN
    yield PATTERN[: size % PIECE]


def random_pieces(seed: str, size: int) -> Iterator[bytes]:
    """Yield the ``size`` bytes of /random: piece *i*, of 64 KiB, is SHAKE-128 of the seed and *i*.

    Whoever gets another's answer, or only a part of his own, can tell.
    """
    for number in range(-(-size // PIECE)):
        length = min(PIECE, size - number * PIECE)
        yield hashlib.shake_128(f"{seed} {number}".encode()).digest(length)


def _events(count: int) -> Iterator[bytes]:
    for number in range(count):
        if number:
            gevent.sleep(SSE_INTERVAL)
        yield b"id: %d\ndata: event %d\n\n" % (number, number)
