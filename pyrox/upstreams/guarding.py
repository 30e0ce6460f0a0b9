"""Settings -> the guard of a cluster."""

from __future__ import annotations

from collections.abc import Callable

from pyrox.config_failure import retries_of
from pyrox.config_routes import failures_of
from pyrox.settings import ClusterSettings
from pyrox.upstreams.breaker import BreakerRules
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.gate import Usher
from pyrox.upstreams.guard import Guard, GuardRules
from pyrox.upstreams.retry import RetryRules


def set_guard(cluster: Cluster, settings: ClusterSettings, random: Callable[[], float]) -> None:
    """Give ``cluster`` the guard that ``settings`` ask for, if they ask for anything that needs one."""
    rules = _rules_of(settings)
    if rules:
        cluster.guard = Guard(cluster, rules, random)
        if rules.queue_limit:
            cluster.watch(Usher(cluster.guard.gate))


def _rules_of(settings: ClusterSettings) -> GuardRules:
    on_error, statuses = failures_of(settings.breaker_on)
    return GuardRules(
        retry=_retry_rules_of(settings),
        budget=settings.retry_budget / 100,
        least_retries=settings.retry_budget_min,
        breaker=_breaker_rules_of(settings) if settings.breaker else None,
        breaker_errors=on_error,
        breaker_statuses=statuses,
        server_limit=settings.max_connections,
        exchange_limit=settings.max_exchanges,
        queue_limit=settings.queue,
        queue_timeout=settings.queue_timeout,
        try_timeout=settings.try_timeout,
        hedge_after=settings.hedge_after,
    )


def _retry_rules_of(settings: ClusterSettings) -> RetryRules:
    failures, statuses = retries_of(settings.retry_on)
    return RetryRules(
        retries=settings.retries,
        failures=failures,
        statuses=statuses,
        longest_body=settings.retry_body,
        pause=settings.retry_backoff,
        longest_pause=settings.retry_backoff_max,
    )


def _breaker_rules_of(settings: ClusterSettings) -> BreakerRules:
    return BreakerRules(
        share=settings.breaker / 100,
        least=settings.breaker_volume,
        window=settings.breaker_window,
        open_time=settings.breaker_open,
        longest_open_time=settings.breaker_open_max,
        trials=settings.breaker_trials,
    )
