"""``Gate``: how much a cluster may have to do at the same time, and the queue of those that wait."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pyrox.errors import NoHealthyServer, Overloaded
from pyrox.http.message import Request
from pyrox.upstreams.member import Member
from pyrox.upstreams.watcher import Watcher

Choose = Callable[[Request, float, Collection[Member]], Member]


class Place:
    """A place at ``member``, for one try; ``ticket`` is what ``begin`` returned, until it is settled."""

    __slots__ = ("member", "ticket")

    def __init__(self, member: Member, ticket: int) -> None:
        self.member = member
        self.ticket = ticket


class Waiter:
    """An exchange that waits for a place at a member.

    * ``tried``: members it must not get; ``is_inside``: it is one of the cluster's exchanges already.
    * ``wake`` is called when it has got its ``place``.
    """

    __slots__ = ("is_inside", "place", "request", "tried", "wake")

    def __init__(
        self, request: Request, tried: Collection[Member], is_inside: bool, wake: Callable[[], object]
    ) -> None:
        self.request = request
        self.tried = tried
        self.is_inside = is_inside
        self.wake = wake
        self.place: Place | None = None


class Gate:
    """Counts the exchanges of a cluster and the tries at each of its members. A limit of 0 is none.

    An exchange that came in by ``enter``, or by waiting, goes out by ``end``; each place that one of these
    gave goes back by ``leave``.

    * ``choose`` chooses a member; ``begin`` hears of each that gets a try, and returns the try's ticket.
    """

    def __init__(
        self,
        choose: Choose,
        begin: Callable[[Member, float], int],
        server_limit: int = 0,
        exchange_limit: int = 0,
        queue_limit: int = 0,
    ) -> None:
        self._choose = choose
        self._begin = begin
        self._server_limit = server_limit
        self._exchange_limit = exchange_limit
        self._queue_limit = queue_limit
        self._full: set[Member] = set()
        # In the order in which they came; those inside already hold what others wait for, and go first.
        self._inside: dict[Waiter, None] = {}
        self._outside: dict[Waiter, None] = {}
        self.taken: dict[Member, int] = {}  # tries at each member that has some
        self.exchanges = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._inside) + len(self._outside)

    def enter(
        self, request: Request, now: float, tried: Collection[Member] = (), is_inside: bool = False
    ) -> Place | None:
        """Return a place for ``request``, now taken, at none of ``tried``; None when there is none.

        Raises ``NoHealthyServer`` (503) when that is not for want of places.
        """
        if self._outside and not is_inside:
            return None  # nobody overtakes those that wait
        return self._take(request, now, tried, is_inside)

    def wait(self, waiter: Waiter) -> None:
        """Let ``waiter`` wait; raises ``Overloaded`` (503) when too many do."""
        if self.waiting >= self._queue_limit:
            raise Overloaded(f"as much to do as it may have, and {self.waiting} waiting")
        (self._inside if waiter.is_inside else self._outside)[waiter] = None

    def give_up(self, waiter: Waiter) -> None:
        """Let ``waiter`` wait no more; a ``place`` that it got meanwhile is its own to give back."""
        self._inside.pop(waiter, None)
        self._outside.pop(waiter, None)

    def leave(self, place: Place, now: float) -> None:
        """A try is over."""
        member = place.member
        left = self.taken[member] - 1
        if left:
            self.taken[member] = left
        else:
            del self.taken[member]
        self._full.discard(member)
        if self._inside or self._outside:
            self.dispatch(now)

    def end(self, now: float) -> None:
        """An exchange is over."""
        self.exchanges -= 1
        if self._outside:
            self.dispatch(now)

    def dispatch(self, now: float) -> None:
        """Give those that wait what there is for them."""
        for waiter in tuple(self._inside):
            self._serve(waiter, now, self._inside)
        # They take any member: when there is nothing for the first, there is nothing for the others.
        while self._outside and self._serve(next(iter(self._outside)), now, self._outside):
            pass

    def _serve(self, waiter: Waiter, now: float, queue: dict[Waiter, None]) -> bool:
        try:
            waiter.place = self._take(waiter.request, now, waiter.tried, waiter.is_inside)
        except NoHealthyServer:
            return False  # there may be one again before its time is up
        if waiter.place is None:
            return False
        del queue[waiter]
        waiter.wake()
        return True

    def _take(self, request: Request, now: float, tried: Collection[Member], is_inside: bool) -> Place | None:
        if self._exchange_limit and not is_inside and self.exchanges >= self._exchange_limit:
            return None
        member = self._choose_free(request, now, tried)
        if member is None:
            return None
        taken = self.taken[member] = self.taken.get(member, 0) + 1
        if taken == self._server_limit:
            self._full.add(member)
        if not is_inside:
            self.exchanges += 1
        return Place(member, self._begin(member, now))

    def _choose_free(self, request: Request, now: float, tried: Collection[Member]) -> Member | None:
        if not self._full:
            return self._choose(request, now, tried)
        try:
            return self._choose(request, now, self._full.union(tried))
        except NoHealthyServer:
            self._choose(request, now, tried)  # raises when it is not because they are full
            return None


class Usher(Watcher):
    """Finds those that wait a place that nobody gave back: at a member that recovered, or is new."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def tick(self, now: float) -> None:
        if self._gate.waiting:
            self._gate.dispatch(now)
