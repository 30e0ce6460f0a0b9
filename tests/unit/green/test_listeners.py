"""Listening sockets: kept, opened, handed over; all or none."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.config import Config

from pyrox.config import parse_settings
from pyrox.errors import ConfigError
from pyrox.green.listeners import (
    HANDED_OVER,
    Listeners,
    are_activated,
    close_listeners,
    hand_over,
    inherited_listeners,
    open_listeners,
)


@pytest.fixture
def opened() -> Iterator[list[Listeners]]:
    opened: list[Listeners] = []
    yield opened
    for listeners in opened:
        close_listeners(listeners, unlink=True)


def open_at(*binds: str, kept: Listeners | None = None) -> Listeners:
    settings = parse_settings(f"[core]\nbind_host = {', '.join(binds)},\n", "p.ini")
    return open_listeners(settings, Config(), kept or {})


def test_listener_that_stays_is_the_same_and_two_free_ports_are_two(opened: list[Listeners]) -> None:
    first = open_at("127.0.0.1:0", "127.0.0.1:0")
    opened.append(first)
    names = {listener.sock.getsockname() for listener in first.values()}
    assert len(names) == 2
    second = open_at("127.0.0.1:0", "[::1]:0", kept=first)
    opened.append(second)
    assert second["127.0.0.1:0"] is first["127.0.0.1:0"]
    assert second["[::1]:0"].sock.family == socket.AF_INET6


def test_one_address_that_cannot_be_had_closes_the_others(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError) as caught:
            open_at(f"unix:{tmp_path}/p.sock", busy, "fd://9999", "unix:/no/where.sock", "192.0.2.1:80")
    assert caught.value.problems == [
        f"p.ini: [core] bind_host: cannot listen at {busy!r}: Address already in use; "
        "end what listens there, or choose another port",
        "p.ini: [core] bind_host: cannot listen at 'fd://9999': Bad file descriptor",
        "p.ini: [core] bind_host: cannot listen at 'unix:/no/where.sock': No such file or directory; "
        "make its directory first",
        "p.ini: [core] bind_host: cannot listen at '192.0.2.1:80': Cannot assign requested address; "
        "choose an address of this machine, or none to listen at all of them",
    ]
    assert not (tmp_path / "p.sock").exists()


def test_listeners_are_handed_over_by_their_binds(tmp_path: Path, opened: list[Listeners]) -> None:
    binds = ("127.0.0.1:0", f"unix:{tmp_path}/p.sock")
    first = open_at(*binds)
    names = [listener.sock.getsockname() for listener in first.values()]
    environment = {HANDED_OVER: hand_over(first)}
    for listener in first.values():
        assert os.get_inheritable(listener.fileno())
    second = inherited_listeners(environment, Config())
    opened.append(open_at(*binds, kept=second))
    assert environment == {}
    assert [listener.sock.getsockname() for listener in opened[0].values()] == names
    assert list(opened[0].values()) == list(second.values())
    for listener in first.values():
        listener.sock.detach()  # its descriptor was taken over


def test_sockets_of_the_service_manager_stand_for_all_binds(opened: list[Listeners]) -> None:
    one = open_at("127.0.0.1:0")
    activated = {"systemd:0": next(iter(one.values()))}
    opened.append(open_at("127.0.0.1:1", "unix:/no/where", kept=activated))
    assert opened[0] == activated
    assert are_activated(opened[0]) and not are_activated(one)


def test_file_of_a_unix_socket_goes_with_it_when_it_is_ours(tmp_path: Path) -> None:
    listeners = open_at(f"unix:{tmp_path}/p.sock")
    close_listeners(listeners, unlink=False)
    assert (tmp_path / "p.sock").exists()
    close_listeners(listeners, unlink=True)  # closed already
    listeners = open_at(f"unix:{tmp_path}/p.sock")
    close_listeners(listeners, unlink=True)
    assert not (tmp_path / "p.sock").exists()
