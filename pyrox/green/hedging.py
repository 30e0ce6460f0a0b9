"""``Race``: a request that is sent to a second server when the first takes long. The first answer wins."""

from __future__ import annotations

import logging
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

import gevent

from pyrox.errors import NoHealthyServer
from pyrox.green.exchange import LiveExchange
from pyrox.green.kept_body import can_send_again
from pyrox.green.waiting import Wait
from pyrox.http.message import Response
from pyrox.upstreams.gate import Place

if TYPE_CHECKING:
    from pyrox.green.failover import Answer, Stay

log = logging.getLogger("pyrox.upstream")


class Race:
    """At most two tries of ``stay``, whose client waits in ``exchange``; the first has ``place``."""

    def __init__(self, stay: Stay, exchange: LiveExchange, place: Place) -> None:
        self._stay = stay
        self._exchange = exchange
        self._wait = Wait(exchange)
        self._runners = [_Runner(stay, place, _FirstPart(exchange), self._wait)]

    def run(self) -> Answer:
        """Return the first answer; raises the first server's failure when there is none."""
        winner: _Runner | None = None
        try:
            if not self._wait.sleep(self._stay.guard.rules.hedge_after):
                self._start_second()
            while not (winner := self._winner()) and not all(runner.is_over for runner in self._runners):
                self._wait.sleep(0)
        finally:
            for runner in self._runners:
                if runner is not winner:
                    runner.stop()
            first = winner or self._runners[0]
            first.part.become(self._exchange)
        if first.answer is None:
            assert first.failure is not None  # all are over
            raise first.failure
        return first.answer

    def _start_second(self) -> None:
        stay, first = self._stay, self._runners[0].place.member
        if not can_send_again(stay.request, needs_all=True):
            return
        with suppress(NoHealthyServer):
            tried = (*stay.tried, first)
            if (place := stay.free_place(tried)) is None:
                return
            if not stay.guard.budget.take(monotonic()):
                stay.give_back(place)
                return
            log.info("%s takes long; asking %s, too", first.server, place.member.server)
            self._exchange.retries += 1
            self._runners.append(_Runner(stay, place, _Part(self._exchange), self._wait))
            stay.tried = (*stay.tried, place.member)

    def _winner(self) -> _Runner | None:
        return next((runner for runner in self._runners if runner.answer is not None), None)


class _Part(LiveExchange):
    """One of the tries' own record of ``whole``; the client hears of one of them only."""

    __slots__ = ("_whole",)

    def __init__(self, whole: LiveExchange) -> None:
        super().__init__(whole.stream, whole.peer_address, whole.started, whole.pool)
        self.request = whole.request
        self.request_reader = whole.request_reader
        self._whole = whole

    def relay_informational(self, response: Response) -> None:
        """Two greenlets must not write to one client."""

    def become(self, whole: LiveExchange) -> None:
        """Let ``whole`` be the exchange of this try from now on."""
        whole.server, whole.connect_done, whole.first_byte = self.server, self.connect_done, self.first_byte
        whole.retries += self.retries
        whole.attempts += self.attempts
        whole.responses += self.responses


class _FirstPart(_Part):
    """Of the first try."""

    __slots__ = ()

    def relay_informational(self, response: Response) -> None:
        self._whole.relay_informational(response)


class _Runner:
    """A greenlet that makes one try; in the end it has an ``answer`` or a ``failure``."""

    def __init__(self, stay: Stay, place: Place, part: _Part, wait: Wait) -> None:
        self._stay = stay
        self._wait = wait
        self._has_begun = False
        self.place = place
        self.part = part
        self.answer: Answer | None = None
        self.failure: BaseException | None = None
        self._greenlet = gevent.spawn(self._run)

    @property
    def is_over(self) -> bool:
        return self.answer is not None or self.failure is not None

    def stop(self) -> None:
        """Give the try up, and what it has."""
        self._greenlet.kill()
        if not self._has_begun:
            self._stay.give_back(self.place)
        self.part.release(None)

    def _run(self) -> None:
        self._has_begun = True
        try:
            self.answer = self._stay.try_at(self.place, self.part)
        except BaseException as failure:
            self.failure = failure
        self._wait.wake()
