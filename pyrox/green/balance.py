"""``Share``: how one worker of several comes to no more than its part of the new connections.

All workers wait at the same listening sockets, and the kernel wakes whichever it likes: the one that
sleeps deepest may come too late every time. So each publishes how many connections it has open and how
many it has accepted lately, and one that is ahead of the least loaded leaves the event to the others for
a moment. See docs/decisions for why the workers do not have a socket each.
"""

from __future__ import annotations

from time import monotonic

from pyrox.green.board import Board, Order, Seat, Stage

# Seconds after which what was accepted counts half: long enough to see one connection per request,
# short enough that a worker which joins is not sent everything for long.
_EPOCH = 1.0
# How far ahead is ahead; a connection that stays open counts twice, once as open and once as recent.
_LEAD = 4
# How often in a row a worker gives way to others that do not come: they may be busy with one long call.
_MOST_YIELDS = 5
# Milliseconds after which a worker that was not seen is not waited for.
_STALE = 1000


class Share:
    """Counts one worker's connections and says when it should leave the next one to others.

    Call ``refresh()`` several times a second: who else serves is looked up only there.
    """

    def __init__(self, board: Board, seat: Seat) -> None:
        self._board = board
        self._seat = seat
        self._open = 0
        self._recent = 0
        self._epoch = int(monotonic() / _EPOCH)
        self._peers: list[Seat] = []
        self._yielded_to = -1
        self._yields = 0

    def join(self) -> None:
        """Start as one who has accepted as many as the others: not everything new should come here."""
        self.refresh()
        self._recent = min((peer.recent(self._epoch) for peer in self._peers), default=0)
        self._seat.set_recent(self._recent, self._epoch)

    def refresh(self) -> None:
        """Say that this worker is alive, and see which others are."""
        now = int(monotonic() * 1000)
        self._seat.beat = now
        taken = self._board.taken()
        number = self._seat.number
        self._peers = [
            seat for seat in taken if seat.is_serving and seat.number != number and now - seat.beat < _STALE
        ]

    def has_others(self) -> bool:
        """Whether another worker serves too."""
        self.refresh()
        return bool(self._peers)

    def is_early(self) -> bool:
        """Whether nobody serves yet and others are about to: who starts first would get all that waits."""
        stages = {seat.stage for seat in self._board.taken() if seat.order == Order.STOP}
        return Stage.BOOTING in stages and not stages & {Stage.SERVING, Stage.SPENT}

    def opened(self) -> None:
        """Count a connection that was accepted."""
        self._open += 1
        self._age()
        self._recent += 1
        self._seat.open = self._open
        self._seat.set_recent(self._recent, self._epoch)

    def closed(self) -> None:
        """Count a connection that has ended."""
        self._open -= 1
        self._seat.open = self._open

    def is_ahead(self) -> bool:
        """Whether to leave the next connection to others; not for ever, they may not come for it."""
        if not self._peers:
            return False
        self._age()
        epoch = self._epoch
        lowest = min([peer.open + peer.recent(epoch) for peer in self._peers])
        if self._open + self._recent < lowest + _LEAD + (lowest >> 4):
            return False
        if lowest != self._yielded_to:  # they came for the last one
            self._yielded_to, self._yields = lowest, 0
        self._yields += 1
        if self._yields <= _MOST_YIELDS:
            return True
        self._yields = 0
        return False

    def _age(self) -> None:
        epoch = int(monotonic() / _EPOCH)
        if epoch != self._epoch:
            self._recent >>= min(epoch - self._epoch, 63)
            self._epoch = epoch
