"""Resolvers that fail in ways of their own."""

from __future__ import annotations

from time import monotonic

import gevent
import pytest

from pyrox.green.discoverer import Discoverer
from pyrox.shared_memory import forget_own_memory
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.discovery import Discovery
from pyrox.upstreams.notebook import Notebook
from pyrox.upstreams.resolver import Resolution, Resolver, parse_found


@pytest.mark.parametrize(
    "failure", [gevent.Timeout(1), SystemExit(1)], ids=lambda error: type(error).__name__
)
def test_resolver_that_fails_without_an_exception_proper_is_asked_again(
    failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Moody(Resolver):
        calls = 0

        def resolve(self) -> Resolution:
            self.calls += 1
            if self.calls == 1:
                raise failure
            found.set()
            return Resolution([parse_found("http://a")], 3600)

    found = gevent.event.Event()
    discovery = Discovery(Cluster("c", [], is_discovered=True), [], lambda server: None, retry=0.1)
    discovery.add("moody", Moody())
    discoverer = Discoverer([discovery])
    try:
        discoverer.start(timeout=30)
        assert found.wait(30)
        gevent.idle()
        assert [member.server.url for member in discovery.cluster.members] == ["http://a"]
    finally:
        discoverer.close()
    assert "moody: the resolver failed; none is known yet" in caplog.text


class Silent(Resolver):
    """Says nothing, and waits for ever."""

    def resolve(self) -> Resolution:
        gevent.sleep(3600)
        raise AssertionError


def discovery_of(resolver: Resolver, notebook: Notebook | None = None) -> Discovery:
    discovery = Discovery(
        Cluster("c", [], is_discovered=True), [], lambda server: None, retry=0.1, notebook=notebook
    )
    discovery.add("it", resolver)
    return discovery


def test_start_waits_no_longer_than_a_moment_when_it_can_do_with_what_was_found_last() -> None:
    class Finds(Resolver):
        def resolve(self) -> Resolution:
            return Resolution([parse_found("http://a")], 3600)

    forget_own_memory()
    discovery_of(Finds(), Notebook()).sources[0].refresh(monotonic)
    later = discovery_of(Silent(), Notebook())
    discoverer = Discoverer([later])
    try:
        discoverer.start(timeout=3600)
        assert [member.server.url for member in later.cluster.members] == ["http://a"]
    finally:
        discoverer.close()


def test_start_waits_for_those_of_which_nothing_is_known() -> None:
    class Slow(Resolver):
        def resolve(self) -> Resolution:
            gevent.sleep(1.2)
            return Resolution([parse_found("http://a")], 3600)

    forget_own_memory()
    discovery = discovery_of(Slow(), Notebook())
    discoverer = Discoverer([discovery])
    try:
        discoverer.start(timeout=60)
        assert [member.server.url for member in discovery.cluster.members] == ["http://a"]
    finally:
        discoverer.close()
