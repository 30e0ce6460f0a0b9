"""``in_flight``: how many exchanges a client, a tenant or everybody may have in progress at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Literal

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.limiting.counts import shared_counts
from pyrox.middleware.limiting.keys import Key, parse_key
from pyrox.middleware.place import current_place

_match = re.compile(r"(?P<most>[0-9]{1,9})(?:\s+per\s+(?P<key>\S+))?").fullmatch


class InFlight(Middleware):
    """Refuses requests while too many exchanges are in progress.

    An exchange is in progress from here until the last byte of its response, or the end of its tunnel,
    however it ends. What a killed worker had in progress counts no more.

    * ``limits``: one or more of ``NUMBER [per KEY]``, for example ``20 per client, 1000``; keys are those of
      ``rate_limit``. A request must fit all of them.
    * ``scope``: whether exchanges are counted in each ``worker``, or in all workers of the ``machine``'s
      proxy together. Default ``machine``.
    * ``status``: 503 or 429. Default 503.
    * ``retry_after``: seconds in Retry-After. Default 1.
    * ``ipv6_prefix``: how many bits of an IPv6 address tell clients apart. Default 64.
    * ``max_keys``: how many keys with exchanges in progress there is room for; when it is used up, new keys
      are refused. Default 16384.
    """

    def __init__(
        self,
        app: App,
        limits: Sequence[str],
        scope: Literal["machine", "worker"] = "machine",
        status: Literal[503, 429] = 503,
        retry_after: int = 1,
        ipv6_prefix: int = 64,
        max_keys: int = 16384,
    ) -> None:
        super().__init__(app)
        for option, value, least, most in (
            ("ipv6_prefix", ipv6_prefix, 1, 128),
            ("max_keys", max_keys, 64, 1 << 20),
            ("retry_after", retry_after, 1, 86400),
        ):
            if not least <= value <= most:
                raise ValueError(f"{option}: {value} is not between {least} and {most}")
        place = current_place()
        self._limits = _parse_limits(limits, ipv6_prefix)
        self._counts = shared_counts("in_flight" if place is None else place.section, max_keys)
        self._of_worker = scope == "worker"
        self._status = status
        self._retry_after = str(retry_after)

    def __call__(self, request: Request) -> Response:
        release = self._enter(request)
        try:
            response = self.app(request)
        except BaseException:  # also what ends a greenlet
            release()
            raise
        response.on_close(release)
        return response

    def _enter(self, request: Request) -> partial[None]:
        """Count the request; returns what takes that back. Raises ``HTTPError`` when there is no room."""
        slots: list[int] = []
        for text, most, key in self._limits:
            slot = self._counts.add(text + key(request), most, self._of_worker)
            if slot is None:
                self._leave(slots)
                raise HTTPError(self._status, "", {"Retry-After": self._retry_after})
            slots.append(slot)
        return partial(self._leave, slots)

    def _leave(self, slots: list[int]) -> None:
        while slots:  # each once, however often this is called
            self._counts.release(slots.pop())


def _parse_limits(texts: Sequence[str], ipv6_prefix: int) -> list[tuple[str, int, Key]]:
    """Return what each limit's keys begin with, the limit, and the key."""
    if not texts:
        raise ValueError("limits: there is none; for example: limits = 20 per client, 1000")
    limits = []
    for text in texts:
        found = _match(text.strip())
        if found is None or not int(found["most"]):
            raise ValueError(f"limits: {text!r} is not like '20 per client' or '1000'")
        word = found["key"] or "all"
        try:
            limits.append((f"{word}\n", int(found["most"]), parse_key(word, ipv6_prefix)))
        except ValueError as error:
            raise ValueError(f"limits: {text!r}: {error}") from None
    words = [word for word, _, _ in limits]
    if len(set(words)) < len(words):
        raise ValueError("limits: two have the same key; only the smaller one would ever count")
    return limits
