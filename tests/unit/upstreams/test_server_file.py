"""A file of servers that others write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyrox.upstreams import server_file
from pyrox.upstreams.resolver import Found, ResolveError, parse_found
from pyrox.upstreams.server_file import FileResolver, parse_servers

GOOD = "http://10.0.0.1:80\nhttp://10.0.0.2:80 weight=3\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "servers"
    path.write_text(GOOD)
    return path


def rewrite(path: Path, text: str | bytes) -> None:
    """Replace the file, as one should."""
    new = path.with_suffix(".new")
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    new.rename(path)


def urls(resolver: FileResolver) -> list[str]:
    return [found.server.url for found in resolver.resolve().servers]


def test_file_is_read_at_the_first_look(path: Path) -> None:
    resolution = FileResolver(str(path)).resolve()
    assert [(str(found.server), found.weight) for found in resolution.servers] == [
        ("http://10.0.0.1:80", 1),
        ("http://10.0.0.2:80", 3),
    ]
    assert resolution.valid == 1.0


def test_file_that_changes_is_read_when_it_stands_still(path: Path) -> None:
    resolver = FileResolver(str(path))
    before = urls(resolver)
    with path.open("a") as file:
        for line in ("http://10.0.0.3:80\n", "http://10.0.0.4", ":8080\n"):
            file.write(line)
            file.flush()
            assert urls(resolver) == before
    assert resolver.resolve().servers[-1].server.url == "http://10.0.0.4:8080"


def test_file_that_is_replaced_is_read_soon(path: Path) -> None:
    resolver = FileResolver(str(path))
    resolver.resolve()
    rewrite(path, "http://10.0.0.9:80\n")
    assert resolver.resolve().valid < 1.0
    assert urls(resolver) == ["http://10.0.0.9:80"]
    # As large and as old as the last, but another file.
    times = os.stat(path)
    rewrite(path, "http://10.0.0.8:80\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    resolver.resolve()
    assert urls(resolver) == ["http://10.0.0.8:80"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", ": it names no server"),
        ("# nothing\n", ": it names no server"),
        ("http://10.0.0.1:80\n\nhttp//x\n", ", line 3: 'http//x' is not http://host:port"),
        ("http://10.0.0.1:80 wait=3\n", ", line 1: 'http://10.0.0.1:80 wait=3': 'wait=3' is none of"),
        ("http://a\nhttp://a weight=2\n", ", line 2: http://a stands there a second time"),
        (b"http://a\n\xff\n", ", line 2: is not UTF-8"),
        ("http://a resolve\n", ", line 1: .*only servers of the configuration"),
        ("wsgi:os:system\n", ", line 1: .*only the configuration can name"),
        ("demo\n", ", line 1: 'demo' can only stand in"),
    ],
)
def test_what_is_wrong_is_told_by_its_line_and_the_next_good_file_is_used(
    path: Path, content: str | bytes, reason: str
) -> None:
    resolver = FileResolver(str(path))
    resolver.resolve()
    rewrite(path, content)
    resolver.resolve()
    for _ in range(2):
        with pytest.raises(ResolveError, match=str(path) + reason) as caught:
            resolver.resolve()
        assert caught.value.retry == 1.0
    rewrite(path, "http://10.0.0.9:80\n")
    resolver.resolve()
    assert urls(resolver) == ["http://10.0.0.9:80"]


def test_file_that_is_wrong_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = FileResolver(str(path))
    resolver.resolve()
    read: list[str] = []

    def parse(text: str) -> list[Found]:
        read.append(text)
        return parse_servers(text)

    monkeypatch.setattr(server_file, "parse_servers", parse)
    rewrite(path, "http//x")
    resolver.resolve()
    for _ in range(3):
        with pytest.raises(ResolveError, match="line 1"):
            resolver.resolve()
    assert read == ["http//x"]


def test_file_that_is_gone_is_a_failure_until_it_is_back(path: Path) -> None:
    resolver = FileResolver(str(path))
    resolver.resolve()
    path.unlink()
    with pytest.raises(ResolveError, match="No such file"):
        resolver.resolve()
    path.write_text("http://10.0.0.9:80\n")
    resolver.resolve()
    assert urls(resolver) == ["http://10.0.0.9:80"]


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ResolveError, match="no regular file"):
            FileResolver(str(path)).resolve()


def test_file_that_is_no_list_is_not_read_whole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ResolveError, match="longer than"):
        FileResolver(str(path)).resolve()


def test_comments_blanks_and_line_ends_of_others_mean_nothing() -> None:
    text = "\ufeff# servers\r\n\r\n  http://a:80  weight=2 # the big one\r\nhttps://10.0.0.1#b.test backup"
    found = parse_servers(text.removeprefix("\ufeff"))
    assert [(str(one.server), one.weight, one.is_backup) for one in found] == [
        ("http://a:80", 2, False),
        ("https://10.0.0.1:443#b.test", 1, True),
    ]


# --- one line


def test_server_may_have_a_name_besides_its_address() -> None:
    server = parse_found("https://[::1]:8443#users.internal weight=2").server
    assert (server.url, server.host, server.address) == (
        "https://[::1]:8443#users.internal",
        "users.internal",
        "::1",
    )
    assert (server.scheme, server.port, server.authority) == ("https", 8443, "users.internal:8443")


@pytest.mark.parametrize(
    "text", ["", "http://a#", "http://a#b:80", "http://a#b/c", "http://a#b c", "unix:/x#b c"]
)
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_found(text)
