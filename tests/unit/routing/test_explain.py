"""``pyrox explain``: what it prints. That it is true is shown in tests/integration/test_routes.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrox.cli import main

CONFIG = """
[clusters]
[[users]]
servers = http://10.0.0.1:8000, http://10.0.0.2:8000
try_timeout = 2
hedge_after = 300ms
[[canary]]
servers = http://10.0.0.9:8000
[middleware]
stack = request_id,
[http]
trusted_proxies = 192.0.2.1,
[routes]
[[api]]
match = Host(`a.test`) && PathPrefix(`/v1`) && (Method(`GET`) || Header(`X-Beta`, `1`))
clusters = users weight=95, canary weight=5
stack = headers
strip_prefix = /v1
upstream_first_byte = 5
exchange = 0
max_body_size = 1k
mirror = canary
fallback = canary
[[rest]]
match = PathPrefix(`/v1`) && !Query(`x`) && ClientIP(`10.0.0.0/8`)
cluster = canary
[[old]]
match = Path(`/old`) || Cookie(`old`)
redirect = {scheme}://b.test{target}
[[patterns]]
match = HostRegexp(`^x`) && PathRegexp(`^/y`)
respond = 204
"""


@pytest.fixture
def explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> object:
    path = tmp_path / "pyrox.ini"
    path.write_text(CONFIG)

    def run(*arguments: str) -> list[str]:
        assert main(["explain", "-c", str(path), *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_servers_that_are_not_discovered_yet_are_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pyrox.ini"
    for section, server in (
        ("servers = http://u.test service=http resolve", "none before it is discovered"),
        ("servers = http://u.test:80 resolve", "http://u.test:80"),
        ("servers = wsgi:a:b", "wsgi:a:b"),
    ):
        path.write_text(f"[routing]\ndefault_cluster = c\n[clusters]\n[[c]]\n{section}\n")
        assert main(["explain", "-c", str(path), "/"]) == 0
        [told] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("server: ")]
        others = ", or another: it depends on what was sent before" if "u.test:80" in section else ""
        assert told == f"server: {server}{others}"


def test_a_route_is_told_with_all_that_follows(explained) -> None:  # type: ignore[no-untyped-def]
    assert explained("GET /v1/x?y", "-H", "Host: A.test:80") == [
        "GET /v1/x?y of host a.test by 127.0.0.1",
        "routes, in the order in which they are tried:",
        "  api       priority 79: taken",
        "  rest      priority 58: ClientIP(`10.0.0.0/8`): the client is 127.0.0.1",
        "  patterns  priority 37: HostRegexp(`^x`): the host is 'a.test'",
        "  old       priority 29: Path(`/old`): the path is '/v1/x'; Cookie(`old`): there is no cookie old",
        "stack: request_id, headers",
        "route: api",
        "cluster: users 95 %, canary 5 %",
        "server: http://10.0.0.1:8000, or another: it depends on what was sent before",
        "asked for: /x?y",
        "timeouts: upstream_first_byte 5 s, upstream_read 60 s, exchange none, "
        "try_timeout 2 s, hedge_after 0.3 s",
        "max_body_size: 1024",
        "mirror: canary",
        "fallback: canary",
    ]


def test_an_or_that_fails_is_told_by_all_of_its_parts(explained) -> None:  # type: ignore[no-untyped-def]
    lines = explained("POST /v1/x", "-H", "host: a.test", "-H", "X-Beta: 2", "--client", "10.1.1.1")
    assert lines[2:4] == [
        "  api       priority 79: Method(`GET`): the method is POST; "
        "Header(`x-beta`, `1`): header x-beta is '2'",
        "  rest      priority 58: taken",
    ]
    assert lines[-4:-2] == ["server: http://10.0.0.9:8000", "asked for: /v1/x"]


def test_a_route_that_would_have_held_comes_after(explained) -> None:  # type: ignore[no-untyped-def]
    lines = explained("/v1", "-H", "Host: a.test", "--client", "10.1.1.1")
    assert lines[0] == "GET /v1 of host a.test by 10.1.1.1"
    assert lines[3] == "  rest      priority 58: comes after it"


def test_what_is_negated_is_named(explained) -> None:  # type: ignore[no-untyped-def]
    lines = explained("/v1?x=1", "--client", "192.0.2.1", "-H", "X-Forwarded-For: 10.1.1.1")
    assert lines[0] == "GET /v1?x=1 of host localhost by 10.1.1.1"
    assert lines[3] == "  rest      priority 58: Query(`x`) holds"
    assert lines[-1] == "answer: 404, no route takes it, and there is no default"


def test_a_redirect_is_told_with_its_location(explained) -> None:  # type: ignore[no-untyped-def]
    assert explained("/old?a", "--tls")[-1] == "answer: 307, redirect to https://b.test/old?a"
    assert explained("/y", "-H", "Host: x")[-1] == "answer: 204, fixed answer"


def test_a_path_of_two_routes_is_told_with_its_readings(explained) -> None:  # type: ignore[no-untyped-def]
    lines = explained("/x/..%2fold", "-H", "Host: a.test")
    assert lines[1] == "its path may be read as: /x/..%2Fold, /x/../old, /old"
    assert lines[-1].startswith("answer: 400, a path that takes another route when it is read as '/old'; ")
    assert lines[-1].endswith("/x/../old takes none; /old takes old")


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "-c", "FILE", "-H", "Host: a.test", "GET /old?x"],
        ["-c", "FILE", "explain", "/old?x", "-H", "Host: a.test"],
        ["-H", "Host: a.test", "--config", "FILE", "explain", "GET", "/old?x"],
        ["--config=FILE", "-HHost: a.test", "explain", "GET /old?x"],
    ],
)
def test_its_words_may_stand_in_any_order(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pyrox.ini"
    path.write_text(CONFIG)
    assert main([word.replace("FILE", str(path)) for word in words]) == 0
    assert capsys.readouterr().out.startswith("GET /old?x of host a.test by 127.0.0.1\n")


def test_a_file_may_be_called_like_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "explain").write_text("")
    monkeypatch.chdir(tmp_path)
    assert main(["-c", "explain", "--check"]) == 0
    assert capsys.readouterr().out == "explain: configuration OK\n"


def test_who_asks_may_be_a_peer_at_a_unix_socket(explained) -> None:  # type: ignore[no-untyped-def]
    assert explained("/y", "--client", "unix")[0].endswith(" by unix")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["GET /", "-H", "Host: a b"], "such a request is refused with 400: "),
        (["CONNECT a:1"], "such a request is refused with 405: "),
        (["GET /", "-c", "/nowhere/pyrox.ini"], "/nowhere/pyrox.ini: there is no such file\n"),
    ],
)
def test_what_cannot_be_explained_exits_with_2(
    arguments: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyrox.ini").write_text(CONFIG)
    assert main(["explain", "-c", str(tmp_path / "pyrox.ini"), *arguments]) == 2
    assert capsys.readouterr().err.startswith(error)


def test_without_routes_everything_goes_to_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyrox.ini").write_text("[routing]\nupstream_hosts = http://a:1\n")
    assert main(["explain", "-c", str(tmp_path / "pyrox.ini"), "/x"]) == 0
    assert "route: none, so the default\ncluster: upstream_hosts\nserver: http://a:1\nasked for: /x\n" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(("hosts", "doubt"), [("demo", ""), ("demo, http://a:1", ", or another")])
def test_the_demo_upstream_is_a_server_like_others(
    hosts: str, doubt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyrox.ini").write_text(f"[routing]\nupstream_hosts = {hosts}\n")
    assert main(["explain", "-c", str(tmp_path / "pyrox.ini"), "/x"]) == 0
    assert f"server: demo{doubt}" in capsys.readouterr().out
