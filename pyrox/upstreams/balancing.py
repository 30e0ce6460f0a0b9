"""Policies that look at what the members have to do: ``LeastConn``, ``RandomTwo`` and ``Ewma``."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf

from pyrox.http.message import Request, Response
from pyrox.upstreams.lineup import Lineup
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import Policy

Random = Callable[[], float]  # from 0 to less than 1

# What counts is the middle between what is in flight now and what will be: so whole numbers come as near to
# the weights as they can (it is how Sainte-Lague shares out seats), where few exchanges are in flight, too.
_HALF = 0.5
# Seconds in which a measured latency loses two thirds of its weight: the choice of Finagle and of nginx's
# ingress.
_MEMORY = 10.0
# How much quicker the second of two must be to be taken in place of the first: less is noise, and noise
# would even out what the weights say.
_CLEARLY = 0.8
# What a try that failed counts at least, in seconds: a server that fails at once must not look quick.
_FAILURE = 5.0


class LeastConn(Policy):
    """A member that is idle, or else the one with the fewest exchanges in flight for its weight."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, lineup: Lineup, request: Request, now: float) -> Member:
        member = lineup.pick(self._random())
        if not member.in_flight:
            return member
        members = lineup.members
        if lineup.is_even:  # the same, and quicker
            least = min([member.in_flight for member in members])
            equals = [member for member in members if member.in_flight == least]
            return equals[int(self._random() * len(equals))]
        loads = [(member.in_flight + _HALF) / member.weight for member in members]
        least_load = min(loads)
        equals = [member for member, load in zip(members, loads, strict=True) if load == least_load]
        return equals[0] if len(equals) == 1 else Lineup(equals).pick(self._random())


class RandomTwo(Policy):
    """Of two random members, the one with fewer exchanges in flight for its weight.

    Nearly as even as ``LeastConn`` and as quick with thousands of members as with two (Mitzenmacher, "The
    power of two choices in randomized load balancing").
    """

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, lineup: Lineup, request: Request, now: float) -> Member:
        one, two = lineup.pick_two(self._random(), self._random())
        if not one.in_flight:
            return one
        is_less = (two.in_flight + _HALF) / two.weight < (one.in_flight + _HALF) / one.weight
        return two if is_less else one


class Ewma(Policy):
    """Of two random members, the one that is clearly expected to answer sooner, else the first.

    What is expected is the latency, times what is in flight. The latency is a moving average that follows
    a slow answer at once and quick ones little by little, and is forgotten with time, so that a member
    that was slow is tried again.
    """

    listens = True

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, lineup: Lineup, request: Request, now: float) -> Member:
        one, two = lineup.pick_two(self._random(), self._random())
        return two if _cost(two, now) < _cost(one, now) * _CLEARLY else one

    def answered(
        self, member: Member, request: Request, response: Response, seconds: float, now: float
    ) -> None:
        if seconds < member.latency:
            old = exp((member.measured - now) / _MEMORY)
            seconds = member.latency * old + seconds * (1.0 - old)
        member.latency = seconds
        member.measured = now

    def failed(self, member: Member, seconds: float, now: float) -> None:
        member.latency = max(seconds, member.latency, _FAILURE)
        member.measured = now


def _cost(member: Member, now: float) -> float:
    if not member.latency:
        # One try will tell; until it has, a second would be a guess.
        return inf if member.in_flight else 0.0
    latency = member.latency * exp((member.measured - now) / _MEMORY)
    return latency * (1.0 + member.in_flight / member.weight)
