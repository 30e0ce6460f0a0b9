"""``basic_auth`` in a running proxy: files that htpasswd has made, and hashes that keep nobody waiting."""

from __future__ import annotations

import os
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import InThread, get
from tests.support.config import Config
from tests.support.origin import OK, Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

KINDS = {"bcrypt": ("-B", "-C", "4"), "sha256": ("-2",), "sha512": ("-5",), "sha1": ("-s",)}


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + b64encode(f"{user}:{password}".encode()).decode()


def htpasswd(path: Path, user: str, password: str, *options: str) -> None:
    """Put a user into the file as an operator does."""
    create = [] if path.exists() else ["-c"]
    command = ["htpasswd", "-b", *create, *options, path, user, password]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("users") / "htpasswd"
    for kind, options in KINDS.items():
        htpasswd(path, kind, f"pässword:{kind}", *options)
    htpasswd(path, "slow", "secret", "-B", "-C", "14")
    return path


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(serve(OK)) as origin:
        yield origin


def config(origin: Origin, **options: object) -> Config:
    return {
        "routing": {"upstream_hosts": origin.url},
        "http": {"trusted_proxies": "127.0.0.1"},
        "logging": {"access_log_format": "json", "verbosity": "INFO"},
        "middleware": {"stack": ["health", "basic_auth"], "basic_auth": options},
    }


@pytest.fixture
def proxy(origin: Origin, users: Path) -> Iterator[Proxy]:
    with running_proxy(config(origin, file=str(users))) as proxy:
        yield proxy


SPOOFED = [
    "X-Auth-User: root",
    "x-auth-user: root",
    "X_Auth_User: root",
    "X-Auth-Roles: admin",
    "x_auth-ROLES: all",
]


def test_users_of_htpasswd_get_in_and_nobody_else(proxy: Proxy, origin: Origin) -> None:
    with Client(proxy.address) as client:
        for kind in KINDS:
            assert client.ask(get("/", basic(kind, f"pässword:{kind}"), *SPOOFED)).status == 200
            told = [field for field in origin.requests[-1].fields if b"auth" in field[0].lower()]
            assert told == [(b"X-Auth-User", kind.encode())]
            answer = client.ask(get("/refused", basic(kind, "wrong")))
            assert answer.status == 401
            assert answer.get("www-authenticate") == b'Basic realm="restricted", charset="UTF-8"'
        assert len(origin.requests) == len(KINDS)


def test_trailers_tell_nobody_who_the_client_is(proxy: Proxy, origin: Origin) -> None:
    head = get("/", basic("sha1", "pässword:sha1"), "Transfer-Encoding: chunked", method="POST")
    trailers = b"".join(line.encode() + b"\r\n" for line in [*SPOOFED, "X-Other: 1"])
    with Client(proxy.address) as client:
        assert client.ask(head + b"1\r\nx\r\n0\r\n" + trailers + b"\r\n").status == 200
    [request] = origin.requests
    assert [field for field in request.fields if b"auth" in field[0].lower()] == [(b"X-Auth-User", b"sha1")]
    assert request.trailers == [b"X-Other: 1"]


def test_bcrypt_lets_others_be_answered_meanwhile(proxy: Proxy) -> None:
    with Client(proxy.address) as client, Client(proxy.address) as other:
        client.send(get("/", basic("slow", "secret")))
        for _ in range(5):
            assert other.ask(get("/-/healthy")).status == 200
            assert other.ask(get("/", basic("sha1", "pässword:sha1"))).status == 200
        assert client.is_silent(0.001)  # a second of computing
        assert client.read_response().status == 200


def test_user_is_taken_away_and_another_one_added_while_the_proxy_runs(
    origin: Origin, tmp_path: Path
) -> None:
    path = tmp_path / "htpasswd"
    htpasswd(path, "old", "secret", "-s")
    with running_proxy(config(origin, file=str(path))) as proxy, Client(proxy.address) as client:
        assert client.ask(get("/", basic("old", "secret"))).status == 200
        htpasswd(path, "new", "secret", "-s")
        subprocess.run(["htpasswd", "-D", path, "old"], check=True, capture_output=True)
        proxy.wait_until(lambda: client.ask(get("/", basic("new", "secret"))).status == 200, "the new user")
        proxy.wait_until(lambda: client.ask(get("/", basic("old", "secret"))).status == 401, "no old user")
        path.write_text("old:secret\n")
        proxy.wait_until(lambda: _asks_and_finds(client, proxy, "stays in use"), "a word about the bad file")
        assert client.ask(get("/", basic("new", "secret"))).status == 200
        assert "old:secret" not in proxy.error_log()


def _asks_and_finds(client: Client, proxy: Proxy, text: str) -> bool:
    client.ask(get("/", basic("new", "secret")))
    return text in proxy.error_log()


class Gate:
    """What ends the hashes of the ``passwords.Gated`` middleware."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        self.begun = folder / "begun"
        os.mkfifo(self.path)
        self.begun.touch()

    def passwords(self, proxy: Proxy, count: int) -> list[str]:
        """Wait until ``count`` hashes have begun; returns the passwords of all that have."""

        def read() -> list[str]:
            return self.begun.read_text().splitlines()

        proxy.wait_until(lambda: len(read()) >= count, f"{count} hashes")
        return read()

    def open(self) -> int:
        """Let all hashes end from now on, as long as the descriptor returned is open."""
        return os.open(self.path, os.O_RDWR)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def gated(origin: Origin, users: Path, gate: Gate) -> Iterator[Proxy]:
    options = {"file": str(users), "begun": str(gate.begun), "gate": str(gate.path)}
    settings = config(origin, **options, **{"class": "passwords.Gated"})
    with running_proxy(settings, python_path=[PLUGINS]) as proxy:
        yield proxy


def ask(proxy: Proxy, password: str, address: str = "192.0.2.1") -> int:
    with Client(proxy.address) as client:
        fields = [basic("bcrypt", password), f"X-Forwarded-For: {address}"]
        return client.ask(get("/", *fields)).status


def test_flood_of_wrong_passwords_leaves_room_for_others(gated: Proxy, gate: Gate) -> None:
    opened = gate.open()
    assert ask(gated, "secret") == 200  # known from now on
    gate.passwords(gated, 1)
    os.close(opened)
    flood = [InThread(ask, gated, f"wrong {number}") for number in range(2)]
    gate.passwords(gated, 3)
    assert ask(gated, "wrong 2") == 429  # the client has its share
    assert ask(gated, "secret too", "192.0.2.2") == 503  # all hashes are taken
    assert ask(gated, "secret", "192.0.2.2") == 200  # needs none
    opened = gate.open()
    assert [thread.result() for thread in flood] == [401, 401]
    assert ask(gated, "secret too", "192.0.2.2") == 200
    os.close(opened)


def test_same_password_asked_for_at_once_is_hashed_once(gated: Proxy, gate: Gate) -> None:
    clients = [InThread(ask, gated, "secret", f"192.0.2.{number}") for number in range(8)]
    assert gate.passwords(gated, 1) == ["secret"]
    opened = gate.open()
    assert [thread.result() for thread in clients] == [200] * 8
    assert gate.passwords(gated, 1) == ["secret"]
    os.close(opened)


def test_client_that_leaves_makes_no_room_for_another_hash(gated: Proxy, gate: Gate) -> None:
    for number in range(2):
        with Client(gated.address) as client:
            client.send(get("/", basic("bcrypt", f"wrong {number}"), "X-Forwarded-For: 192.0.2.1"))
            gate.passwords(gated, number + 1)
            client.reset()
    assert ask(gated, "wrong 2") == 429
    opened = gate.open()
    gated.wait_until(lambda: ask(gated, "secret") == 200, "room")
    os.close(opened)
