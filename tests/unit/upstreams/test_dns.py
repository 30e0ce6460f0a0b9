"""What the answers of nameservers mean for a cluster."""

from __future__ import annotations

import pytest

from pyrox.settings import DiscoverySettings, ServerSettings
from pyrox.upstreams.dns import DnsResolver, LookupFailed, NoRecords, Records, Service
from pyrox.upstreams.resolver import Found, ResolveError

DISCOVERY = DiscoverySettings((), dns_timeout=5, min_ttl=5, max_ttl=300)
NONE = NoRecords("there is none")
DOWN = LookupFailed("nobody answers")


class Zone:
    """Answers as it is told; what is not told does not exist."""

    def __init__(self, **answers: Records | Exception) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def query(self, name: str, kind: str) -> Records:
        self.asked.append(f"{kind} {name}")
        answer = self.answers.get(f"{kind}_{name.partition('.')[0]}", NONE)
        if isinstance(answer, Exception):
            raise answer
        return answer


def addresses(*values: str, ttl: float = 60.0) -> Records:
    return Records(ttl, values)


def services(*values: tuple[int, int, int, str], ttl: float = 60.0) -> Records:
    return Records(ttl, services=tuple(Service(*value) for value in values))


def resolver_of(zone: Zone, text: str = "http://users.test:8000", **options: object) -> DnsResolver:
    settings = ServerSettings(text, resolve=True, **options)  # type: ignore[arg-type]
    return DnsResolver(settings, DISCOVERY, zone)


def urls(found: list[Found]) -> list[str]:
    return [str(one.server) for one in found]


def found_of(resolver: DnsResolver) -> list[Found]:
    return list(resolver.resolve().servers)


# --- addresses


def test_every_address_of_both_families_is_a_server() -> None:
    zone = Zone(A_users=addresses("10.0.0.2", "10.0.0.1"), AAAA_users=addresses("2001:db8::1"))
    found = found_of(resolver_of(zone, "https://users.test:8443", weight=3, is_backup=True))
    assert urls(found) == [
        "https://10.0.0.1:8443#users.test",
        "https://10.0.0.2:8443#users.test",
        "https://[2001:db8::1]:8443#users.test",
    ]
    server = found[2].server
    assert (server.host, server.address, server.port) == ("users.test", "2001:db8::1", 8443)
    assert server.authority == "users.test:8443"
    assert {(one.weight, one.is_backup) for one in found} == {(3, True)}


@pytest.mark.parametrize(("ttls", "valid"), [((60, 30), 30), ((0, 60), 5), ((4000, 4000), 300)])
def test_answer_is_good_for_its_shortest_ttl_within_bounds(ttls: tuple[float, float], valid: float) -> None:
    zone = Zone(A_users=addresses("10.0.0.1", ttl=ttls[0]), AAAA_users=addresses("::1", ttl=ttls[1]))
    assert resolver_of(zone).resolve().valid == valid


def test_family_that_nobody_answers_for_stays_as_it_was() -> None:
    zone = Zone(A_users=addresses("10.0.0.1"), AAAA_users=addresses("::1"))
    resolver = resolver_of(zone)
    resolver.resolve()
    zone.answers = {"A_users": addresses("10.0.0.2"), "AAAA_users": DOWN}
    resolution = resolver.resolve()
    assert urls([*resolution.servers]) == ["http://10.0.0.2:8000#users.test", "http://[::1]:8000#users.test"]
    assert resolution.valid == DISCOVERY.min_ttl
    zone.answers = {"A_users": addresses("10.0.0.2")}  # now there really is none
    assert urls(found_of(resolver)) == ["http://10.0.0.2:8000#users.test"]
    zone.answers = {"A_users": addresses("10.0.0.2"), "AAAA_users": DOWN}
    assert urls(found_of(resolver)) == ["http://10.0.0.2:8000#users.test"]


@pytest.mark.parametrize(
    ("zone", "reason"),
    [
        (Zone(), "users.test has no address"),
        (Zone(A_users=DOWN, AAAA_users=DOWN), "nobody answers"),
        (Zone(A_users=DOWN), "nobody answers"),
    ],
)
def test_no_address_at_all_is_a_failure(zone: Zone, reason: str) -> None:
    with pytest.raises(ResolveError, match=reason):
        resolver_of(zone).resolve()


@pytest.mark.parametrize("later", [Zone(), Zone(A_users=DOWN, AAAA_users=DOWN), Zone(A_users=DOWN)])
def test_no_address_any_more_is_a_failure_too(later: Zone) -> None:
    """Whoever asks keeps the last ones, and says so."""
    zone = Zone(A_users=addresses("10.0.0.1"))
    resolver = resolver_of(zone)
    resolver.resolve()
    zone.answers = later.answers
    for _ in range(2):
        with pytest.raises(ResolveError):
            resolver.resolve()


# --- services


def test_services_bring_ports_weights_and_backups() -> None:
    zone = Zone(
        SRV__http=services(
            (10, 60, 8001, "a.test"),
            (10, 20, 8002, "b.test"),
            (20, 0, 8003, "c.test"),
            (30, 0, 8004, "a.test"),
        ),
        A_a=addresses("10.0.0.1"),
        A_b=addresses("10.0.0.2", "10.0.0.3"),
        A_c=addresses("10.0.0.4"),
    )
    found = found_of(resolver_of(zone, "http://users.test", service="_http._tcp"))
    assert zone.asked[0] == "SRV _http._tcp.users.test"
    assert [(str(one.server), one.weight, one.is_backup) for one in found] == [
        ("http://10.0.0.1:8001#users.test", 60, False),
        ("http://10.0.0.2:8002#users.test", 20, False),
        ("http://10.0.0.3:8002#users.test", 20, False),
        ("http://10.0.0.4:8003#users.test", 1, True),
        ("http://10.0.0.1:8004#users.test", 1, True),
    ]


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ((0, 0), [1, 1]),
        ((0, 65535), [1, 100]),
        ((1, 2), [1, 2]),
        ((300, 100), [100, 33]),
        ((100, 100), [100, 100]),
    ],
)
def test_weights_keep_their_proportions(given: tuple[int, int], weights: list[int]) -> None:
    zone = Zone(
        SRV__http=services((0, given[0], 80, "a.test"), (0, given[1], 80, "b.test")),
        A_a=addresses("10.0.0.1"),
        A_b=addresses("10.0.0.2"),
    )
    found = found_of(resolver_of(zone, "http://users.test", service="_http._tcp"))
    assert [one.weight for one in found] == weights


def test_backup_makes_all_servers_of_a_service_backups() -> None:
    zone = Zone(SRV__http=services((0, 0, 80, "a.test")), A_a=addresses("10.0.0.1"))
    [found] = found_of(resolver_of(zone, "http://users.test", service="_http._tcp", is_backup=True))
    assert found.is_backup


def test_service_without_a_target_is_none() -> None:
    """RFC 2782: a target of "." says that the service is decidedly not available."""
    zone = Zone(SRV__http=services((0, 0, 0, "")))
    with pytest.raises(ResolveError, match="names no server"):
        resolver_of(zone, "http://users.test", service="_http._tcp").resolve()


def test_one_target_that_has_no_address_leaves_the_others() -> None:
    records = services((0, 0, 80, "a.test"), (0, 0, 80, "b.test"))
    zone = Zone(SRV__http=records, A_a=addresses("10.0.0.1"), A_b=addresses("10.0.0.2"))
    resolver = resolver_of(zone, "http://users.test", service="_http._tcp")
    assert len(found_of(resolver)) == 2
    zone.answers = {"SRV__http": records, "A_a": addresses("10.0.0.1"), "A_b": DOWN, "AAAA_b": DOWN}
    assert len(found_of(resolver)) == 2
    zone.answers = {"SRV__http": records, "A_a": addresses("10.0.0.1")}
    resolution = resolver.resolve()
    assert urls([*resolution.servers]) == ["http://10.0.0.1:80#users.test"]
    assert resolution.valid == DISCOVERY.min_ttl
    zone.answers = {"SRV__http": records}
    with pytest.raises(ResolveError, match="has no address"):
        resolver.resolve()


def test_service_that_is_not_known_is_a_failure() -> None:
    for failure in (NONE, DOWN):
        with pytest.raises(ResolveError, match=str(failure)):
            resolver_of(Zone(SRV__http=failure), "http://users.test", service="_http._tcp").resolve()
