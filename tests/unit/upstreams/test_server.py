"""Addresses of servers."""

from __future__ import annotations

import pytest

from pyrox.upstreams.server import parse_server


@pytest.mark.parametrize(
    ("url", "parts", "authority"),
    [
        ("http://a.test", ("http", "a.test", 80, None), "a.test"),
        ("https://a.test:443", ("https", "a.test", 443, None), "a.test"),
        ("http://10.0.0.1:8000/", ("http", "10.0.0.1", 8000, None), "10.0.0.1:8000"),
        ("https://[::1]:80", ("https", "::1", 80, None), "[::1]:80"),
        ("unix:/run/a.sock", ("http", "", 0, "/run/a.sock"), "localhost"),
        ("unix:///run/a.sock", ("http", "", 0, "/run/a.sock"), "localhost"),
    ],
)
def test_parts_of_a_url(url: str, parts: tuple[str, str, int, str | None], authority: str) -> None:
    server = parse_server(url)
    assert (server.scheme, server.host, server.port, server.path) == parts
    assert (server.authority, str(server)) == (authority, url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("unix:", "names no socket path"),
        ("ftp://a", "is not http://host:port"),
        ("a.test:80", "is not http://host:port"),
        ("http://", "is not http://host:port"),
        ("http://a/b", "has more than a scheme"),
        ("http://u@a", "has more than a scheme"),
        ("http://a:0x", "has a port that is not"),
        ("http://a:65536", "has a port that is not"),
    ],
)
def test_what_is_no_server_says_why(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_server(url)
