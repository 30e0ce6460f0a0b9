"""What can be written about servers that are discovered."""

from __future__ import annotations

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError
from pyrox.settings import ClusterSettings, ServerSettings, Settings


def settings_of(servers: str = "", more: str = "", discovery: str = "") -> Settings:
    line = f"servers = {servers}\n" if servers else ""
    return parse_settings(f"[discovery]\n{discovery}\n[clusters]\n[[c]]\n{line}{more}\n")


def cluster_of(servers: str = "", more: str = "") -> ClusterSettings:
    return settings_of(servers, more).clusters.sections["c"]


def problems_of(*arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_of(*arguments)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("http://a.test:8000 resolve", ServerSettings("http://a.test:8000", resolve=True)),
        (
            "https://a.test resolve weight=3 backup",
            ServerSettings("https://a.test", 3, is_backup=True, resolve=True),
        ),
        (
            "http://a.test service=http resolve",
            ServerSettings("http://a.test", resolve=True, service="_http._tcp"),
        ),
        (
            "http://a.test resolve service=_api._udp backup",
            ServerSettings("http://a.test", is_backup=True, resolve=True, service="_api._udp"),
        ),
        (
            "http://a.test resolve service=users.prod",
            ServerSettings("http://a.test", resolve=True, service="users.prod"),
        ),
    ],
)
def test_servers_to_be_resolved_are_written_as_for_nginx(text: str, server: ServerSettings) -> None:
    cluster = cluster_of(text)
    assert cluster.servers == (server,)
    assert cluster.is_discovered
    assert cluster_of(str(server)).servers == (server,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://10.0.0.1:80 resolve", "is an address; there is nothing to resolve"),
        ("http://[::1]:80 resolve", "is an address; there is nothing to resolve"),
        ("unix:/run/x.sock resolve", "has no name that could be resolved"),
        ("wsgi:a:b resolve", "has no name that could be resolved"),
        ("http://a.test service=http", "for which it needs resolve"),
        ("http://a.test:80 service=http resolve", "has a port; it comes with the SRV records"),
        ("http://a.test weight=2 service=http resolve", "has a weight; it comes with the SRV records"),
        ("http://a.test service= resolve", "names no service"),
        ("http://a.test service=a..b resolve", "names no service"),
        ("http://a.test reslove", "did you mean resolve?"),
    ],
)
def test_servers_that_cannot_be_resolved_are_refused(text: str, reason: str) -> None:
    [problem] = problems_of(text)
    assert problem.startswith("<string>: [clusters] [[c]] servers: ")
    assert reason in problem


def test_cluster_may_have_nothing_but_what_is_found() -> None:
    assert cluster_of(more="servers_file = x").is_discovered
    assert cluster_of(more="resolver = a.B").is_discovered
    assert cluster_of("http://a backup", "servers_file = x").servers[0].is_backup
    assert not cluster_of("http://a").is_discovered


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("resolver_options = a=b,", "resolver_options: have no use without resolver"),
        ("resolver = a.B\nresolver_options = a,", "resolver_options: 'a' is not name=value"),
        ("resolver = a.B\nresolver_options = a=1, a=2", "resolver_options: a stands twice"),
    ],
)
def test_options_of_a_resolver_are_checked(more: str, reason: str) -> None:
    assert problems_of("http://a", more) == [f"<string>: [clusters] [[c]] {reason}"]


def test_nameservers_have_a_port() -> None:
    settings = settings_of(
        "http://a", discovery="nameservers = 10.0.0.2, 10.0.0.3:5353, ::1, [::2], [::3]:54"
    )
    assert settings.discovery.nameservers == (
        "10.0.0.2:53",
        "10.0.0.3:5353",
        "[::1]:53",
        "[::2]:53",
        "[::3]:54",
    )
    assert settings_of("http://a").discovery.nameservers == ()


@pytest.mark.parametrize(
    "text", ["dns.test", "10.0.0.300", "10.0.0.1:0", "10.0.0.1:66000", "[::1", "[::1]:x"]
)
def test_nameservers_are_addresses(text: str) -> None:
    [problem] = problems_of("http://a", "", f"nameservers = {text},")
    assert "is no nameserver" in problem


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("min_ttl = 20\nmax_ttl = 10", "min_ttl: 20 s is more than max_ttl, 10 s"),
        ("dns_timeout = 0", "dns_timeout: '0' is less than 100ms"),
        ("dns_timeout = 2m", "dns_timeout: '2m' is more than 60s"),
    ],
)
def test_times_of_discovery_have_bounds(text: str, reason: str) -> None:
    assert problems_of("http://a", "", text) == [f"<string>: [discovery] {reason}"]
