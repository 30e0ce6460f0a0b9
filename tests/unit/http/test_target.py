"""Hosts that were found valid are remembered, but not at any length."""

from __future__ import annotations

import pytest

from pyrox.http import target
from pyrox.http.head import HeadLimits, parse_request_head


def test_only_hosts_of_an_honest_length_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_known_hosts", set())  # other tests may have filled it
    for host, is_known in ((b"remembered.test:8080", True), (b"a" * 30_000, False)):
        raw = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host
        assert parse_request_head(raw, HeadLimits()).host == host.decode()
        assert (host in target._known_hosts) is is_known
