"""Settings -> clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from pyrox.settings import ClusterSettings
from pyrox.upstreams.balancing import Ewma, LeastConn, RandomTwo
from pyrox.upstreams.caring import make_check, watch_outliers
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.discovering import first_members
from pyrox.upstreams.guarding import set_guard
from pyrox.upstreams.member import Member
from pyrox.upstreams.policy import Policy, RoundRobin
from pyrox.upstreams.rendezvous import Hash, key_of
from pyrox.upstreams.server import parse_server
from pyrox.upstreams.sticky import Sticky, StickyCookie

Random = Callable[[], float]  # from 0 to less than 1
DEFAULT_CLUSTER = "upstream_hosts"  # what the servers of [routing] upstream_hosts are called


def make_clusters(
    upstream_hosts: Collection[str], clusters: Mapping[str, ClusterSettings], random: Random
) -> dict[str, Cluster]:
    """Return every cluster by its name; the servers of ``upstream_hosts`` are ``DEFAULT_CLUSTER``.

    ``random`` decides what is left to chance, among it where this worker begins its rounds.
    """
    made = {DEFAULT_CLUSTER: _in_turn(upstream_hosts, random)} if upstream_hosts else {}
    for name, settings in clusters.items():
        made[name] = _make_cluster(name, settings, random)
    return made


def _in_turn(urls: Iterable[str], random: Random) -> Cluster:
    # A server that is listed twice gets twice the requests, and is still one server to retry on.
    members = [Member(parse_server(url), count) for url, count in Counter(urls).items()]
    return Cluster(DEFAULT_CLUSTER, members, lambda: RoundRobin(random()))


def _make_cluster(name: str, settings: ClusterSettings, random: Random) -> Cluster:
    cluster = Cluster(
        name,
        first_members(settings.servers),
        lambda: _make_policy(name, settings, random),
        settings.slow_start,
        settings.panic_threshold / 100,
        make_check(settings),
        is_discovered=settings.is_discovered,
    )
    set_guard(cluster, settings, random)
    watch_outliers(cluster, settings)
    return cluster


def _make_policy(name: str, settings: ClusterSettings, random: Random) -> Policy:
    in_turn = RoundRobin(random())
    match settings.balance:
        case "least_conn":
            return LeastConn(random)
        case "random_two":
            return RandomTwo(random)
        case "ewma":
            return Ewma(random)
        case "hash":
            return Hash(key_of(settings.hash_on), in_turn)
        case "sticky":
            return Sticky(_cookie_of(name, settings), in_turn)
    return in_turn


def _cookie_of(name: str, settings: ClusterSettings) -> StickyCookie:
    return StickyCookie(
        cluster=name,
        name=settings.cookie_name or f"pyrox_{name}",
        secret=settings.cookie_secret,
        max_age=int(settings.cookie_max_age),
        path=settings.cookie_path,
        domain=settings.cookie_domain,
        same_site=settings.cookie_same_site.capitalize(),
    )
