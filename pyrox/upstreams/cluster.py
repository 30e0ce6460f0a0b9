"""``Cluster``: servers that do the same work, and how one of them is chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf

from pyrox.errors import NoHealthyServer
from pyrox.http.message import Request, Response
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import Policy, RoundRobin

_RAMP_STEPS = 50  # in which the weight of a member that starts slowly grows


class Cluster:
    """A named group of members; backups are chosen when none of the others is left.

    * ``policy`` makes the policy, once for the primary members and once for the backups.
    * ``slow_start``: seconds in which the weight of a member that recovered grows from next to nothing to
      all of it; 0 for at once.
    * ``listens``: whether ``answered`` and ``failed`` must be called; for others that would be in vain.

    Raises ``ValueError`` when there is no member that is no backup.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[Member],
        policy: Callable[[], Policy] = RoundRobin,
        slow_start: float = 0.0,
    ) -> None:
        self.name = name
        self.members = tuple(members)
        primaries = [member for member in members if not member.is_backup]
        backups = [member for member in members if member.is_backup]
        if not primaries:
            raise ValueError(f"cluster {name!r} has no server that is not a backup")
        self._primary = _Rank(primaries, policy())
        self._backup = _Rank(backups, policy()) if backups else None
        self._slow_start = slow_start
        self._ramps_at = inf  # when the next step of a slow start is due
        self.listens = self._primary.policy.listens or slow_start > 0

    def choose(self, request: Request, now: float, tried: Collection[Member] = ()) -> Member:
        """Return the member for ``request``, none of ``tried``.

        Raises ``NoHealthyServer`` (503) when every member was tried.
        """
        if now >= self._ramps_at:
            self._ramp(now)
        primary = self._primary
        if not tried:
            return primary.policy.choose(primary.lineup, request, now)
        for rank in self._ranks():
            if any(member not in tried for member in rank.lineup.members):
                return rank.policy.choose_other(rank.lineup, request, now, tried)
        raise NoHealthyServer(f"cluster {self.name}: every server was tried")

    def answered(
        self, member: Member, request: Request, response: Response, seconds: float, now: float
    ) -> None:
        """The head of ``response`` came from ``member``, ``seconds`` after the try began.

        The policy may change the response.
        """
        if member.refuses:
            member.refuses = False
            if self._slow_start:
                member.recovered = now
                self._ramp(now)
        self._rank_of(member).policy.answered(member, request, response, seconds, now)

    def failed(self, member: Member, seconds: float, now: float, refused: bool) -> None:
        """No response came from ``member``, which was clear after ``seconds``.

        ``refused``: it did not even take a connection; when it does again, it starts slowly.
        """
        if refused:
            member.refuses = True
        self._rank_of(member).policy.failed(member, seconds, now)

    def _ranks(self) -> tuple[_Rank, ...]:
        return (self._primary,) if self._backup is None else (self._primary, self._backup)

    def _rank_of(self, member: Member) -> _Rank:
        return self._backup if member.is_backup and self._backup is not None else self._primary

    def _ramp(self, now: float) -> None:
        """Take the next step of every slow start that is going on."""
        ramping = [rank.ramp(now, self._slow_start) for rank in self._ranks()]
        self._ramps_at = now + self._slow_start / _RAMP_STEPS if any(ramping) else inf


class _Rank:
    """The primary members, or the backups."""

    __slots__ = ("lineup", "policy")

    def __init__(self, members: Sequence[Member], policy: Policy) -> None:
        self.lineup = Lineup(members)
        self.policy = policy

    def ramp(self, now: float, duration: float) -> bool:
        ramping = [member.ramp(now, duration) for member in self.lineup.members]
        self.lineup = Lineup(self.lineup.members)
        return any(ramping)
