"""Settings -> what a cluster does about the health of its servers."""

from __future__ import annotations

from pyrox.settings import ClusterSettings
from pyrox.upstreams.checks import Check
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.outliers import OutlierRules, Outliers
from pyrox.upstreams.statuses import parse_statuses


def make_check(settings: ClusterSettings) -> Check | None:
    """Return how its servers are checked; None when they are not."""
    if settings.health_check == "off":
        return None
    return Check(
        path=settings.health_path if settings.health_check == "http" else "",
        host=settings.health_host,
        statuses=parse_statuses(settings.health_status),
        body=settings.health_body.encode(),
        interval=settings.health_interval,
        timeout=settings.health_timeout,
        rise=settings.health_rise,
        fall=settings.health_fall,
    )


def watch_outliers(cluster: Cluster, settings: ClusterSettings) -> None:
    """Let ``cluster`` eject members, when it should."""
    if not settings.eject_failures and not settings.eject_deviation:
        return
    rules = OutlierRules(
        failures=settings.eject_failures,
        statuses=parse_statuses(settings.eject_status),
        deviation=settings.eject_deviation,
        window=settings.eject_window,
        volume=settings.eject_volume,
        time=settings.eject_time,
        longest=settings.eject_time_max,
        most=settings.eject_most / 100,
    )
    cluster.watch(Outliers(cluster, rules))
