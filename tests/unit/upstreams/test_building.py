"""Clusters as the file says."""

from __future__ import annotations

import pytest

from pyrox.config import parse_settings
from pyrox.errors import NoRoute
from pyrox.http.message import Request
from pyrox.router import Router
from pyrox.upstreams.balancing import Ewma, LeastConn, RandomTwo
from pyrox.upstreams.building import make_clusters
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Reason
from pyrox.upstreams.outliers import Outliers
from pyrox.upstreams.policy import Policy, RoundRobin
from pyrox.upstreams.rendezvous import Hash
from pyrox.upstreams.sticky import Sticky
from tests.unit.upstreams.kit import GET, NOW, name_of

SECRET = "0123456789abcdef0123456789abcdef"


def clusters_of(text: str, random: float = 0.0) -> dict[str, Cluster]:
    settings = parse_settings(text)
    return make_clusters(settings.routing.upstream_hosts, settings.clusters.sections, lambda: random)


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ("", RoundRobin),
        ("balance = least_conn", LeastConn),
        ("balance = random_two", RandomTwo),
        ("balance = ewma", Ewma),
        ("balance = hash", Hash),
        (f"balance = sticky\ncookie_secret = {SECRET}", Sticky),
    ],
)
def test_each_balance_is_its_policy(options: str, policy: type[Policy]) -> None:
    clusters = clusters_of(f"[clusters]\n[[users]]\nservers = http://a, http://b backup\n{options}")
    assert type(clusters["users"]._primary.policy) is policy
    assert clusters["users"]._backup is not None
    assert type(clusters["users"]._backup.policy) is policy


def test_members_are_the_servers() -> None:
    cluster = clusters_of("[clusters]\n[[u]]\nservers = http://a weight=3, unix:/b backup\nslow_start = 2")[
        "u"
    ]
    assert [(m.server.url, m.weight, m.is_backup) for m in cluster.members] == [
        ("http://a", 3, False),
        ("unix:/b", 1, True),
    ]
    assert cluster.listens


def test_servers_are_checked_and_ejected_when_the_file_says_so() -> None:
    text = "[clusters]\n[[u]]\nservers = http://a, http://b, http://c, http://d\n"
    plain = clusters_of(text)["u"]
    assert (plain.check, plain.watchers, plain.listens) == (None, [], False)
    connects = clusters_of(f"{text}health_check = connect")["u"]
    assert connects.check is not None and connects.check.path == ""
    options = "health_check = http\nhealth_path = /z\nhealth_status = 204, 300-301\nhealth_body = \u00e4"
    check = clusters_of(text + options)["u"].check
    assert check is not None
    assert (check.path, check.statuses, check.body) == ("/z", {204, 300, 301}, "\u00e4".encode())
    assert (check.interval, check.timeout, check.rise, check.fall) == (5.0, 3.0, 2, 3)
    for option in ("eject_failures = 1", "eject_deviation = 1.9"):
        [watcher] = clusters_of(text + option)["u"].watchers
        assert isinstance(watcher, Outliers)


def test_less_than_thirty_per_cent_is_a_panic() -> None:
    cluster = clusters_of("[clusters]\n[[u]]\nservers = http://a, http://b, http://c, http://d")["u"]
    for number, is_panic in enumerate((False, False, True)):
        cluster.exclude(cluster.members[number], Reason.UNHEALTHY, NOW)
        cluster.choose(GET, NOW)
        assert cluster.is_panicking is is_panic


def test_a_cookie_is_called_as_its_cluster_or_as_configured() -> None:
    text = "[clusters]\n[[{}]]\nservers = http://a\nbalance = sticky\ncookie_secret = {}\n{}\n"
    for options, name in (("", "pyrox_u"), ("cookie_name = id\ncookie_same_site = strict", "id")):
        policy = clusters_of(text.format("u", SECRET, options))["u"]._primary.policy
        assert isinstance(policy, Sticky)
        assert policy._cookie.name == name
    assert policy._cookie.same_site == "Strict"


def test_a_server_that_upstream_hosts_names_twice_is_one_with_twice_the_weight() -> None:
    [cluster] = clusters_of("[routing]\nupstream_hosts = http://a, http://b, http://a").values()
    assert [(m.server.url, m.weight) for m in cluster.members] == [("http://a", 2), ("http://b", 1)]


def test_workers_begin_their_rounds_at_different_places() -> None:
    text = "[routing]\nupstream_hosts = http://a, http://b, http://c, http://d"
    first = [
        name_of(cluster.choose(GET, NOW))
        for at in (0.0, 0.3, 0.6, 0.9)
        for cluster in clusters_of(text, at).values()
    ]
    assert first == ["a", "b", "c", "d"]


# --- the router


def routed(destination: str | None, default: str = "upstream_hosts") -> str:
    request = Request("GET", "/")
    if destination is not None:
        request.route_to(destination)
    router = Router(clusters_of("[clusters]\n[[users]]\nservers = http://u"), default)
    return name_of(router.route(request).choose(request, NOW))


def test_a_request_goes_to_the_default_or_where_it_was_routed_to() -> None:
    assert routed(None) == "localhost"
    assert routed(None, "users") == "u"
    assert routed("users") == "u"
    assert routed("upstream_hosts", "users") == "localhost"
    assert routed("http://x.test:8000") == "x.test"


def test_a_cluster_that_is_none_is_no_route() -> None:
    with pytest.raises(NoRoute, match="no cluster of that name, and 'user' is not http://host:port"):
        routed("user")
