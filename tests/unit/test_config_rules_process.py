"""Who may run workers as whom, and how permission bits are written."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from pyrox.accounts import group_id, user_id, worker_account
from pyrox.config import parse_settings
from pyrox.config_render import render_settings
from pyrox.errors import ConfigError


def test_accounts_are_names_or_numbers() -> None:
    root = pwd.getpwuid(0).pw_name
    assert (user_id(root), user_id("0"), user_id("4242424")) == (0, 0, 4242424)
    assert group_id(grp.getgrgid(0).gr_name) == group_id("0") == 0


@pytest.mark.parametrize(
    "text, account",
    [
        ("", (os.geteuid(), os.getegid())),
        ("user = 0", (0, pwd.getpwuid(0).pw_gid)),
        ("user = 0\ngroup = 4242", (0, 4242)),
        ("user = 4242424", (4242424, os.getegid())),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may name another account")
def test_group_of_the_workers_is_that_of_their_user_unless_it_is_named(
    text: str, account: tuple[int, int]
) -> None:
    assert worker_account(parse_settings(f"[core]\n{text}\n").core) == account


def test_only_root_starts_workers_as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    parse_settings("[core]\nuser = 1000\ngroup = 1000\n")
    with pytest.raises(ConfigError) as caught:
        parse_settings("[core]\nuser = 1\ngroup = 1\n", "p.ini")
    assert caught.value.problems == [
        "p.ini: [core] user: only root can start workers as another user",
        "p.ini: [core] group: only root can start workers as another group",
    ]


@pytest.mark.parametrize("written, read", [("027", "027"), ("27", "027"), ("0o77", "077"), ("", "")])
def test_umask_is_octal_however_it_is_written(written: str, read: str) -> None:
    settings = parse_settings(f"[core]\numask = {written}\n")
    assert settings.core.umask == read
    assert parse_settings(render_settings(settings)).core.umask == read
