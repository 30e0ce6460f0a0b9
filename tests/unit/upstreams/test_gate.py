"""Places at servers, and who waits for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import NoHealthyServer, Overloaded
from pyrox.http.message import Request
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.gate import Gate, Place, Usher, Waiter
from pyrox.upstreams.member import Member, Reason
from tests.unit.upstreams.kit import GET, NOW, members


class Door:
    """A gate before a cluster of so many members, and who was woken."""

    def __init__(self, count: int, server: int = 0, exchanges: int = 0, queue: int = 10) -> None:
        self.members = members(*[1] * count)
        self.cluster = Cluster("c", self.members)
        self.begun: list[Member] = []
        self.woken: list[Waiter] = []
        self.gate = Gate(self._choose, self._begin, server, exchanges, queue)

    def _choose(self, request: Request, now: float, tried: Collection[Member]) -> Member:
        return self.cluster.choose(request, now, tried)

    def _begin(self, member: Member, now: float) -> int:
        self.begun.append(member)
        return len(self.begun)

    def enter(self, tried: Collection[Member] = (), is_inside: bool = False) -> Place | None:
        return self.gate.enter(GET, NOW, tried, is_inside)

    def place(self) -> Place:
        place = self.enter()
        assert place is not None
        return place

    def wait(self, tried: Collection[Member] = (), is_inside: bool = False) -> Waiter:
        waiter = Waiter(GET, tried, is_inside, lambda: self.woken.append(waiter))
        self.gate.wait(waiter)
        return waiter

    def leave(self, place: Place | None) -> None:
        assert place is not None
        self.gate.leave(place, NOW)


def test_without_limits_there_is_always_a_place() -> None:
    door = Door(2)
    places = [door.place() for _ in range(100)]
    assert sum(door.gate.taken.values()) == door.gate.exchanges == 100
    for place in places:
        door.leave(place)
        door.gate.end(NOW)
    assert (door.gate.taken, door.gate.exchanges) == ({}, 0)


def test_full_servers_are_passed_over() -> None:
    door = Door(3, server=2)
    assert [door.place() for _ in range(6)]
    assert set(door.gate.taken.values()) == {2}
    assert door.enter() is None


def test_ticket_of_a_place_is_that_of_its_try() -> None:
    door = Door(1)
    assert [door.place().ticket, door.place().ticket] == [1, 2]


def test_limit_of_exchanges_is_for_newcomers_only() -> None:
    door = Door(2, exchanges=1)
    first = door.place()
    assert door.enter() is None
    assert door.enter((first.member,), is_inside=True) is not None
    door.gate.end(NOW)
    assert door.enter() is not None


def test_nobody_to_choose_is_no_reason_to_wait() -> None:
    door = Door(2, server=1)
    for member in door.members:
        door.cluster.exclude(member, Reason.UNHEALTHY, NOW)
    with pytest.raises(NoHealthyServer):
        door.enter()


def test_full_server_and_an_excluded_one_are_a_reason_to_wait() -> None:
    door = Door(2, server=1)
    door.cluster.exclude(door.members[0], Reason.UNHEALTHY, NOW)
    assert door.place().member is door.members[1]
    assert door.enter() is None
    with pytest.raises(NoHealthyServer):
        door.enter((door.members[1],), is_inside=True)


def test_those_that_wait_are_served_first_come_first_served() -> None:
    door = Door(1, server=2)
    places = [door.place(), door.place()]
    waiters = [door.wait() for _ in range(3)]
    for place in places:
        door.leave(place)
    assert door.woken == waiters[:2]
    door.leave(waiters[0].place)
    assert door.woken == waiters


def test_newcomer_does_not_overtake() -> None:
    door = Door(2, server=1, exchanges=1)
    door.place()
    waiter = door.wait()
    assert door.enter() is None
    door.gate.end(NOW)
    assert door.woken == [waiter]
    assert door.enter() is None, "it came in"


def test_those_that_are_inside_go_before_those_that_are_not() -> None:
    door = Door(1, server=1)
    place = door.place()
    door.wait()
    insider = door.wait(is_inside=True)
    door.leave(place)
    assert door.woken == [insider]


def test_one_that_has_tried_the_free_server_lets_others_have_it() -> None:
    door = Door(2, server=1)
    one, two = door.place(), door.place()
    picky = door.wait((one.member,), is_inside=True)
    other = door.wait()
    door.leave(one)
    assert door.woken == [other]
    door.leave(two)
    assert door.woken == [other, picky]


def test_queue_has_an_end() -> None:
    door = Door(1, server=1, queue=2)
    door.place()
    door.wait()
    door.wait()
    with pytest.raises(Overloaded) as caught:
        door.wait()
    assert (caught.value.status, caught.value.proxy_status) == (503, "connection_limit_reached")
    assert door.gate.waiting == 2


def test_one_that_gives_up_leaves_the_queue() -> None:
    door = Door(1, server=1)
    place = door.place()
    first, second = door.wait(), door.wait()
    door.gate.give_up(first)
    door.leave(place)
    assert (door.woken, first.place) == ([second], None)


def test_server_that_is_excluded_while_some_wait_serves_none_of_them() -> None:
    door = Door(1, server=1)
    place = door.place()
    waiter = door.wait()
    door.cluster.exclude(place.member, Reason.UNHEALTHY, NOW)
    door.leave(place)
    assert (door.woken, door.gate.waiting) == ([], 1)
    door.cluster.include(place.member, Reason.UNHEALTHY, NOW)
    door.gate.dispatch(NOW)
    assert door.woken == [waiter]


def test_usher_finds_a_place_at_a_member_that_recovered_or_came() -> None:
    door = Door(1, server=1)
    door.cluster.watch(Usher(door.gate))
    door.place()
    first, second = door.wait(), door.wait()
    door.cluster.tick(NOW)
    assert door.woken == []
    more = members(1, 1, 1)
    door.cluster.update_members(more[:2], NOW)
    door.cluster.tick(NOW)
    assert door.woken == [first]
    door.cluster.update_members(more, NOW)
    door.cluster.exclude(more[2], Reason.UNHEALTHY, NOW)
    door.cluster.tick(NOW)
    assert door.woken == [first]
    door.cluster.include(more[2], Reason.UNHEALTHY, NOW)
    door.cluster.tick(NOW)
    assert door.woken == [first, second]


class Model:
    """A door, and what must be behind it: the places of each exchange, and those that wait, as they came."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.stays: list[list[Place]] = []
        self.waiters: list[Waiter] = []

    def come(self, number: int) -> None:
        place = self.door.enter()
        if place is not None:
            assert not self.waiters, "nobody overtakes"
            self.stays.append([place])
        else:
            self.waiters.append(self.door.wait())

    def retry(self, number: int) -> None:
        stay = self.stays[number % len(self.stays)]
        if (place := self.door.enter([place.member for place in stay], is_inside=True)) is not None:
            stay.append(place)

    def leave(self, number: int) -> None:
        busy = [stay for stay in self.stays if stay]
        self.door.leave(busy[number % len(busy)].pop())

    def end(self, number: int) -> None:
        self.stays.remove([])
        self.door.gate.end(NOW)

    def give_up(self, number: int) -> None:
        self.door.gate.give_up(self.waiters.pop(number % len(self.waiters)))

    def flap(self, number: int) -> None:
        cluster, member = self.door.cluster, self.door.members[number % len(self.door.members)]
        change = cluster.include if Reason.UNHEALTHY in member.excluded else cluster.exclude
        change(member, Reason.UNHEALTHY, NOW)

    def settle(self) -> None:
        """Take in what the gate gave to those that waited."""
        while self.waiters and (place := self.waiters[0].place):
            self.stays.append([place])
            del self.waiters[0]
        assert all(waiter.place is None for waiter in self.waiters), "first come, first served"

    def check(self, server: int, exchanges: int, queue: int) -> None:
        gate = self.door.gate
        assert gate.taken == Counter(place.member for stay in self.stays for place in stay)
        assert gate.exchanges == len(self.stays)
        assert gate.waiting == len(self.waiters) <= queue
        assert not exchanges or gate.exchanges <= exchanges
        assert not server or all(count <= server for count in gate.taken.values())


steps = st.lists(
    st.tuples(
        st.sampled_from([Model.come, Model.retry, Model.leave, Model.end, Model.give_up, Model.flap]),
        st.integers(0, 99),
    ),
    max_size=120,
)


@given(st.integers(1, 3), st.integers(0, 3), st.integers(0, 4), st.integers(0, 4), steps)
def test_no_limit_is_exceeded_and_no_place_is_lost(
    count: int, server: int, exchanges: int, queue: int, steps: list[tuple[Callable[..., None], int]]
) -> None:
    model = Model(Door(count, server, exchanges, queue))
    for step, number in steps:
        # Nobody there, nobody healthy, or nothing to do: then nothing may have changed.
        with suppress(NoHealthyServer, ZeroDivisionError, ValueError):
            step(model, number)
        model.settle()
        model.check(server, exchanges, queue)
