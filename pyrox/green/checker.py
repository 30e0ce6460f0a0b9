"""``Checker``: sends the checks that are due, and says what came of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from math import inf
from random import random
from time import monotonic

import gevent
from gevent.event import Event

from pyrox import __version__
from pyrox.errors import ProxyError, UpstreamError
from pyrox.green.body import body_reader
from pyrox.green.deadlines import Deadlines
from pyrox.green.upstream import Connector, UpstreamConnection
from pyrox.http.framing import ChunkLimits
from pyrox.http.head import encode_request_head
from pyrox.http.head_cache import HeadCache
from pyrox.http.message import Request, Response
from pyrox.upstreams.checks import Check, Patient, Schedule

log = logging.getLogger("pyrox.health")

_MOST_BODY = 1 << 16  # bytes of an answer in which a text is looked for
_LEAST_PAUSE = 0.001  # seconds between two looks at the schedule


class Prober:
    """Checks one server once, on a connection of its own.

    A new one each time: what is asked is whether the server takes connections, too.
    """

    def __init__(
        self, connector: Connector, clock: Deadlines, heads: HeadCache, chunk_limits: ChunkLimits
    ) -> None:
        self._connector = connector
        self._clock = clock
        self._heads = heads
        self._chunk_limits = chunk_limits

    def fault_of(self, patient: Patient) -> str:
        """Return what is wrong with a server; ``""`` for nothing."""
        check = patient.check
        limit = gevent.Timeout(check.timeout)
        limit.start()
        try:
            connection = self._connector.connect(patient.server)
            try:
                return self._ask(connection, check) if check.path else ""
            finally:
                connection.close()
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise
            return f"no answer within {check.timeout:g} s"
        except ProxyError as error:
            return str(error).removeprefix(f"{patient.server}: ")
        finally:
            limit.close()

    def _ask(self, connection: UpstreamConnection, check: Check) -> str:
        host = check.host or connection.server.authority
        fields = {"Host": host, "User-Agent": f"pyrox/{__version__} (health check)", "Accept": "*/*"}
        request = Request("GET", check.path, fields)
        connection.stream.send(encode_request_head(request, b"Connection: close\r\n"))
        patience = self._clock.ticks(check.timeout)
        response = self._read_head(connection, patience)
        # Also when nobody looks at it: a server whose answer breaks off is not well, and one that is left
        # in the middle of its answer writes an error into its log.
        return check.fault_of(response.status, self._read_body(connection, response, patience))

    def _read_head(self, connection: UpstreamConnection, patience: int) -> Response:
        while (response := connection.read_response("GET", self._heads, patience)).status < 200:
            if response.status == 101:
                raise UpstreamError("101 to a request without Upgrade")
        return response

    def _read_body(self, connection: UpstreamConnection, response: Response, patience: int) -> bytes:
        if not response.body_length:
            return b""
        reader = body_reader(
            connection.stream, response.body_length, patience, UpstreamError, self._chunk_limits
        )
        body = b""
        while len(body) < _MOST_BODY and (piece := reader.read()):
            body += piece
        return body[:_MOST_BODY]


class Checker:
    """Keeps to a schedule, one greenlet for each check that is under way.

    ``report`` is told of each patient after its check.
    """

    def __init__(self, prober: Prober, report: Callable[[Patient], None]) -> None:
        self._prober = prober
        self._report = report
        self._schedule = Schedule(random)
        self._greenlets: set[gevent.Greenlet] = set()
        self._wake = Event()  # somebody may be due sooner than it looked
        self._loop = gevent.spawn(self._run)

    def admit(self, patients: Mapping[int, Patient]) -> None:
        """Let these be the patients from now on."""
        self._schedule.admit(patients, monotonic())
        self._wake.set()

    def patients(self) -> list[Patient]:
        """Return all there are."""
        return self._schedule.patients()

    def stop(self) -> None:
        """Stop checking, at once."""
        gevent.killall([self._loop, *self._greenlets], block=False)

    def _run(self) -> None:
        while True:
            for patient in self._schedule.take_due(monotonic()):
                greenlet = gevent.spawn(self._check, patient)
                self._greenlets.add(greenlet)
                greenlet.rawlink(self._greenlets.discard)
            gevent.sleep(_LEAST_PAUSE)
            pause = self._schedule.next_due() - monotonic()
            if pause > 0:
                self._wake.wait(pause if pause < inf else None)
            self._wake.clear()

    def _check(self, patient: Patient) -> None:
        started = monotonic()
        try:
            fault = self._prober.fault_of(patient)
        except Exception:
            log.exception("the check of %s failed in Pyrox itself", patient.server)
        else:
            was_unknown = patient.is_healthy is None
            if patient.note(fault) and not (was_unknown and patient.is_healthy):
                _tell(patient, fault)
            self._report(patient)
        self._schedule.done(patient, started, monotonic())
        self._wake.set()


def _tell(patient: Patient, fault: str) -> None:
    name, server, check = patient.cluster, patient.server, patient.check
    if not patient.is_healthy:
        log.warning("cluster %s: %s is unhealthy: %s", name, server, fault)
    else:
        log.info("cluster %s: %s is healthy, after %d good checks", name, server, check.rise)
