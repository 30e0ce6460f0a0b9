"""``Cluster``: servers that do the same work, and how one of them is chosen."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import TYPE_CHECKING

from pyrox.errors import NoHealthyServer
from pyrox.http.message import Request, Response
from pyrox.upstreams.checks import Check
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import HEALTH, Member, Reason
from pyrox.upstreams.policy import Policy, RoundRobin
from pyrox.upstreams.watcher import Watcher

if TYPE_CHECKING:
    from pyrox.upstreams.guard import Guard

log = logging.getLogger("pyrox.health")

_RAMP_STEPS = 50  # in which the weight of a member that starts slowly grows


class Cluster:
    """A named group of members; backups are chosen when none of the others is left.

    * ``policy`` makes the policy, once for the primary members and once for the backups.
    * ``slow_start``: seconds in which the weight of a member that recovered grows from next to nothing to
      all of it; 0 for at once.
    * ``panic``: from 0 to 1. When a smaller share of the primary members is healthy, and no backup is, they
      are all chosen from, whatever their health: so few would break down under the work of all, and when
      nearly all look ill it may be the look that is wrong. 0 for never.
    * ``check``: how the health of its servers is checked; None when it is not.
    * ``listens``: whether ``answered`` and ``failed`` must be called; for others that would be in vain.

    Raises ``ValueError`` when there is no member that is no backup, unless it ``is_discovered``: then others
    may come.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[Member],
        policy: Callable[[], Policy] = RoundRobin,
        slow_start: float = 0.0,
        panic: float = 0.0,
        check: Check | None = None,
        is_discovered: bool = False,
    ) -> None:
        self.name = name
        self.members = tuple(members)
        if all(member.is_backup for member in members) and not is_discovered:
            raise ValueError(f"cluster {name!r} has no server that is not a backup")
        self._make_policy = policy
        self._primary = _Rank(policy())
        self._backup: _Rank | None = None
        self._slow_start = slow_start
        self._panic = panic
        self.check = check
        self.watchers: list[Watcher] = []
        self.is_panicking = False
        self.guard: Guard | None = None  # what it does about failure and overload; None for next to nothing
        self.listens = self._primary.policy.listens or slow_start > 0
        self._ranks: tuple[_Rank, ...] = ()  # those that have somebody to choose from
        # When the lineups are to be made anew: at once after a change, or at the next step of a slow start.
        self._due = inf
        self._arrange()

    def choose(self, request: Request, now: float, tried: Collection[Member] = ()) -> Member:
        """Return the member for ``request``, none of ``tried``.

        Raises ``NoHealthyServer`` (503) when every member was tried or may not be chosen now.
        """
        if now >= self._due:
            self._settle(now)
        if tried or not self._ranks:
            return self._choose_other(request, now, tried)
        first = self._ranks[0]
        return first.policy.choose(first.lineup, request, now)

    def _choose_other(self, request: Request, now: float, tried: Collection[Member]) -> Member:
        for rank in self._ranks:
            if any(member not in tried for member in rank.lineup.members):
                return rank.policy.choose_other(rank.lineup, request, now, tried)
        raise NoHealthyServer(f"cluster {self.name}: {self._why_nobody()}")

    # --- who may be chosen ---

    def exclude(self, member: Member, reason: Reason, now: float) -> None:
        """Choose ``member`` no more, until ``include`` is called for every reason there is.

        What is in flight at it goes on. To call it again for the same reason changes nothing. The lineups
        are made anew by the next choice, once for all changes until then; that takes microseconds for each
        member of the cluster, so reasons should not come and go with every request of a large one.
        """
        if reason not in member.excluded:
            member.excluded |= {reason}
            self._due = -inf

    def include(self, member: Member, reason: Reason, now: float) -> None:
        """Take back ``reason``; a member that was away because of its health starts slowly."""
        if reason in member.excluded:
            member.excluded -= {reason}
            self._due = -inf
            if reason in HEALTH and not member.excluded & HEALTH:
                self._start_slowly(member, now)
            if reason is Reason.UNHEALTHY and self.guard is not None:
                self.guard.is_well(member, now)

    def update_members(self, members: Sequence[Member], now: float) -> None:
        """Let these be the members from now on.

        A server that stays keeps its ``Member``, and all that is known of it, and takes over the weight and
        the role that are new. One that goes is chosen no more, and what is in flight at it goes on. One that
        comes starts slowly. There may be none at all; then ``choose`` raises.
        """
        known = {member.server: member for member in self.members}
        self.members = tuple(
            self._renewed(known.pop(member.server, None), member, now)
            for member in {member.server: member for member in members}.values()
        )
        for member in known.values():
            member.excluded |= {Reason.GONE}
        self._due = -inf

    def _renewed(self, known: Member | None, member: Member, now: float) -> Member:
        if known is None:
            member.excluded -= {Reason.GONE}  # it may have been here before
            self._start_slowly(member, now)
            return member
        if known.full_weight != member.full_weight:
            known.weight = known.full_weight = member.full_weight
        known.is_backup = member.is_backup
        return known

    def _start_slowly(self, member: Member, now: float) -> None:
        member.refuses = False
        if self._slow_start:
            member.recovered = now
            self._due = -inf

    # --- what became of a try ---

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher``, too, what becomes of each try."""
        self.watchers.append(watcher)
        self.listens = True

    def answered(
        self, member: Member, request: Request, response: Response, seconds: float, now: float
    ) -> None:
        """The head of ``response`` came from ``member``, ``seconds`` after the try began.

        The policy may change the response.
        """
        if member.refuses:
            self._start_slowly(member, now)
        if self._primary.policy.listens:
            self._rank_of(member).policy.answered(member, request, response, seconds, now)
        for watcher in self.watchers:
            watcher.answered(member, response, seconds, now)

    def failed(self, member: Member, seconds: float, now: float, refused: bool) -> None:
        """No response came from ``member``, which was clear after ``seconds``.

        ``refused``: it did not even take a connection; when it does again, it starts slowly.
        """
        if refused:
            member.refuses = True
        self._rank_of(member).policy.failed(member, seconds, now)
        for watcher in self.watchers:
            watcher.failed(member, seconds, now)

    def broke_off(self, member: Member, now: float) -> None:
        """A response from ``member``, whose head was reported by ``answered``, did not come whole."""
        if self.guard is not None:
            self.guard.broke_off(member, now)
        for watcher in self.watchers:
            watcher.broke_off(member, now)

    def tick(self, now: float) -> None:
        """Let time go by for the watchers; to be called a few times a second when there are ``watchers``."""
        for watcher in self.watchers:
            watcher.tick(now)

    def _rank_of(self, member: Member) -> _Rank:
        return self._backup if member.is_backup and self._backup is not None else self._primary

    # --- lineups ---

    def _settle(self, now: float) -> None:
        """Take the next step of every slow start that is going on, and make the lineups anew."""
        ramping = [member.ramp(now, self._slow_start) for member in self.members]
        self._due = now + self._slow_start / _RAMP_STEPS if any(ramping) else inf
        self._arrange()

    def _arrange(self) -> None:
        primaries = [member for member in self.members if not member.is_backup]
        backups = [member for member in self.members if member.is_backup]
        healthy = [member for member in primaries if not member.excluded & HEALTH]
        ignored: frozenset[Reason] = frozenset()
        is_panicking = len(healthy) < self._panic * len(primaries) and not _eligible(backups, ignored)
        if is_panicking is not self.is_panicking:
            self.is_panicking = is_panicking
            what = "so all are used" if is_panicking else "so the others are left out again"
            log.warning("cluster %s: %d of %d healthy, %s", self.name, len(healthy), len(primaries), what)
        if is_panicking:
            ignored = HEALTH
        if backups and self._backup is None:
            self._backup = _Rank(self._make_policy())
        ranks = [self._primary.line_up(_eligible(primaries, ignored))]
        if self._backup is not None:
            ranks.append(self._backup.line_up(_eligible(backups, ignored)))
        self._ranks = tuple(rank for rank in ranks if rank is not None)

    def _why_nobody(self) -> str:
        if self._ranks:
            return "every server was tried"
        if not self.members:
            return "it has no server"
        reasons = Counter(reason for member in self.members for reason in member.excluded)
        counts = ", ".join(f"{reasons[reason]} {reason}" for reason in Reason if reason in reasons)
        return f"none of {len(self.members)} servers can be chosen ({counts})"


def _eligible(members: Sequence[Member], ignored: frozenset[Reason]) -> list[Member]:
    return [member for member in members if member.excluded <= ignored]


class _Rank:
    """The primary members, or the backups: their policy, and those of them that may be chosen now."""

    __slots__ = ("lineup", "policy")
    lineup: Lineup

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def line_up(self, members: Sequence[Member]) -> _Rank | None:
        """Let these be chosen from; returns this rank, or None when there are none."""
        if not members:
            return None
        self.lineup = Lineup(members)
        return self
