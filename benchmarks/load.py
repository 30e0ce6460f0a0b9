"""Load: wrk, hey, and a small sender of large bodies; each drives one variant for one slice of time."""

from __future__ import annotations

import csv
import http.client
import io
import json
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from origin import LARGE_BODY
from variants import HERE, executable

BULK_CONNECTIONS = 8
GRACE = 20.0  # seconds a load tool may take beyond its slice
BROWSER_FIELDS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: http://localhost/index.html",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
)


class LoadError(RuntimeError):
    """The load could not be applied, or not one request was answered."""


@dataclass(frozen=True)
class Load:
    """What one slice did; latencies are microseconds as the client saw them."""

    requests: int
    body_bytes: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: int


def percentile(values: list[float], percent: float) -> float:
    """Return the ``percent``-th percentile, interpolated; ``values`` must not be empty."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def browser_fields() -> list[str]:
    """Return ``BROWSER_FIELDS`` as options of wrk and hey."""
    return [part for line in BROWSER_FIELDS for part in ("-H", line)]


def run_tool(command: list[str], seconds: float) -> str:
    """Run a load tool to its end and return what it printed. Raises ``LoadError``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{command[0]} did not end") from error
    if done.returncode:
        raise LoadError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def wrk(url: str, mode: str, seconds: int, connections: int) -> Load:
    """Drive ``url`` with wrk; ``mode`` names the kind of request in wrk.lua."""
    command = [executable("wrk", "Debian: wrk"), "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--timeout", "10s", "-s", str(HERE / "wrk.lua"), *browser_fields(), url, "--", mode]
    output = run_tool(command, seconds)
    report = json.loads(output.splitlines()[-1])
    return Load(
        requests=report["requests"],
        body_bytes=report["bytes"],
        seconds=report["seconds"],
        p50_us=report["p50_us"],
        p99_us=report["p99_us"],
        errors=report["errors"],
    )


def hey(url: str, seconds: int, connections: int) -> Load:
    """Drive ``url`` with hey, a new TLS connection and a full handshake for each request.

    wrk resumes its TLS sessions, which spares the server the signature; hey does not.
    """
    command = [executable("hey", "Debian: hey"), "-z", f"{seconds}s", "-c", str(connections)]
    command += ["-disable-keepalive", *browser_fields(), "-o", "csv", url]
    started = time.monotonic()
    rows = list(csv.DictReader(io.StringIO(run_tool(command, seconds))))
    elapsed = time.monotonic() - started
    times = [float(row["response-time"]) * 1e6 for row in rows] or [0.0]
    errors = sum(row["status-code"] != "200" for row in rows)
    return Load(len(rows), 0, elapsed, percentile(times, 50), percentile(times, 99), errors)


class BulkConnection:
    """One keep-alive connection that moves large bodies and counts only those that ended."""

    def __init__(self, port: int, upload: Path | None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=GRACE)
        self._upload = upload.open("rb") if upload else None
        self._buffer = bytearray(1 << 20)
        self.transfers: list[float] = []  # microseconds each

    def run(self, deadline: float, stop: threading.Event) -> None:
        with self._socket:
            while time.monotonic() < deadline and not stop.is_set():
                started = time.monotonic()
                self._send()
                self._receive()
                self.transfers.append((time.monotonic() - started) * 1e6)
        if self._upload:
            self._upload.close()

    def _send(self) -> None:
        method = "PUT /sink" if self._upload else "GET /large"
        length = f"Content-Length: {LARGE_BODY}\r\n" if self._upload else ""
        fields = "\r\n".join(BROWSER_FIELDS)
        self._socket.sendall(f"{method} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{length}\r\n".encode())
        if self._upload:
            self._upload.seek(0)
            self._socket.sendfile(self._upload)

    def _receive(self) -> None:
        """Read one response; MSG_TRUNC discards the body in the kernel, so the client costs little."""
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := self._socket.recv(4096)):
                raise LoadError("the connection ended within a response head")
            head += data
        head, _, body = head.partition(b"\r\n\r\n")
        status, length = parse_head(head)
        if status != 200 or (not self._upload and length != LARGE_BODY):
            raise LoadError(f"status {status}, Content-Length {length}")
        left = length - len(body)
        while left:
            count = self._socket.recv_into(self._buffer, min(left, len(self._buffer)), socket.MSG_TRUNC)
            if not count:
                raise LoadError("the connection ended within a body")
            left -= count


def parse_head(head: bytes) -> tuple[int, int]:
    """Return status and Content-Length of a response head."""
    status_line, _, fields = head.partition(b"\r\n")
    message = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    if "content-length" not in message:
        raise LoadError("the response has no Content-Length")
    return int(status_line.split()[1]), int(message["content-length"])


def bulk(port: int, upload: Path | None, seconds: float) -> Load:
    """Move 10 MiB bodies over ``BULK_CONNECTIONS`` connections; the last transfer of each is finished."""
    connections = [BulkConnection(port, upload) for _ in range(BULK_CONNECTIONS)]
    started, stop = time.monotonic(), threading.Event()
    with ThreadPoolExecutor(BULK_CONNECTIONS) as threads:
        futures = [threads.submit(each.run, started + seconds, stop) for each in connections]
        try:
            for future in futures:
                future.result()
        except OSError as error:
            raise LoadError(f"{type(error).__name__}: {error}") from error
        finally:
            stop.set()
    elapsed = time.monotonic() - started
    times = [each for connection in connections for each in connection.transfers]
    moved = len(times) * LARGE_BODY
    return Load(len(times), moved, elapsed, percentile(times, 50), percentile(times, 99), 0)
