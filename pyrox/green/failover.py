"""``Failover``: an exchange at a cluster that has a guard; its places, tries and pauses."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import gevent

from pyrox.error_log import log_failure
from pyrox.errors import NoHealthyServer, Overloaded, UpstreamError, UpstreamTimeout
from pyrox.green.attempt import GuardedExchange, StaleConnection
from pyrox.green.hedging import Race
from pyrox.green.kept_body import can_send_again, keep_body
from pyrox.green.waiting import Wait
from pyrox.http.message import Request, Response
from pyrox.upstreams.gate import Place, Waiter
from pyrox.upstreams.guard import Guard
from pyrox.upstreams.member import Member
from pyrox.upstreams.retry import may_send_again, retry_after

if TYPE_CHECKING:
    from pyrox.green.exchange import LiveExchange
    from pyrox.green.forwarder import Forwarder

log = logging.getLogger("pyrox.upstream")

Answer = tuple[GuardedExchange, Response]


class Failover:
    """Lets ``forwarder`` send requests as the guard of their cluster says."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def forward(self, guard: Guard, request: Request, exchange: LiveExchange | None) -> Response:
        """Return the response to ``request``, of ``exchange`` when a client made it.

        Raises what the last server did, and ``Overloaded`` (503) when it had to wait for too long.
        """
        return Stay(self._forwarder, guard, request, exchange).answer()


class Stay:
    """One exchange at one cluster, until the head of its response; its place there lasts until the last byte.

    ``tried`` are the members that it does not want again; ``is_repeatable``: a server that has seen the
    request may see it again.
    """

    def __init__(
        self, forwarder: Forwarder, guard: Guard, request: Request, exchange: LiveExchange | None
    ) -> None:
        self._forwarder = forwarder
        self._retries = 0
        self.guard = guard
        self.request = request
        self.exchange = exchange
        self.owner = exchange or forwarder.current_exchange()
        self.tried: tuple[Member, ...] = ()
        self.is_repeatable = guard.may_send_again and may_send_again(request)
        if self.is_repeatable:
            keep_body(request, exchange, guard.rules.retry.longest_body)

    def answer(self) -> Response:
        """Send the request until there is an answer to stay with."""
        gate = self.guard.gate
        place = self._enter()
        try:
            attempt, response = self._persist(place)
        except BaseException:
            gate.end(monotonic())
            raise
        attempt.then(gate.end)
        return response

    def _persist(self, place: Place) -> Answer:
        pause = 0.0
        while True:
            try:
                answer = self._ask(place, pause)
            except UpstreamError as error:
                found = self._after_failure(place.member, error)
                if found is None:
                    raise
                log.info("%s: %s; trying again", place.member.server, error)
                error.__traceback__ = None  # its frames hold the error
            else:
                found = self._after_answer(answer)
                if found is None:
                    return answer
            place, pause = found
            if self.exchange is not None:
                self.exchange.retries += 1

    # --- one try

    def _ask(self, place: Place, pause: float) -> Answer:
        """Make a try, after ``pause`` seconds, or two when the first takes long."""
        if pause:
            try:
                Wait(self.owner).sleep(pause)
            except BaseException:
                self.give_back(place)
                raise
        if self.guard.rules.hedge_after and self.is_repeatable and self.exchange is not None:
            return Race(self, self.exchange, place).run()
        return self.try_at(place, self.exchange)

    def try_at(self, place: Place, exchange: LiveExchange | None) -> Answer:
        """Send the request to the member that ``place`` is at, and give the place back when it is over."""
        guard, member, request = self.guard, place.member, self.request
        cluster = guard.cluster
        started = monotonic()
        try:
            answer = self._send_in_time(member, exchange)
        except UpstreamError as error:
            now = monotonic()
            if self._is_servers_fault(started, now):
                guard.failed(place, now)
                if cluster.listens:
                    cluster.failed(member, now - started, now, refused=error.retryable)
            self.give_back(place)
            raise
        except BaseException:
            self.give_back(place)
            raise
        now = monotonic()
        guard.answered(place, answer[1], now)
        answer[0].then(partial(self._leave, place))
        if cluster.listens:
            cluster.answered(member, request, answer[1], now - started, now)
        return answer

    def _is_servers_fault(self, started: float, now: float) -> bool:
        """Of an exchange whose time is over, when the server had most of it, and the whole request."""
        owner = self.owner
        if owner is None or owner.cancelled is None:
            return True
        return now - started > started - owner.started and not owner.is_uploading

    def give_back(self, place: Place) -> None:
        """Give ``place`` back, whatever became of it."""
        self._leave(place, monotonic())

    def _leave(self, place: Place, now: float) -> None:
        self.guard.abandoned(place, now)
        self.guard.gate.leave(place, now)

    def _send_in_time(self, member: Member, exchange: LiveExchange | None) -> Answer:
        seconds = self.guard.rules.try_timeout
        if not seconds:
            return self._send(GuardedExchange(member, self.request), exchange)
        attempt = GuardedExchange(member, self.request)
        limit = gevent.Timeout.start_new(seconds)
        try:
            return self._send(attempt, exchange)
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise  # a middleware's own
            error = UpstreamTimeout(f"no answer within a try_timeout of {seconds:g} s")
            # Not even connected: nothing was sent. An application has no connection, and may have begun.
            error.retryable = attempt.pool is None and attempt.application is None
            raise error from None
        finally:
            limit.close()

    def _send(self, attempt: GuardedExchange, exchange: LiveExchange | None) -> Answer:
        try:
            return attempt, self._forwarder.try_once(attempt, exchange, fresh=False)
        except StaleConnection as error:
            log.info("%s: %s; trying again", attempt.member.server, error)
            error.__traceback__ = None
        if exchange is not None:
            exchange.retries += 1
        again = GuardedExchange(attempt.member, self.request)
        return again, self._forwarder.try_once(again, exchange, fresh=True)

    # --- after it: another place and the seconds until then, or None to leave it at that

    def _after_failure(self, member: Member, error: UpstreamError) -> tuple[Place, float] | None:
        self.tried = (*self.tried, member)
        if self._is_cancelled():
            return None
        if error.retryable and (place := self._place_elsewhere()):
            return place, 0.0
        wanted = "connect" if error.retryable else error.failure
        if wanted not in self.guard.rules.retry.failures or not self._may_retry(is_unseen=error.retryable):
            return None
        place = self._place_for_retry(member)
        return (place, self._pause()) if place else None

    def _after_answer(self, answer: Answer) -> tuple[Place, float] | None:
        member, response = answer[0].member, answer[1]  # of a hedge, perhaps
        if response._status not in self.guard.rules.retry.statuses or not self._may_retry():
            return None
        self.tried = (*self.tried, member)
        place = self._place_for_retry(member)
        if place is None:
            return None
        pause = self._pause()
        if place.member is member:
            asked = retry_after(response)
            if asked is None or asked > self.guard.rules.retry.longest_pause:
                self.give_back(place)
                return None
            pause = max(pause, asked)
        log.info("%s: %d; trying again", member.server, response._status)
        for failure in response.close():
            log_failure("an on_close callback failed", failure)
        return place, pause

    def _may_retry(self, is_unseen: bool = False) -> bool:
        """Whether the request may be sent once more; counts it when it may.

        ``is_unseen``: the last server got nothing of it.
        """
        return (
            (self.is_repeatable or is_unseen)
            and self._retries < self.guard.rules.retry.retries
            and (is_unseen or can_send_again(self.request))
            and self.guard.budget.take(monotonic())
        )

    def _pause(self) -> float:
        self._retries += 1
        return self.guard.rules.retry.pause_before(self._retries, self.guard.random)

    def _is_cancelled(self) -> bool:
        return self.owner is not None and self.owner.cancelled is not None

    # --- places

    def _enter(self) -> Place:
        guard, now = self.guard, monotonic()
        place = guard.gate.enter(self.request, now)
        if place is None:
            place, now = self._wait_for_place(is_inside=False), monotonic()
        guard.begin(now)
        return place

    def _place_elsewhere(self) -> Place | None:
        """Return a place at a member that was not tried, waiting for one if need be."""
        with suppress(NoHealthyServer):
            place = self.free_place(self.tried)
            return place or self._wait_for_place(is_inside=True)
        return None

    def _place_for_retry(self, last: Member) -> Place | None:
        """Return a place that is free now: at a member that was not tried, or else at any but the last."""
        for tried in (self.tried, (last,), ()):
            with suppress(NoHealthyServer):
                if place := self.free_place(tried):
                    self.tried = tried
                    return place
        return None

    def free_place(self, tried: tuple[Member, ...]) -> Place | None:
        """Return a place at a member that is not one of ``tried``, None when all are taken.

        Raises ``NoHealthyServer``.
        """
        return self.guard.gate.enter(self.request, monotonic(), tried, is_inside=True)

    def _wait_for_place(self, is_inside: bool) -> Place:
        gate, seconds = self.guard.gate, self.guard.rules.queue_timeout
        wait = Wait(self.owner)
        waiter = Waiter(self.request, self.tried, is_inside, wait.wake)
        gate.wait(waiter)
        try:
            wait.sleep(seconds)
        except BaseException:
            gate.give_up(waiter)
            if waiter.place is not None:
                self.give_back(waiter.place)
                if not is_inside:
                    gate.end(monotonic())
            raise
        gate.give_up(waiter)
        if waiter.place is None:
            raise Overloaded(f"waited {seconds:g} s for a place")
        return waiter.place
