"""How nameservers are asked, as far as it needs none; the rest is in tests/integration/test_discovery.py."""

from __future__ import annotations

import dns.resolver
import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError
from pyrox.green.dns_lookup import DnsLookup


def test_nameservers_of_the_configuration_are_the_only_ones() -> None:
    lookup = DnsLookup(
        parse_settings("[discovery]\nnameservers = 192.0.2.1, [2001:db8::1]:5353\ndns_timeout = 1")
    )
    servers = [(server.address, server.port) for server in lookup._resolver.nameservers]
    assert servers == [("192.0.2.1", 53), ("2001:db8::1", 5353)]
    assert (lookup._resolver.lifetime, lookup._resolver.timeout) == (1.0, 1.0)


def test_system_without_a_nameserver_is_a_fault_that_names_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_nothing(self: dns.resolver.Resolver, file: object) -> None:
        raise dns.resolver.NoResolverConfiguration("Resolver configuration could not be read")

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", read_nothing)
    with pytest.raises(ConfigError, match=r"\[discovery\] nameservers: names none, .*; name one"):
        DnsLookup(parse_settings(""))
