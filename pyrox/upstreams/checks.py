"""Active checks: what a server is asked, what its answers say of its health, and when it is asked again.

Each server of a cluster that has a ``Check`` is a ``Patient``. The first result decides alone; after that
it takes ``fall`` failures in a row to make a patient unhealthy, and ``rise`` successes to make it healthy
again, so that one lost packet moves no traffic. The ``Schedule`` says whose check is due. Whoever sends the
checks, and tells the other workers, is in ``green``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import inf

from pyrox.upstreams.server import Server

Random = Callable[[], float]  # from 0 to less than 1

# By how much of the interval a check comes earlier or later, so that servers that were once asked together
# drift apart.
_JITTER = 0.1
# Seconds between the first checks of two servers, until all have theirs within an interval.
_PACE = 0.005


@dataclass(frozen=True, slots=True)
class Check:
    """What the servers of a cluster are asked, and what they must answer.

    * ``path``: of a GET; ``""`` for a check that is content with a connection, and its TLS.
    * ``host``: the Host field; ``""`` for the server's own name.
    * ``statuses``: those that a healthy server may answer with.
    * ``body``: what must stand in the answer; ``b""`` for anything.
    * ``interval``: seconds from one check to the next; ``timeout``: those that one may take.
    * ``rise``, ``fall``: how many successes make a server healthy again, and how many failures unhealthy.
    """

    path: str
    host: str
    statuses: frozenset[int]
    body: bytes
    interval: float
    timeout: float
    rise: int
    fall: int

    def fault_of(self, status: int, body: bytes) -> str:
        """Return what is wrong with an answer; ``""`` for nothing."""
        if status not in self.statuses:
            return f"answered {status}"
        return "" if self.body in body else f"{self.body.decode(errors='replace')!r} is not in the answer"


def key_of(cluster: str, server: Server, check: Check) -> int:
    """Return the number by which all workers know this check of this server, from 1 to 2^62.

    It holds all that is asked, because workers of before and after a reload may ask different things.
    """
    asked = (cluster, server.url, check.path, check.host, sorted(check.statuses), check.body)
    return (int.from_bytes(sha256(repr(asked).encode()).digest()[:8]) >> 2) + 1


class Patient:
    """A server under check.

    ``is_healthy`` is None while nothing is known. ``due`` is when it is to be checked next.
    """

    __slots__ = ("check", "cluster", "due", "is_healthy", "key", "server", "streak")

    def __init__(self, cluster: str, server: Server, check: Check) -> None:
        self.cluster = cluster
        self.server = server
        self.check = check
        self.key = key_of(cluster, server, check)
        self.is_healthy: bool | None = None
        self.streak = 0  # results in a row that contradict is_healthy
        self.due = inf

    def note(self, fault: str) -> bool:
        """Take note of a check's result, ``""`` for success; returns whether ``is_healthy`` changed."""
        is_good = not fault
        if is_good is self.is_healthy:
            self.streak = 0
            return False
        self.streak += 1
        if self.is_healthy is not None and self.streak < (self.check.rise if is_good else self.check.fall):
            return False
        self.is_healthy = is_good
        self.streak = 0
        return True

    def __repr__(self) -> str:
        health = {None: "unknown", True: "healthy", False: "unhealthy"}[self.is_healthy]
        return f"<Patient {self.server} of {self.cluster}, {health}>"


class Schedule:
    """Whose check is due. A patient that was handed out comes back by ``done``."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._patients: dict[int, Patient] = {}
        self._waiting: list[tuple[float, int]] = []  # (due, key), a heap; with some that have gone

    def admit(self, patients: Mapping[int, Patient], now: float) -> None:
        """Let these, by their keys, be the patients; new ones are spread over their interval."""
        new = [patient for key, patient in patients.items() if key not in self._patients]
        for patient in new:
            spread = min(patient.check.interval, _PACE * len(new))
            self._wait(patient, now + self._random() * spread)
        self._patients = {key: self._patients.get(key, patient) for key, patient in patients.items()}

    def patients(self) -> list[Patient]:
        """Return all there are."""
        return list(self._patients.values())

    def take_due(self, now: float) -> list[Patient]:
        """Return those to be checked now."""
        due = []
        while self._waiting and self._waiting[0][0] <= now:
            time, key = heapq.heappop(self._waiting)
            patient = self._patients.get(key)
            if patient is not None and patient.due == time:  # else it went, and may have come again
                due.append(patient)
        return due

    def done(self, patient: Patient, started: float, now: float) -> None:
        """Take back a patient whose check began at ``started`` and is over."""
        pause = patient.check.interval * (1 - _JITTER + 2 * _JITTER * self._random())
        self._wait(patient, max(now, started + pause))

    def next_due(self) -> float:
        """Return when the next one may be due."""
        return self._waiting[0][0] if self._waiting else inf

    def _wait(self, patient: Patient, due: float) -> None:
        patient.due = due
        heapq.heappush(self._waiting, (due, patient.key))
