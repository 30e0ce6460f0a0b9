"""The users: each is a greenlet with connections of its own, and judges every answer it gets."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import proof
import websocket
from locust import FastHttpUser, User, task

PATIENCE = 30.0  # seconds for one step of anything
VIA = "1.1 pyrox"

Judge = Callable[[bytes | None], str]


def thinking(least: float, most: float) -> Callable[[User], float]:
    """Return a ``wait_time`` of so many seconds, times ``--think``."""
    return lambda user: random.uniform(least, most) * user.environment.parsed_options.think


class Verifying(FastHttpUser):
    """Speaks HTTP over kept connections, and fails every answer whose proof fails."""

    abstract = True
    network_timeout = connection_timeout = PATIENCE
    wait_time = thinking(0.5, 2.5)  # a person, or another service, thinks

    def ask(
        self, method: str, target: str, name: str, judge: Judge, status: int = 200, **more: object
    ) -> None:
        """Send one request; ``judge`` says what is wrong with the body of its answer."""
        with self.client.request(method, target, name=name, catch_response=True, **more) as answer:
            if answer.status_code != status:
                answer.failure(
                    f"{answer.status_code} instead of {status}: {answer.error or answer.text[:80]}"
                )
            elif not is_from_pyrox(answer.headers):
                answer.failure("it did not come through Pyrox")
            elif fault := judge(answer.content):
                answer.failure(fault)
            else:
                answer.success()


def is_from_pyrox(headers: Mapping[str, str]) -> bool:
    """Whether a response came through Pyrox, or is its own."""
    return VIA in headers.get("via", "") or headers.get("proxy-status", "").startswith("pyrox;")


class RestUser(Verifying):
    """Reads and writes resources of 1 to 100 KiB, over one connection that it keeps."""

    weight = 20

    @task(10)
    def read(self) -> None:
        token, size = proof.new_token(), proof.size_between(1024, 102_400)
        target = f"/random/{size}?seed={token}"
        self.ask("GET", target, "GET /random", lambda content: proof.fault_of_content(content, token, size))

    @task(5)
    def write(self) -> None:
        token = proof.new_token()
        body = (token + " ") * (proof.size_between(1024, 102_400) // (len(token) + 1))
        target = f"/echo?{token}"
        self.ask(
            "POST",
            target,
            "POST /echo",
            lambda content: proof.fault_of_echo(content, target, body),
            data=body,
        )

    @task(3)
    def read_chunks(self) -> None:
        lines = random.randrange(200)
        expected = b"".join(b"line %d\n" % number for number in range(lines))
        self.ask("GET", f"/stream/{lines}", "GET /stream", lambda content: wrong_unless(content == expected))

    @task(1)
    def meet_errors(self) -> None:
        status = random.choice((404, 410, 500, 503))
        self.ask(
            "GET", f"/status/{status}", "GET /status", lambda content: wrong_unless(bool(content)), status
        )

    @task(1)
    def look_first(self) -> None:
        self.ask("HEAD", "/bytes/5000", "HEAD /bytes", lambda content: wrong_unless(not content))


def wrong_unless(is_right: bool) -> str:
    return "" if is_right else "another content"


class TransferUser(Verifying):
    """Moves bodies of 1 to 8 MiB, up and down."""

    weight = 1
    wait_time = thinking(2, 6)

    @task
    def upload(self) -> None:
        body = os.urandom(proof.size_between(1 << 20, 8 << 20))
        self.ask(
            "POST", "/upload", "POST /upload", lambda content: proof.fault_of_upload(content, body), data=body
        )

    @task
    def download(self) -> None:
        token, size = proof.new_token(), proof.size_between(1 << 20, 8 << 20)
        target = f"/random/{size}?seed={token}"
        self.ask("GET", target, "GET /random, large", lambda c: proof.fault_of_content(c, token, size))


class ChurnUser(Verifying):
    """Makes a new connection for each request."""

    weight = 3

    @task
    def come_and_go(self) -> None:
        token = proof.new_token()
        target = f"/random/500?seed={token}"
        headers = {"Connection": "close"}
        self.ask(
            "GET", target, "GET, then close", lambda c: proof.fault_of_content(c, token, 500), headers=headers
        )


class SocketUser(User):
    """Speaks to the proxy over a socket of its own, for what an HTTP client would not do."""

    abstract = True
    wait_time = thinking(1, 4)

    def connect(self) -> socket.socket:
        address = urlsplit(self.host)
        return socket.create_connection((address.hostname, address.port or 80), timeout=PATIENCE)

    @contextmanager
    def measured(self, kind: str, name: str) -> Iterator[None]:
        """Report what happens inside as one request; an exception is its failure."""
        started, failure = time.perf_counter(), None
        try:
            yield
        except (AssertionError, OSError, websocket.WebSocketException) as error:
            failure = error
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=(time.perf_counter() - started) * 1000,
            response_length=0,
            exception=failure,
            context={},
        )


class SlowUser(SocketUser):
    """A bad line: sends its request in small pieces, and takes its answer in small pieces."""

    weight = 2

    @task
    def crawl(self) -> None:
        token = proof.new_token()
        fields = "Host: load.test\r\nConnection: close\r\nContent-Length: 600"
        head = f"POST /echo?{token} HTTP/1.1\r\n{fields}\r\n\r\n"
        body = (token + " " * 600)[:600]
        with self.measured("slow", "POST /echo"), self.connect() as connection:
            whole = (head + body).encode()
            for start in range(0, len(whole), 100):
                connection.sendall(whole[start : start + 100])
                time.sleep(0.2)
            received = b"".join(self._sips(connection))
            head_received, _, content = received.partition(b"\r\n\r\n")
            assert head_received.startswith(b"HTTP/1.1 200 "), head_received[:80]
            fault = proof.fault_of_echo(_unchunked(content, head_received), f"/echo?{token}", body)
            assert not fault, fault

    def _sips(self, connection: socket.socket) -> Iterator[bytes]:
        while piece := connection.recv(200):
            yield piece
            time.sleep(0.05)

    @task
    def give_up(self) -> None:
        """Leave in the middle of a download; the proxy must survive it, and so must everybody else."""
        with self.measured("slow", "GET /bytes, left"), self.connect() as connection:
            connection.sendall(b"GET /bytes/10000000 HTTP/1.1\r\nHost: load.test\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def _unchunked(content: bytes, head: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head.lower():
        return content
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        whole, content = whole + content[:length], content[length + 2 :]
    return whole


class WebSocketUser(SocketUser):
    """Talks over a WebSocket for a while; what it says comes back, in order."""

    weight = 2

    @task
    def talk(self) -> None:
        url = f"ws{self.host.removeprefix('http')}/ws"
        with self.measured("ws", "talk of 10"):
            connection = websocket.create_connection(url, timeout=PATIENCE)
            try:
                for _ in range(10):
                    said = proof.new_token() * random.randrange(1, 50)
                    connection.send(said)
                    heard = connection.recv()
                    assert heard == said, f"{str(heard)[:60]} came back instead of {said[:60]}"
                    time.sleep(random.uniform(0.1, 0.5))
                # Its close() takes whatever is raised in it for an end, also that its user is to stop, which
                # Locust then waits for in vain.
                connection.send_close()
                assert connection.recv_frame().opcode == websocket.ABNF.OPCODE_CLOSE, "no close came back"
            finally:
                connection.shutdown()  # without another word: a user that is stopped must not wait


class EventsUser(SocketUser):
    """Listens to server-sent events, which come one by one."""

    weight = 2

    @task
    def listen(self) -> None:
        count = random.randrange(1, 12)
        ask = f"GET /sse?count={count} HTTP/1.0\r\nHost: load.test\r\n\r\n"
        with self.measured("sse", "GET /sse"), self.connect() as connection:
            connection.sendall(ask.encode())
            received = b""
            while piece := connection.recv(4096):
                received += piece
            head, _, content = received.partition(b"\r\n\r\n")
            assert b" 200 " in head.partition(b"\r\n")[0], head[:80]
            fault = proof.fault_of_events(content.decode().split("\n")[:-1], count)
            assert not fault, fault


USERS = (RestUser, TransferUser, ChurnUser, SlowUser, WebSocketUser, EventsUser)
