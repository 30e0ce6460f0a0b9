"""``Board``: what the processes of one master know of each other, in memory that they share.

The master makes it before it forks and gives each worker a seat. Every word has one writer, the worker
itself or the master, and a word is written whole: so no lock is needed, and a worker that is killed leaves
none behind.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

_WORDS = 6  # of 8 bytes, for one seat
_STAGE, _ORDER, _BEAT, _OPEN, _RECENT, _EPOCH = range(_WORDS)


class Stage(IntEnum):
    """How far a worker is in its life; written by the worker."""

    FREE = 0  # nobody sits here
    BOOTING = 1  # cannot serve yet
    READY = 2  # could serve, and waits for those that started with it
    SERVING = 3
    SPENT = 4  # serves, and wants to be replaced
    LEAVING = 5  # takes no new connection


class Order(IntEnum):
    """How a worker that is told to leave should do it; written by the master, before the signal."""

    STOP = 0  # the proxy ends: let the idle clients go soon
    RETIRE = 1  # others have taken over: tunnels may live on
    HAND_OVER = 2  # another master has taken over, and this one is about to end


class Seat:
    """One worker's place on the board."""

    __slots__ = ("_at", "_words", "number")

    def __init__(self, words: memoryview[int], number: int) -> None:
        self._words = words
        self._at = number * _WORDS
        self.number = number

    @property
    def stage(self) -> int:
        """The worker's ``Stage``."""
        return self._words[self._at + _STAGE]

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self._words[self._at + _STAGE] = stage

    @property
    def order(self) -> int:
        """The master's ``Order``."""
        return self._words[self._at + _ORDER]

    @order.setter
    def order(self, order: Order) -> None:
        self._words[self._at + _ORDER] = order

    @property
    def is_serving(self) -> bool:
        """Whether the worker accepts connections, now or within milliseconds, and will for some time."""
        return self.stage in (Stage.READY, Stage.SERVING, Stage.SPENT) and self.order == Order.STOP

    @property
    def beat(self) -> int:
        """When the worker was last seen, in milliseconds of the monotonic clock."""
        return self._words[self._at + _BEAT]

    @beat.setter
    def beat(self, milliseconds: int) -> None:
        self._words[self._at + _BEAT] = milliseconds

    @property
    def open(self) -> int:
        """How many client connections the worker has open."""
        return self._words[self._at + _OPEN]

    @open.setter
    def open(self, count: int) -> None:
        self._words[self._at + _OPEN] = count

    def recent(self, epoch: int) -> int:
        """Return how many connections were accepted lately: each ``epoch`` that ends halves it."""
        words, at = self._words, self._at
        age = epoch - words[at + _EPOCH]
        return words[at + _RECENT] if age <= 0 else words[at + _RECENT] >> min(age, 63)

    def set_recent(self, count: int, epoch: int) -> None:
        """Set what ``recent`` starts from."""
        self._words[self._at + _RECENT] = count
        self._words[self._at + _EPOCH] = epoch

    def clear(self) -> None:
        """Make the seat free."""
        for word in range(self._at, self._at + _WORDS):
            self._words[word] = 0

    def __repr__(self) -> str:
        stage, order = Stage(self.stage).name, Order(self.order).name
        return f"<Seat {self.number} {stage} {order}, {self.open} open>"


class Board:
    """Seats for ``size`` workers, old ones that still drain among them; make it before the first fork."""

    def __init__(self, size: int = 4096) -> None:
        self.size = size
        memory = mmap.mmap(-1, (size * _WORDS + 2) * 8)
        words = memoryview(memory).cast("q")
        self._words = words[2:]
        self._ever_taken = words[:1]  # how many seats from the first on were ever taken
        self._ending = words[1:2]

    @property
    def is_ending(self) -> bool:
        """Whether the proxy is about to end, or ends, and nobody takes over; set by the master, for good."""
        return bool(self._ending[0])

    def announce_end(self) -> None:
        """Let the workers know that the proxy is about to end."""
        self._ending[0] = 1

    def take_seat(self) -> Seat:
        """Return a free seat, now that of a worker which is about to start; raises ``LookupError``."""
        for number in range(self.size):
            seat = Seat(self._words, number)
            if seat.stage == Stage.FREE:
                seat.clear()
                seat.stage = Stage.BOOTING
                self._ever_taken[0] = max(self._ever_taken[0], number + 1)
                return seat
        raise LookupError(f"all {self.size} seats for workers are taken")

    def taken(self) -> list[Seat]:
        """Return the seats that are not free."""
        seats = [Seat(self._words, number) for number in range(self._ever_taken[0])]
        return [seat for seat in seats if seat.stage != Stage.FREE]
