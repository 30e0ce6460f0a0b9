"""Which listeners only redirect: by where they stand in the configuration, or by their port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError
from pyrox.green.listeners import Listeners, close_listeners, open_listeners, redirect_descriptors
from pyrox.settings import Settings

CFG = SimpleNamespace(backlog=5, reuse_port=False, umask=0, uid=0, gid=0, is_ssl=False, ssl_options={})


def settings_of(serve: str, redirect: tuple[str, ...] = ()) -> Settings:
    settings = parse_settings(f"[core]\nbind_host = {serve}\n", "p.ini")
    # Past the rules, which ask for a certificate.
    return replace(settings, ssl=replace(settings.ssl, redirect_bind=redirect))


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(closing: ExitStack, settings: Settings, kept: Listeners | None = None) -> Listeners:
    listeners = open_listeners(settings, CFG, kept or {})
    closing.callback(close_listeners, listeners, unlink=False)
    return listeners


def redirecting(listeners: Listeners, settings: Settings) -> list[Any]:
    descriptors = redirect_descriptors(listeners, settings)
    return [key for key, listener in listeners.items() if listener.fileno() in descriptors]


def test_those_that_are_configured_so_redirect(closing: ExitStack) -> None:
    settings = settings_of("127.0.0.1:0, 127.0.0.2:0", ("127.0.0.3:0", "127.0.0.1:0"))
    listeners = opened(closing, settings)
    assert list(listeners) == ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0", "127.0.0.1:0 1"]
    assert redirecting(listeners, settings) == ["127.0.0.3:0", "127.0.0.1:0 1"]


def test_none_redirects_by_default(closing: ExitStack) -> None:
    settings = settings_of("127.0.0.1:0")
    assert redirecting(opened(closing, settings), settings) == []


def test_listener_changes_its_part_and_stays_open(closing: ExitStack) -> None:
    """As when TLS is switched on: what has served plain HTTP redirects from then on."""
    before = settings_of("127.0.0.1:0")
    listeners = opened(closing, before)
    after = settings_of("127.0.0.2:0", ("127.0.0.1:0",))
    reloaded = opened(closing, after, listeners)
    assert reloaded["127.0.0.1:0"] is listeners["127.0.0.1:0"]
    assert redirecting(reloaded, after) == ["127.0.0.1:0"]
    back = opened(closing, before, reloaded)
    assert back["127.0.0.1:0"] is listeners["127.0.0.1:0"]
    assert redirecting(back, before) == []


def test_what_systemd_has_opened_is_known_by_its_port() -> None:
    def listener(descriptor: int, name: object) -> Any:
        return SimpleNamespace(fileno=lambda: descriptor, getsockname=lambda: name)

    listeners = {
        "systemd:0": listener(3, ("0.0.0.0", 80)),
        "systemd:1": listener(4, ("0.0.0.0", 443)),
        "systemd:2": listener(5, ("::", 80, 0, 0)),
        "systemd:3": listener(6, "/run/pyrox.sock"),
    }
    settings = settings_of(":443, unix:/run/pyrox.sock", (":80",))
    assert redirecting(listeners, settings) == ["systemd:0", "systemd:2"]


def test_address_that_cannot_be_redirected_at_is_named_with_its_option(closing: ExitStack) -> None:
    taken = opened(closing, settings_of("127.0.0.1:0"))
    port = taken["127.0.0.1:0"].getsockname()[1]
    with pytest.raises(ConfigError) as refused:
        open_listeners(settings_of("127.0.0.2:0", (f"127.0.0.1:{port}",)), CFG, {})
    [problem] = refused.value.problems
    assert problem.startswith(f"p.ini: [ssl] redirect_bind: cannot listen at '127.0.0.1:{port}': ")
