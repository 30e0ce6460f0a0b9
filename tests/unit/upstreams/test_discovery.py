"""What becomes of a cluster while its servers come and go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError, NoHealthyServer
from pyrox.http.message import Request
from pyrox.preflight import check_middleware, check_middleware_in_child
from pyrox.shared_memory import forget_own_memory
from pyrox.upstreams.building import make_clusters
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.discovering import make_discoveries
from pyrox.upstreams.discovery import Discovery
from pyrox.upstreams.dns import NoRecords, Records
from pyrox.upstreams.member import Member
from pyrox.upstreams.notebook import Notebook
from pyrox.upstreams.resolver import Found, Resolution, ResolveError, Resolver, parse_found
from pyrox.upstreams.server import Server, parse_server

HERE = "tests.unit.upstreams.test_discovery"
GET = Request("GET", "/")


class Scripted(Resolver):
    """Says one thing after the other."""

    def __init__(self, *answers: Sequence[str] | Exception, valid: float = 7.0) -> None:
        self._answers = [*answers]
        self._valid = valid

    def resolve(self) -> Resolution:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Resolution([parse_found(text) for text in answer], self._valid)


class Bench:
    """A discovery of one source, with the clock standing still."""

    def __init__(self, *answers: Sequence[str] | Exception, static: Sequence[str] = ()) -> None:
        members = [Member(parse_server(url)) for url in static]
        self.cluster = Cluster("c", members, is_discovered=True)
        self.gone: list[Server] = []
        self.discovery = Discovery(self.cluster, members, self.gone.append)
        self.discovery.add("script", Scripted(*answers))

    def refresh(self) -> float:
        return self.discovery.sources[0].refresh(lambda: 0.0)

    def urls(self) -> list[str]:
        return [member.server.url for member in self.cluster.members]


def test_servers_come_go_and_stay() -> None:
    bench = Bench(["http://a", "http://b"], ["http://b weight=3", "http://c backup"])
    assert bench.refresh() == 7.0
    assert bench.urls() == ["http://a", "http://b"]
    stays = bench.cluster.members[1]
    stays.in_flight = 5
    bench.refresh()
    assert bench.urls() == ["http://b", "http://c"]
    assert bench.cluster.members[0] is stays
    assert (stays.full_weight, stays.in_flight) == (3, 5)
    assert bench.cluster.members[1].is_backup
    assert [server.url for server in bench.gone] == ["http://a"]


def test_same_servers_in_another_order_change_nothing() -> None:
    bench = Bench(["http://a", "http://b"], ["http://b", "http://a"])
    bench.refresh()
    before = bench.cluster.members
    bench.refresh()
    assert bench.cluster.members is before


def test_servers_of_the_configuration_stay_whatever_is_found() -> None:
    bench = Bench(["http://a", "http://s"], ["http://b"], static=["http://s"])
    bench.refresh()
    assert bench.urls() == ["http://s", "http://a"]
    bench.refresh()
    assert bench.urls() == ["http://s", "http://b"]
    assert [server.url for server in bench.gone] == ["http://a"]


@pytest.mark.parametrize("failure", [ResolveError("down"), RuntimeError("a mistake"), []])
def test_last_servers_stay_when_none_are_known(
    failure: Exception | Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(["http://a"], failure, failure, failure, ["http://b"])
    bench.refresh()
    assert [bench.refresh() for _ in range(3)] == [1.0, 2.0, 4.0]
    assert bench.urls() == ["http://a"]
    assert bench.refresh() == 7.0
    assert bench.urls() == ["http://b"]
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(loud) == 2  # once that it failed, once that it works again
    assert "the 1 known stay" in loud[0].getMessage()
    assert bool(loud[0].exc_info) is isinstance(failure, RuntimeError)
    assert loud[1].getMessage() == "servers of cluster c by script: known again"


SERVER = parse_server("http://b")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Resolution(["http://b"]), "'http://b' is no Found"),  # type: ignore[list-item]
        (lambda: Resolution([Found("http://b")]), "is no Server"),  # type: ignore[arg-type]
        (lambda: Resolution([Found(SERVER, 0)]), "weight 0"),
        (lambda: Resolution([Found(SERVER, 101)]), "weight 101"),
        (lambda: Resolution([Found(SERVER)], None), "not None"),  # type: ignore[arg-type]
        (lambda: [SERVER], "AttributeError"),
    ],
)
def test_resolver_that_returns_nonsense_has_failed_and_is_asked_again(
    make: Callable[[], Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Resolver):
        def resolve(self) -> Resolution:
            return make()  # type: ignore[no-any-return]

    bench = Bench(["http://a"])
    bench.refresh()
    bench.discovery.sources[0].resolver = Wrong()
    assert bench.refresh() == 1.0
    assert bench.urls() == ["http://a"]
    assert reason in caplog.text


def test_resolver_may_say_when_to_ask_again() -> None:
    bench = Bench(ResolveError("changes", retry=0.2), *[ResolveError("down")] * 20)
    assert bench.refresh() == 0.2
    assert max(bench.refresh() for _ in range(20)) == 5.0


def test_resolver_that_returns_at_once_does_not_keep_the_worker_busy() -> None:
    bench = Bench()
    bench.discovery.sources[0].resolver = Scripted(["http://a"], valid=0.0)
    assert bench.refresh() > 0.01


def test_cluster_without_a_server_says_so_until_one_is_found() -> None:
    bench = Bench(ResolveError("down"), ["http://a"])
    bench.refresh()
    with pytest.raises(NoHealthyServer, match="it has no server"):
        bench.cluster.choose(GET, 0.0)
    bench.refresh()
    assert bench.cluster.choose(GET, 0.0).server.url == "http://a"


def test_what_two_resolvers_find_is_one_cluster(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(["http://a", "http://b"])
    bench.discovery.add("other", Scripted(["http://b", "http://c"], ["http://c"]))
    for source in bench.discovery.sources:
        source.refresh(lambda: 0.0)
    assert bench.urls() == ["http://a", "http://b", "http://c"]
    bench.discovery.sources[1].refresh(lambda: 0.0)
    assert bench.urls() == ["http://a", "http://b", "http://c"]
    assert bench.gone == []
    assert "cluster c: +http://a +http://b" in [record.getMessage() for record in caplog.records]


# --- from settings


class Zone:
    def __init__(self, **addresses: tuple[str, ...]) -> None:
        self.addresses = addresses

    def query(self, name: str, kind: str) -> Records:
        if kind == "A" and name.partition(".")[0] in self.addresses:
            return Records(60.0, self.addresses[name.partition(".")[0]])
        raise NoRecords("none")


class Listed(Resolver):
    """A resolver as users write it."""

    def __init__(self, cluster: str, port: int, hosts: list[str]) -> None:
        if port < 1:
            raise ValueError("port: must be positive; leave it out")
        self.urls = [f"http://{host}.{cluster}:{port}" for host in hosts]

    def resolve(self) -> Resolution:
        return Resolution([parse_found(url) for url in self.urls], 60.0)


class Broken(Resolver):
    def __init__(self, cluster: str) -> None:
        raise RuntimeError("no connection")


class NoResolver:
    def __init__(self, cluster: str) -> None:
        pass


def made(section: str, zone: Zone | None = None) -> tuple[Cluster, list[Discovery]]:
    settings = parse_settings(f"[clusters]\n[[c]]\n{section}\n")
    clusters = make_clusters((), settings.clusters.sections, lambda: 0.0)
    discoveries = make_discoveries(settings, clusters, lambda: zone or Zone(), lambda server: None)
    return clusters["c"], discoveries


def urls(cluster: Cluster) -> list[str]:
    return [member.server.url for member in cluster.members]


def test_name_stands_for_itself_until_it_is_resolved() -> None:
    zone = Zone()
    cluster, [discovery] = made(
        "servers = http://u.test:80 resolve weight=2, http://s.test, http://v resolve", zone
    )
    assert urls(cluster) == ["http://s.test", "http://u.test:80", "http://v"]
    for source in discovery.sources:
        source.refresh(lambda: 0.0)
    assert urls(cluster) == ["http://s.test", "http://u.test:80", "http://v"]
    zone.addresses = {"u": ("10.0.0.1", "10.0.0.2")}
    discovery.sources[0].refresh(lambda: 0.0)
    assert urls(cluster) == [
        "http://s.test",
        "http://10.0.0.1:80#u.test",
        "http://10.0.0.2:80#u.test",
        "http://v",
    ]
    assert cluster.members[1].full_weight == 2


def test_service_stands_for_nothing_until_it_is_resolved() -> None:
    cluster, [discovery] = made("servers = http://u.test service=http resolve")
    assert urls(cluster) == []
    assert discovery.sources[0].name == "_http._tcp.u.test"


def test_cluster_without_discovery_has_none() -> None:
    assert made("servers = http://a, http://b")[1] == []


def test_resolver_of_ones_own_gets_its_options_as_their_types() -> None:
    cluster, [discovery] = made(f"resolver = {HERE}.Listed\nresolver_options = port=81, hosts=a")
    discovery.sources[0].refresh(lambda: 0.0)
    assert urls(cluster) == ["http://a.c:81"]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (f"resolver = {HERE}.Lsted", "resolver: .* did you mean Listed"),
        (f"resolver = {HERE}.Listed\nresolver_options = port=x, hosts=a", "resolver_options: port: "),
        (f"resolver = {HERE}.Listed\nresolver_options = hosts=a,", "resolver_options: port: required"),
        (f"resolver = {HERE}.Listed\nresolver_options = port=0, hosts=a", "resolver_options: port: must be"),
        (f"resolver = {HERE}.Broken", "resolver: RuntimeError: no connection"),
        (f"resolver = {HERE}.NoResolver", "resolver: TypeError: .* is no pyrox.upstreams.resolver.Resolver"),
        ("servers_file = /no/such/file", "servers_file: /no/such/file cannot be read: No such file"),
    ],
)
def test_faults_are_found_before_a_start(section: str, problem: str) -> None:
    settings = parse_settings(f"[clusters]\n[[c]]\n{section}\n")
    for check in (check_middleware, check_middleware_in_child):
        with pytest.raises(ConfigError, match=rf"<string>: \[clusters\] \[\[c\]\] {problem}"):
            check(settings)


# --- what the next worker knows


def a_worker(book: Notebook, *answers: Sequence[str] | Exception, asked: str = "") -> Discovery:
    discovery = Discovery(Cluster("c", [], is_discovered=True), [], lambda server: None, notebook=book)
    discovery.add("script", Scripted(*answers), asked=asked)
    return discovery


def test_worker_that_finds_nothing_uses_what_another_found_last(caplog: pytest.LogCaptureFixture) -> None:
    forget_own_memory()
    [first] = a_worker(book := Notebook(), ["http://a weight=3", "http://b backup"], ["http://b"]).sources
    first.refresh(lambda: 100.0)
    second = a_worker(book, ResolveError("down"), ResolveError("down"), ["http://z"])
    [source] = second.sources
    source.refresh(lambda: 130.0)
    assert urls(second.cluster) == []
    source.recall(140.0)
    assert [(m.server.url, m.full_weight, m.is_backup) for m in second.cluster.members] == [
        ("http://a", 3, False),
        ("http://b", 1, True),
    ]
    assert "servers of cluster c by script: not known yet; the 2 found 40 s ago are used" in caplog.text
    source.refresh(lambda: 150.0)
    assert urls(second.cluster) == ["http://a", "http://b"]
    assert caplog.text.count("down") == 1
    source.refresh(lambda: 160.0)
    assert urls(second.cluster) == ["http://z"]
    assert "known again" in caplog.text


def test_worker_that_has_found_something_asks_nobody_else() -> None:
    forget_own_memory()
    [first] = a_worker(book := Notebook(), ["http://a"]).sources
    first.refresh(lambda: 100.0)
    second = a_worker(book, ["http://b"])
    second.sources[0].refresh(lambda: 100.0)
    second.sources[0].recall(100.0)
    assert urls(second.cluster) == ["http://b"]


def test_each_good_answer_makes_what_is_known_young_again(caplog: pytest.LogCaptureFixture) -> None:
    forget_own_memory()
    [first] = a_worker(book := Notebook(), ["http://a"], ["http://a"]).sources
    first.refresh(lambda: 100.0)
    first.refresh(lambda: 200.0)
    a_worker(book).sources[0].recall(201.0)
    assert "the 1 found 1 s ago" in caplog.text


def test_what_was_found_for_something_else_is_of_no_use() -> None:
    forget_own_memory()
    a_worker(book := Notebook(), ["http://a"], asked="http://a:8000 ").sources[0].refresh(lambda: 0.0)
    other = a_worker(book, asked="http://a:9000 ")
    other.sources[0].recall(1.0)
    assert urls(other.cluster) == []


@pytest.mark.parametrize(
    ("before", "after", "is_known"),
    [
        ("servers = http://u.test:80 resolve", "servers = http://u.test:80 resolve", True),
        ("servers = http://u.test:80 resolve", "servers = http://u.test:81 resolve", False),
        ("servers = http://u.test:80 resolve", "servers = https://u.test:80 resolve", False),
        ("servers = http://u.test service=x resolve", "servers = http://u.test service=y resolve", False),
        (f"resolver = {HERE}.Directory", f"resolver = {HERE}.Directory", True),
        (
            f"resolver = {HERE}.Directory",
            f"resolver = {HERE}.Directory\nresolver_options = url=http://b",
            False,
        ),
    ],
)
def test_whatever_makes_a_question_another_one_makes_its_memory_another(
    before: str, after: str, is_known: bool
) -> None:
    forget_own_memory()
    _, [first] = made(before)
    first.sources[0].resolver = Scripted(["http://a"])
    first.sources[0].refresh(lambda: 0.0)
    cluster, [second] = made(after)
    second.sources[0].recall(1.0)
    assert ("http://a" in urls(cluster)) is is_known


class Directory(Resolver):
    def __init__(self, cluster: str, url: str = "") -> None:
        pass
