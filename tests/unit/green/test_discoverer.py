"""Resolvers that fail in ways of their own."""

from __future__ import annotations

import gevent
import pytest

from pyrox.green.discoverer import Discoverer
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.discovery import Discovery
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
