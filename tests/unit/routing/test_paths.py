"""What a path may be read as: the tricks by which a proxy and a server come to see two different ones."""

from __future__ import annotations

import pytest

from pyrox.routing.paths import after_prefix, as_matched, readings


@pytest.mark.parametrize(
    "path", ["/", "/a/b", "/a.b/.well-known/c", "/a/...", "*", "/a=b&c:d@e,f+g~", "/v1/users/42"]
)
def test_plain_paths_have_one_reading(path: str) -> None:
    assert readings(path) == (path,)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/%61dmin", {"/admin"}),
        ("/a%20b%c3%a9", {"/a%20b%C3%A9"}),
        ("/%zz%", {"/%zz%"}),
        ("/a%252Fb", {"/a%252Fb"}),
        ("/a%2fb", {"/a%2Fb", "/a/b"}),
        ("/a\\b", {"/a\\b", "/a/b"}),
        ("/a%5cb", {"/a%5Cb", "/a/b"}),
        ("/a//b", {"/a//b", "/a/b"}),
        ("//b", {"//b", "/b"}),
        ("/a/../b", {"/a/../b", "/b"}),
        ("/a/%2e%2E/b", {"/a/../b", "/b"}),
        ("/a/./b/.", {"/a/./b/.", "/a/b/"}),
        ("/../../b", {"/../../b", "/b"}),
        ("/a;x=1/b", {"/a;x=1/b", "/a/b"}),
        ("/a%3Bx/b", {"/a;x/b", "/a/b"}),
        ("/a%00b", {"/a%00b", "/a"}),
        ("/a%3Fb", {"/a%3Fb", "/a"}),
        ("/a%23b", {"/a%23b", "/a"}),
        ("/a/..%00b", {"/a/..%00b", "/a/..", "/"}),
        ("/a/..;%3F", {"/a/..;%3F", "/a/..;", "/a/..", "/"}),
        ("/a%2F..%2Fb", {"/a%2F..%2Fb", "/a/../b", "/b"}),
        ("/a/..%2Fb", {"/a/..%2Fb", "/a/../b", "/b"}),
        ("/a/..;/b", {"/a/..;/b", "/a/../b", "/b"}),
        ("/a//../b", {"/a//../b", "/a/../b", "/a/b", "/b"}),
        ("/;/b", {"/;/b", "//b", "/b"}),
        ("/a/.%2e/b%2f", {"/a/../b%2F", "/a/../b/", "/b%2F", "/b/"}),
    ],
)
def test_every_way_to_read_a_path_is_found(path: str, expected: set[str]) -> None:
    found = readings(path)
    assert found is not None
    assert found[0] == as_matched(path)
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("path", ["/a%2F..\\;//%00", "/%3F%2f%5c;/../"])
def test_a_path_with_every_trick_at_once_has_too_many(path: str) -> None:
    assert readings(path) is None


@pytest.mark.parametrize(
    ("path", "prefix", "rest"),
    [
        ("/v1/a", "/v1", "/a"),
        ("/v1", "/v1", ""),
        ("/v1/", "/v1", "/"),
        ("/v10", "/v1", None),
        ("/%761/%61", "/v1", "/%61"),
        ("/%761", "/v1", ""),
        ("/%7610", "/v1", None),
        ("/v1%2Fa", "/v1", None),
        ("/api/x", "/api/", "x"),
        ("/", "/v1", None),
        ("/a%20b/c", "/a%20b", "/c"),
    ],
)
def test_a_prefix_is_taken_off_what_the_client_wrote(path: str, prefix: str, rest: str | None) -> None:
    assert after_prefix(path, prefix) == rest
