"""The options of [clusters] about failure and overload: which words there are, and what goes together."""

from __future__ import annotations

from collections.abc import Iterator

from pyrox.config_report import did_you_mean
from pyrox.config_routes import failures_of
from pyrox.settings import ClusterSettings

FAILURES = ("connect", "reset", "timeout", "invalid")


def retries_of(items: tuple[str, ...]) -> tuple[frozenset[str], frozenset[int]]:
    """Read ``retry_on``: the failures and the statuses in it; raises ``ValueError``."""
    statuses = [item for item in items if item not in FAILURES]
    for status in statuses:
        if not status.isdecimal() or not 400 <= int(status) <= 599:
            hint = did_you_mean(status, FAILURES)
            raise ValueError(
                f"{status!r} is neither {', '.join(FAILURES)} nor a status from 400 to 599{hint}"
            )
    return frozenset(items).intersection(FAILURES), frozenset(map(int, statuses))


def failure_faults(cluster: ClusterSettings) -> Iterator[tuple[str, str]]:
    """Yield the option and the reason of what is wrong with ``cluster``."""
    for key, read in (("retry_on", retries_of), ("breaker_on", failures_of)):
        try:
            read(getattr(cluster, key))
        except ValueError as error:
            yield key, str(error)
    for key in ("retry_backoff", "breaker_open"):
        least, most = getattr(cluster, key), getattr(cluster, f"{key}_max")
        if most < least:  # which may be its default, of which the user knows nothing
            yield f"{key}_max", f"is {most:g}, less than {key} = {least:g}; set it to that or more"
    if cluster.hedge_after and 0 < cluster.try_timeout <= cluster.hedge_after:
        yield "hedge_after", f"has no use with a try_timeout of {cluster.try_timeout:g}; make it less"
    if cluster.queue and not cluster.max_connections and not cluster.max_exchanges:
        yield "queue", "has no use without max_connections or max_exchanges; set one of them"
