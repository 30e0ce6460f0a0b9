"""A service that middleware can ask: answers every request with the same bytes, in a process of its own."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import threading


def serve(*answers: bytes) -> str:
    """Start it and return its URL; ``answers`` are given in turn, the last one from then on."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    pid = os.fork()
    if pid == 0:
        _serve(listener, list(answers))
    listener.close()
    atexit.register(_stop, pid)
    return url


def ok(body: bytes, *fields: str) -> bytes:
    """Encode an answer."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _serve(listener: socket.socket, answers: list[bytes]) -> None:
    try:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_answer, args=(connection, answers), daemon=True).start()
    finally:
        os._exit(1)


def _answer(connection: socket.socket, answers: list[bytes]) -> None:
    received = b""
    while data := connection.recv(65536):
        received += data
        # A body may come in a packet of its own; the next request's head tells that it is over.
        while b"\r\n\r\n" in received:
            head, _, received = received.partition(b"\r\n\r\n")
            received = received[_length(head) :]
            connection.sendall(answers.pop(0) if len(answers) > 1 else answers[0])


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
