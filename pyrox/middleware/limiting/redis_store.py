"""``AtomicRedisStorage``: quotas in Redis, for several machines; the storage of ``limits`` with ``take``.

One script meets all demands of a request, in one round trip, by Redis' own clock: clocks that differ between
machines do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from importlib.resources import files
from typing import Any

import redis
from limits.storage.redis import RedisStorage
from redis.backoff import NoBackoff
from redis.retry import Retry

from pyrox.middleware.limiting.demands import Demand, StoreError, Verdict, not_taken
from pyrox.time_limit import TimeIsUp, time_limit

_SCRIPT = files(__package__).joinpath("take.lua").read_bytes()
_MOST_CONNECTIONS = 256  # of one worker, each for a request that waits for an answer at this moment


class AtomicRedisStorage(RedisStorage):
    """Redis, or what speaks its protocol and runs its scripts; not a cluster, where keys live apart."""

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri, **options)
        # For a connection and an answer; redis-py has no limit for the look-up of a name before them.
        self._longest = 2 * float(options["socket_timeout"])
        self._take = self.get_connection().register_script(_SCRIPT)

    def key(self, text: str) -> bytes:
        """Return 16 bytes that stand for ``text``, alike on all machines; what clients send is not shown."""
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def take(self, demands: Sequence[Demand]) -> list[Verdict]:
        """Meet all demands or none, see ``Store``."""
        keys = [self.prefixed_key(demand.key.hex()) for demand in demands]
        arguments: list[str | int] = []
        for demand in demands:
            arguments += [demand.strategy, demand.quota, demand.window, demand.burst, demand.cost]
        try:
            with time_limit(self._longest):
                answer = self._take(keys, arguments)
        except (redis.RedisError, TimeIsUp) as error:
            raise StoreError(f"{type(error).__name__}: {error}") from error
        verdicts = [
            Verdict(bool(granted), remaining, reset / 1e6, retry / 1e6)
            for granted, remaining, reset, retry in answer
        ]
        if all(verdict.granted for verdict in verdicts):
            return verdicts
        return [not_taken(verdict, demand) for verdict, demand in zip(verdicts, demands, strict=True)]


def open_redis(uri: str, prefix: str, timeout: float) -> AtomicRedisStorage:
    """Return the Redis at ``uri``; no connection is made yet. Raises ``ValueError`` for a bad ``uri``.

    ``timeout`` is for a connection and for each answer. Nothing is tried again: the client is waiting.
    """
    try:
        return AtomicRedisStorage(
            uri,
            key_prefix=prefix,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            max_connections=_MOST_CONNECTIONS,
            protocol=2,
            lib_name=None,
            lib_version=None,
        )
    except (ValueError, redis.RedisError) as error:
        raise ValueError(f"store: is no address of a Redis: {error}") from None
