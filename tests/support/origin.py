"""An upstream whose every byte the test writes.

``Origin`` listens on a free port of the loopback and plays a *script* on each connection the proxy makes:
a list of steps, each of them a function of the connection. What came in is kept and can be waited for::

    with Origin([expect_request(), send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")]) as origin:
        ...
        [request] = origin.wait_for_requests(1)
        assert request.get("host") == b"a.test"

The first script is for the first connection, and so on; the last one serves all further ones. A script that
has ended closes its connection; one that waits for a request ends quietly when the proxy closes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from tests.support.messages import WireRequest
from tests.support.wire import TIMEOUT, PeerClosed, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class OriginConnection(Wire):
    """One connection the proxy made; ``received`` holds its exact bytes, ``requests`` the whole requests.

    ``ended`` is None while its script runs; then ``"script"`` when it ran to its end, ``"eof"`` or
    ``"reset"`` when the proxy went first, ``"failed"`` when a step raised (see ``failure``).
    """

    def __init__(self, sock: socket.socket, origin: Origin, keep: bool = True) -> None:
        super().__init__(sock, origin.timeout, keep)
        self.origin = origin
        self.requests: list[WireRequest] = []
        self.ended: str | None = None
        self.failure: Exception | None = None

    def expect_request(self) -> WireRequest:
        """Read one whole request and record it."""
        request = self.read_request()
        self._record(request)
        return request

    def expect_head(self) -> WireRequest:
        """Read a request's head and record it; its body stays on the wire."""
        request = self.read_request_head()
        self._record(request)
        return request

    def play(self, script: Iterable[Step]) -> None:
        """Run every step, then close; how it ended is recorded, never raised."""
        try:
            for step in script:
                step(self)
            self.ended = "script"
        except PeerClosed as closed:
            self.ended = "reset" if closed.reset else "eof"
        except Exception as failure:
            is_reset = isinstance(failure, OSError) and not isinstance(failure, TimeoutError)
            self.ended, self.failure = ("reset", None) if is_reset else ("failed", failure)
        finally:
            self.close()
            self.origin.notify()

    def _record(self, request: WireRequest) -> None:
        self.requests.append(request)
        self.origin.requests.append(request)
        self.origin.notify()


Step = Callable[[OriginConnection], object]
Script = Sequence[Step]


class Origin:
    """A listener and one thread for each of its connections; use it in a ``with`` statement.

    Leaving the ``with`` closes everything and raises the first failure of a script: a deadline that
    passed, or bytes from the proxy that are not HTTP. ``keep=False`` does not store what arrives (for
    large uploads).
    """

    def __init__(self, *scripts: Script, timeout: float = TIMEOUT, keep: bool = True) -> None:
        self.scripts: tuple[Script, ...] = scripts or (serve(OK),)
        self.timeout = timeout
        self.keep = keep
        self.connections: list[OriginConnection] = []
        self.requests: list[WireRequest] = []
        self._released = threading.Event()
        self._events = [self._released]
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def __enter__(self) -> Origin:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        failures = [c.failure for c in self.connections if c.failure is not None]
        if failures and error is None:
            raise failures[0]

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, as ``upstream_hosts`` wants it."""
        return f"http://{self.address}"

    def notify(self) -> None:
        """Wake those who wait for a change."""
        with self._changed:
            self._changed.notify_all()

    def wait_until(self, is_true: Callable[[], bool], what: str = "the condition") -> None:
        """Wait until ``is_true()``, asked after each change; ``TimeoutError`` after ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(is_true, self.timeout):
                raise TimeoutError(f"{what} did not come true within {self.timeout} s; saw {self.requests!r}")

    def wait_for_requests(self, count: int) -> list[WireRequest]:
        """Wait until ``count`` requests have come, over all connections; returns them all."""
        self.wait_until(lambda: len(self.requests) >= count, f"{count} requests")
        return list(self.requests)

    def wait_for_connections(self, count: int) -> list[OriginConnection]:
        """Wait until the proxy has made ``count`` connections; returns them all."""
        self.wait_until(lambda: len(self.connections) >= count, f"{count} connections")
        return list(self.connections)

    def wait_for_end(self, index: int = 0) -> OriginConnection:
        """Wait until connection ``index`` has been made and its script has ended; returns it."""
        self.wait_until(
            lambda: len(self.connections) > index and self.connections[index].ended is not None,
            f"the end of connection {index}",
        )
        return self.connections[index]

    def release(self) -> None:
        """Let every script go on that stands at ``hang()``."""
        self._released.set()

    def wait_for_event(self, event: threading.Event | None) -> None:
        """Wait until ``event`` (None: ``release``) is set, or until the origin closes."""
        event = event or self._released
        self._events.append(event)
        if not event.wait(self.timeout):
            raise TimeoutError(f"the event was not set within {self.timeout} s")

    def close(self) -> None:
        """Stop listening, close every connection and wait for the threads."""
        for event in self._events:
            event.set()
        self._shut(self._listener)
        for connection in self.connections:
            self._shut(connection.socket)
        deadline = time.monotonic() + self.timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def stop_listening(self) -> None:
        """Refuse new connections from now on; those that are open stay open."""
        self._shut(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = OriginConnection(sock, self, self.keep)
            script = self.scripts[min(len(self.connections), len(self.scripts) - 1)]
            self.connections.append(connection)
            self.notify()
            self._start(connection.play, script)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    @staticmethod
    def _shut(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that is blocked on it
        sock.close()


# -- steps


def expect_request() -> Step:
    """Read one whole request."""
    return OriginConnection.expect_request


def expect_head() -> Step:
    """Read a request's head only."""
    return OriginConnection.expect_head


def expect_bytes(size: int) -> Step:
    """Read ``size`` bytes, whatever they are."""
    return lambda connection: connection.read_exactly(size)


def expect_close() -> Step:
    """Read until the proxy closes or resets; what comes before is kept in ``received``."""
    return Wire.read_until_closed


def send(*pieces: bytes) -> Step:
    """Send the pieces, each with a send of its own."""
    return lambda connection: connection.send_pieces(pieces)


def send_chunk(data: bytes) -> Step:
    """Send one chunk of a chunked body; ``b""`` ends the body."""
    return send(b"%x\r\n%b\r\n" % (len(data), data))


def wait(event: threading.Event) -> Step:
    """Go on when the test has set ``event``."""
    return lambda connection: connection.origin.wait_for_event(event)


def hang() -> Step:
    """Do nothing until ``origin.release()``."""
    return lambda connection: connection.origin.wait_for_event(None)


def close() -> Step:
    """Close with a FIN."""
    return Wire.close


def reset() -> Step:
    """Close with a RST."""
    return Wire.reset


def half_close() -> Step:
    """Send a FIN and go on."""
    return Wire.half_close


def serve(*answers: bytes | Callable[[WireRequest], bytes]) -> Script:
    """A script that answers each request with the next of ``answers``, with the last one from then on.

    An answer is bytes, or a function from the request to bytes. Ends when the proxy closes.
    """

    def step(connection: OriginConnection) -> None:
        while True:
            request = connection.expect_request()
            answer = answers[min(len(connection.requests), len(answers)) - 1]
            connection.send(answer if isinstance(answer, bytes) else answer(request))

    return [step]
