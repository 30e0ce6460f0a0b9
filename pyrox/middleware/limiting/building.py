"""``make_store``: where quotas are kept, from the options."""

from __future__ import annotations

from urllib.parse import urlsplit

from pyrox.middleware.extras import require
from pyrox.middleware.limiting.demands import Store
from pyrox.middleware.limiting.guarded_store import GuardedStore
from pyrox.middleware.limiting.memory_store import SharedMemoryStorage

_SCHEMES = ("redis", "rediss", "redis+unix")


def make_store(store: str, name: str, most_keys: int, prefix: str, timeout: float, on_error: str) -> Store:
    """Return the store that the options ask for; ``name`` is what its keys belong to.

    Redis is not asked yet: a proxy starts without it. Raises ``ValueError``.
    """
    if store == "memory":
        return SharedMemoryStorage(name=name, most_keys=most_keys)
    if (scheme := urlsplit(store).scheme) not in _SCHEMES:  # the rest may hold a password
        raise ValueError(f"store: {scheme or store!r} is neither memory nor {', '.join(_SCHEMES)}")
    if not 0 < timeout <= 10:
        raise ValueError(f"store_timeout: {timeout} is not between 0 and 10 seconds")
    require("redis", "redis")
    from pyrox.middleware.limiting.redis_store import open_redis

    # The memory is made now: what is wrong with it must not be found out when Redis is lost.
    local = SharedMemoryStorage(name=name, most_keys=most_keys) if on_error == "local" else None
    return GuardedStore(open_redis(store, f"{prefix}:{name}", timeout), local, name)
