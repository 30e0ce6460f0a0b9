"""``Outliers``: ejects members whose answers are worse than others', by what this worker sees.

A member is ejected after so many failures in a row, or when, at the end of a window, its success rate is
far below the others': by more than ``deviation`` standard deviations below their mean, as Envoy does it.
An ejection is over after a time that grows with each, and shrinks again while the member stays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import ceil, inf
from statistics import fmean, pstdev

from pyrox.http.message import Response
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member, Reason
from pyrox.upstreams.watcher import Watcher

log = logging.getLogger("pyrox.health")

# Members that must have had enough requests for their rates to be compared. One of n is never more than
# sqrt(n - 1) deviations away from their mean, so among fewer a deviation of 1.9 could not be found.
_LEAST_MEMBERS = 5


@dataclass(frozen=True, slots=True)
class OutlierRules:
    """When members are ejected, and for how long.

    * ``failures``: in a row that eject a member; 0 for never.
    * ``statuses``: of answers that count as failures; no answer always does.
    * ``deviation``: how many standard deviations below the mean a success rate may be; 0 for any.
    * ``window``: seconds over which success rates are taken, of members with ``volume`` requests or more.
    * ``time``: seconds of the first ejection, twice that for the second ...; ``longest``: the limit to that.
    * ``most``: the share of the members that may be ejected at a time, from 0 to 1.
    """

    failures: int
    statuses: frozenset[int]
    deviation: float
    window: float
    volume: int
    time: float
    longest: float
    most: float


class _Record:
    """What is known of one member."""

    __slots__ = ("before", "ejections", "streak", "successes", "total", "until")

    def __init__(self) -> None:
        self.streak = 0  # failures in a row
        self.before = 0  # those before the last answer, should that turn out to be a failure, too
        self.total = self.successes = 0  # in this window
        self.ejections = 0  # that count for the length of the next
        self.until = 0.0  # the end of the last ejection


class Outliers(Watcher):
    """Watches one cluster."""

    def __init__(self, cluster: Cluster, rules: OutlierRules) -> None:
        self._cluster = cluster
        self._rules = rules
        self._members = cluster.members
        self._records: dict[Member, _Record] = {}
        self._next_return = inf
        self._window_ends: float | None = None

    def answered(self, member: Member, response: Response, seconds: float, now: float) -> None:
        """Count an answer, which may be a failure by its status."""
        if response._status in self._rules.statuses:
            self._fail(member, f"the last answer was {response._status}", now)
            return
        record = self._records.get(member) or self._record_of(member)
        record.before, record.streak = record.streak, 0
        record.total += 1
        record.successes += 1

    def failed(self, member: Member, seconds: float, now: float) -> None:
        """Count a try without an answer."""
        self._fail(member, "the last without an answer", now)

    def broke_off(self, member: Member, now: float) -> None:
        """Let the last answer be a failure after all."""
        record = self._record_of(member)
        record.streak = max(record.streak, record.before)
        if record.successes:
            record.total -= 1
            record.successes -= 1
        self._fail(member, "the last with a body that broke off", now)

    def tick(self, now: float) -> None:
        """Let those return whose time is over; compare success rates at the end of a window."""
        if self._members is not self._cluster.members:
            self._members = self._cluster.members
            self._records = {member: self._record_of(member) for member in self._members}
        if now >= self._next_return:
            self._return_due(now)
        if self._rules.deviation and (self._window_ends is None or now >= self._window_ends):
            if self._window_ends is not None:
                self._compare(now)
            self._window_ends = now + self._rules.window

    def _fail(self, member: Member, what: str, now: float) -> None:
        record = self._record_of(member)
        record.streak += 1
        record.before = 0
        record.total += 1
        if 0 < self._rules.failures <= record.streak:
            self._eject(member, record, f"{record.streak} failures in a row, {what}", now)

    def _record_of(self, member: Member) -> _Record:
        record = self._records.get(member)
        if record is None:
            record = self._records[member] = _Record()
        return record

    def _compare(self, now: float) -> None:
        rates = {
            member: record.successes / record.total
            for member, record in self._records.items()
            if record.total >= self._rules.volume and not member.excluded
        }
        for record in self._records.values():
            record.total = record.successes = 0
        if len(rates) < _LEAST_MEMBERS:
            return
        least = fmean(rates.values()) - self._rules.deviation * pstdev(rates.values())
        for member, rate in sorted(rates.items(), key=lambda item: item[1]):
            if rate < least:
                why = f"{rate:.1%} of its answers were good, below the {least:.1%} that the others ask for"
                self._eject(member, self._records[member], why, now)

    def _eject(self, member: Member, record: _Record, why: str, now: float) -> None:
        rules, members = self._rules, self._cluster.members
        if member.excluded & {Reason.EJECTED, Reason.UNHEALTHY, Reason.GONE}:
            return
        ejected = sum(Reason.EJECTED in other.excluded for other in members)
        # One of two or more may always be ejected, a single one never.
        if ejected >= max(int(rules.most * len(members)), 1) or len(members) == 1:
            return
        if record.ejections:
            record.ejections -= min(record.ejections, int((now - record.until) / rules.time))
        # No more than it takes to get to the longest, or the way back would be longer still.
        record.ejections = min(record.ejections + 1, ceil(rules.longest / rules.time))
        seconds = min(rules.time * record.ejections, rules.longest)
        record.until = now + seconds
        record.streak = 0
        self._next_return = min(self._next_return, record.until)
        self._cluster.exclude(member, Reason.EJECTED, now)
        log.warning("cluster %s: %s is ejected for %g s: %s", self._cluster.name, member.server, seconds, why)

    def _return_due(self, now: float) -> None:
        waiting = []
        for member, record in self._records.items():
            if Reason.EJECTED not in member.excluded:
                continue
            if record.until > now:
                waiting.append(record.until)
                continue
            record.streak = record.total = record.successes = 0
            self._cluster.include(member, Reason.EJECTED, now)
            log.info("cluster %s: %s may be chosen again", self._cluster.name, member.server)
        self._next_return = min(waiting, default=inf)
