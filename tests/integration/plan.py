"""Origins that do what a test planned for its target, in whichever order they are asked.

A cluster's first server is not known beforehand, so a plan says what the first request of a target finds,
what the second, and so on, at whatever origin each arrives::

    plan = Plan()
    with plan.origins("one", "two") as urls, ...:
        plan.expect("/users/x", "reset", "ok")
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.integration.kit import response
from tests.support.messages import WireRequest
from tests.support.origin import Origin, OriginConnection

Act = Callable[[OriginConnection], object]


@dataclass
class Arrival:
    """A request that came to the origin ``server``."""

    server: str
    request: WireRequest


@dataclass
class Early:
    """What is done when the head of a request is here, its body unread; the connection is closed then."""

    act: Act


class Plan:
    """What each request finds, by its target; the last thing is for all further ones, ``ok`` without any.

    Connections are closed after one answer, so that none is reused and found stale; but not after ``ok, and
    more``.
    """

    def __init__(self) -> None:
        self.arrivals: dict[str, list[Arrival]] = defaultdict(list)
        self._acts: dict[str, tuple[str | Act | Early, ...]] = {}
        self._lock = threading.Lock()
        self._origins: list[Origin] = []
        self.urls: dict[str, str] = {}
        self._open: Counter[str] = Counter()  # connections of each origin
        self.most_at_once: Counter[str] = Counter()

    def expect(self, target: str, *acts: str | Act | Early) -> None:
        """Plan for ``target``: names of ``ACTS``, statuses, or functions of the connection."""
        self._acts[target] = acts

    def count(self, target: str) -> int:
        """How many requests of ``target`` have come, at all origins; their heads, at least."""
        return len(self.arrivals[target])

    def servers(self, target: str) -> list[str]:
        """Where they came, in order."""
        return [arrival.server for arrival in self.arrivals[target]]

    def wait_for(self, target: str, count: int) -> None:
        """Wait until so many have come."""
        self._origins[0].wait_until(lambda: self.count(target) >= count, f"{count} requests of {target}")

    def reset_at(self, name: str, connection: OriginConnection) -> None:
        """Reset a connection to ``name``; answer on one to another."""
        if connection.origin.url == self.urls[name]:
            connection.reset()
        else:
            ok(connection)

    def close(self) -> None:
        """Close all connections, and take no more."""
        for origin in self._origins:
            origin.close()

    @contextmanager
    def origins(self, *names: str) -> Iterator[list[str]]:
        """Run origins of these names; yields their URLs."""
        with ExitStack() as stack:
            for name in names:
                script = [lambda connection, name=name: self._serve(connection, name)]
                self._origins.append(stack.enter_context(Origin(script, timeout=100)))
            self.urls = {name: origin.url for name, origin in zip(names, self._origins, strict=True)}
            yield list(self.urls.values())

    def _serve(self, connection: OriginConnection, name: str) -> None:
        with self._counted(name):
            self._serve_requests(connection, name)

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        with self._lock:
            self._open[name] += 1
            self.most_at_once[name] = max(self.most_at_once[name], self._open[name])
        try:
            yield
        finally:
            with self._lock:
                self._open[name] -= 1
            self._origins[0].notify()

    def count_connections_anew(self, name: str) -> None:
        """Let ``most_at_once`` of ``name`` be what it is from now on, when those that end have ended."""
        self._origins[0].wait_until(lambda: self._open[name] <= 1, "an end of connections")
        self.most_at_once[name] = self._open[name]

    def _serve_requests(self, connection: OriginConnection, name: str) -> None:
        while connection.socket.fileno() >= 0:
            request = connection.expect_head()
            act = self._arrive(name, request)
            if isinstance(act, Early):
                act.act(connection)
                return
            connection.read_body_of(request)
            if act == "ok":
                ok(connection, f"X-Server: {name}")
            elif act == "ok, and more":
                connection.send(response(b"ok", f"X-Server: {name}"))
            elif isinstance(act, str):
                (ACTS.get(act) or _status(act))(connection)
            else:
                act(connection)

    def _arrive(self, name: str, request: WireRequest) -> str | Act | Early:
        target = request.target
        with self._lock:
            acts = self._acts.get(target) or ("ok",)
            act = acts[min(self.count(target), len(acts) - 1)]
            self.arrivals[target].append(Arrival(name, request))
        for origin in self._origins:
            origin.notify()
        return act


def ok(connection: OriginConnection, *fields: str) -> None:
    """Answer, and close: no later request is to find the connection stale."""
    connection.send(response(b"ok", "Connection: close", *fields))
    connection.close()


def _status(text: str) -> Act:
    def act(connection: OriginConnection) -> None:
        connection.send(response(b"no", "Connection: close", status=f"{text} Planned"))
        connection.close()

    return act


def _part_of_a_head(connection: OriginConnection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    connection.reset()


def _part_of_a_body(connection: OriginConnection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    connection.reset()


def _garbage(connection: OriginConnection) -> None:
    connection.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    connection.close()


ACTS: dict[str, Act] = {
    "reset": lambda connection: connection.reset(),
    "close": lambda connection: connection.close(),
    "hang": lambda connection: connection.read_until_closed(),
    "part of a head": _part_of_a_head,
    "part of a body": _part_of_a_body,
    "garbage": _garbage,
}
