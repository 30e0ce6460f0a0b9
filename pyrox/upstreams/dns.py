"""``DnsResolver``: a name whose addresses, or whose SRV records, are the servers of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pyrox.config_clusters import MOST_WEIGHT
from pyrox.errors import PyroxError
from pyrox.settings import DiscoverySettings, ServerSettings
from pyrox.upstreams.resolver import Found, Resolution, ResolveError, Resolver
from pyrox.upstreams.server import parse_server, server_at

_FAMILIES = ("A", "AAAA")


class LookupFailed(PyroxError):
    """No nameserver had an answer; the message says why."""


class NoRecords(PyroxError):
    """There are no such records, or there is no such name."""


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record (RFC 2782); ``target`` without the dot at its end, ``""`` for none."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Records:
    """An answer: ``addresses`` or ``services``, and for how many seconds it is good."""

    ttl: float
    addresses: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()


class Lookup(Protocol):
    """Asks nameservers."""

    def query(self, name: str, kind: str) -> Records:
        """Return the records of ``kind``, A, AAAA or SRV; raises ``LookupFailed`` or ``NoRecords``."""


class DnsResolver(Resolver):
    """The addresses of the name in ``settings.url``, or the servers of its service.

    An answer is good for as long as the shortest TTL in it says, within the bounds of ``discovery``. What
    a nameserver fails to tell is taken to be as it was: one that knows nothing of AAAA records, say, or
    the target of one SRV record among others.
    """

    def __init__(self, settings: ServerSettings, discovery: DiscoverySettings, lookup: Lookup) -> None:
        self._server = parse_server(settings.url)
        self._settings = settings
        self._discovery = discovery
        self._lookup = lookup
        self._last: dict[tuple[str, str], tuple[str, ...]] = {}  # name, kind -> addresses
        self._asked: set[tuple[str, str]] = set()
        self._ttl = 0.0

    def resolve(self) -> Resolution:
        """Ask; see ``Resolver.resolve``."""
        self._ttl = self._discovery.max_ttl
        self._asked.clear()
        if self._settings.service:
            found = self._services()
        else:
            addresses, problem = self._addresses(self._server.host)
            if problem:
                raise ResolveError(problem)
            settings = self._settings
            found = [
                self._found(a, self._server.port, settings.weight, settings.is_backup) for a in addresses
            ]
        self._last = {key: known for key, known in self._last.items() if key in self._asked}
        return Resolution(found, max(self._ttl, self._discovery.min_ttl))

    def _found(self, address: str, port: int, weight: int, is_backup: bool) -> Found:
        return Found(server_at(self._server, address, port), weight, is_backup)

    def _addresses(self, name: str) -> tuple[list[str], str]:
        """Return the addresses of ``name``, and why none of them was told now, or ``""``."""
        fresh: set[str] = set()
        stale: set[str] = set()
        problem = f"{name} has no address"
        for kind in _FAMILIES:
            self._asked.add((name, kind))
            try:
                told = self._query(name, kind).addresses
            except NoRecords:
                told = ()
            except LookupFailed as error:
                problem = str(error)
                self._ttl = 0.0  # to ask again soon
                stale.update(self._last.get((name, kind), ()))
                continue
            self._last[name, kind] = told
            fresh.update(told)
        return sorted(fresh | stale), "" if fresh else problem

    def _query(self, name: str, kind: str) -> Records:
        records = self._lookup.query(name, kind)
        self._ttl = min(self._ttl, records.ttl)
        return records

    def _services(self) -> list[Found]:
        name = f"{self._settings.service}.{self._server.host}"
        try:
            services = [service for service in self._query(name, "SRV").services if service.target]
        except (LookupFailed, NoRecords) as error:
            raise ResolveError(str(error)) from None
        first = min((service.priority for service in services), default=0)
        found: dict[str, Found] = {}
        problems = [f"{name} names no server"] if not services else []
        for service, weight in _weighted(services):
            is_backup = self._settings.is_backup or service.priority > first
            addresses, problem = self._addresses(service.target)
            if problem:
                problems.append(problem)
                self._ttl = 0.0
            for address in addresses:
                one = self._found(address, service.port, weight, is_backup)
                found.setdefault(one.server.url, one)
        if len(problems) >= max(len(services), 1):
            raise ResolveError(problems[-1])
        return [*found.values()]


def _weighted(services: Iterable[Service]) -> Iterator[tuple[Service, int]]:
    """Yield services, the first priority first, with their weights as those of members.

    They keep their proportions within a priority, as well as whole numbers from 1 to 100 can. RFC 2782
    gives weight 0 "a very small chance", which is the least weight there is.
    """
    ordered = sorted(services, key=lambda s: (s.priority, s.target, s.port, s.weight))
    most: dict[int, int] = {}
    for service in ordered:
        most[service.priority] = max(most.get(service.priority, 0), service.weight)
    for service in ordered:
        scale = min(1.0, MOST_WEIGHT / (most[service.priority] or 1))
        yield service, max(1, round(service.weight * scale))
