"""``Health``: keeps a worker's clusters in step with the health of their servers.

A few times a second each worker looks whether the board has changed, and excludes and includes members by
what it says. The worker that leads checks the servers of all clusters besides. Whoever finds that nobody
leads does it from then on, with the verdicts that are on the board.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from time import monotonic

import gevent

from pyrox.green.checker import Checker, Prober
from pyrox.green.health_board import HealthBoard, Verdict
from pyrox.upstreams.checks import Patient, key_of
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member, Reason

log = logging.getLogger("pyrox.health")

_BEAT = 0.25  # seconds between two looks
_REFRESH = 120.0  # seconds between two signs to the board that the patients are still those
_IS_HEALTHY = {Verdict.UNKNOWN: None, Verdict.HEALTHY: True, Verdict.UNHEALTHY: False}


class Health:
    """The health of all servers, as one worker sees it."""

    def __init__(self, clusters: Collection[Cluster], board: HealthBoard, prober: Prober) -> None:
        self._clusters = clusters
        self._checked = [cluster for cluster in clusters if cluster.check is not None]
        self._board = board
        self._prober = prober
        self._members: list[tuple[Member, ...]] = []  # of the checked clusters, as far as they are known here
        self._keys: list[tuple[int, Cluster, Member]] = []
        self._seen = -1  # the board's ``changed`` when it was looked at
        self._checker: Checker | None = None
        self._is_leaving = False
        self._is_full = False
        self._refresh_at = 0.0
        self._greenlet: gevent.Greenlet | None = None

    @property
    def is_leading(self) -> bool:
        """Whether it is this worker that checks."""
        return self._checker is not None

    def start(self) -> None:
        """Begin, where there is anything to do."""
        if self._checked or any(cluster.watchers for cluster in self._clusters):
            self.beat()
            self._greenlet = gevent.spawn(self._run)

    def leave(self) -> None:
        """Let another worker lead; this one follows until it is closed."""
        self._is_leaving = True
        if self._checker is not None:
            self._checker.stop()
            self._checker = None
            self._board.resign()

    def close(self) -> None:
        """End all of it."""
        self.leave()
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def _run(self) -> None:
        while True:
            gevent.sleep(_BEAT)
            try:
                self.beat()
            except Exception:  # or this worker would believe for ever what it believes now
                log.exception("the health of servers could not be brought up to date")

    def beat(self) -> None:
        """Look once."""
        now = monotonic()
        for cluster in self._clusters:
            if cluster.watchers:
                cluster.tick(now)
        if not self._checked:
            return
        self._notice_members()
        self._follow(now)
        if self._checker is None and not self._is_leaving and self._board.try_to_lead():
            self._lead()
        if self._checker is not None and now >= self._refresh_at:
            self._refresh(self._checker, now)

    def _notice_members(self) -> None:
        members = [cluster.members for cluster in self._checked]
        if len(members) == len(self._members) and all(map(_is_same, members, self._members)):
            return
        self._members = members
        self._keys = [
            (key_of(cluster.name, member.server, cluster.check), cluster, member)
            for cluster in self._checked
            if cluster.check is not None
            for member in cluster.members
            if member.server.scheme != "wsgi"  # which is here, and as healthy as this worker
        ]
        self._seen = -1
        if self._checker is not None:
            self._checker.admit(self._patients())

    def _follow(self, now: float) -> None:
        changed = self._board.changed
        if changed == self._seen:
            return
        self._seen = changed
        for key, cluster, member in self._keys:
            if self._board.verdict(key) == Verdict.UNHEALTHY:
                cluster.exclude(member, Reason.UNHEALTHY, now)
            else:
                cluster.include(member, Reason.UNHEALTHY, now)

    # --- leading ---

    def _lead(self) -> None:
        log.info("this worker checks the servers")
        self._checker = Checker(self._prober, self._report)
        self._checker.admit(self._patients())

    def _patients(self) -> dict[int, Patient]:
        patients = {}
        for key, cluster, member in self._keys:
            assert cluster.check is not None
            patients[key] = patient = Patient(cluster.name, member.server, cluster.check)
            patient.is_healthy = _IS_HEALTHY[self._board.verdict(key)]
        return patients

    def _report(self, patient: Patient) -> None:
        if patient.is_healthy is None:
            return
        verdict = Verdict.HEALTHY if patient.is_healthy else Verdict.UNHEALTHY
        if not self._board.set_verdict(patient.key, verdict, int(monotonic())) and not self._is_full:
            self._is_full = True
            log.error("too many servers under check: some that are unhealthy will be used all the same")

    def _refresh(self, checker: Checker, now: float) -> None:
        self._refresh_at = now + _REFRESH
        for patient in checker.patients():
            self._board.refresh(patient.key, int(now))


def _is_same(one: object, other: object) -> bool:
    return one is other
