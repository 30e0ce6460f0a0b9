"""What docs/migrating.md says of old configuration files: which still work, and what others have to write."""

from __future__ import annotations

import os
from configparser import RawConfigParser

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError

OLD_FILE = """
[core]
# Setting the processes to 0 will make Pyrox spawn a process per CPU
processes = 0
enable_profiling = False
bind_host = localhost:8080

[ssl]
# cert_file = /etc/pyrox/ssl/server.cert

[routing]
upstream_hosts = http://localhost:80, https://localhost:8000

[templates]
pyrox_error_sc = 503
rejection_sc = 403

[pipeline]
use_singletons = True
upstream = a, b
downstream = a
a = my_filters.auth.Filter
a.realms = staff, guests
b = my_filters.limits.make_filter

[logging]
console = True
logfile = /var/log/pyrox/pyrox.log
verbosity = DEBUG
"""


def test_old_file_works_as_it_stands() -> None:
    settings = parse_settings(OLD_FILE)
    assert (settings.core.processes, settings.core.bind_host) == (0, ("localhost:8080",))
    assert settings.routing.upstream_hosts == ("http://localhost:80", "https://localhost:8000")
    assert (settings.templates.pyrox_error_sc, settings.templates.rejection_sc) == (503, 403)
    assert (settings.pipeline.upstream, settings.pipeline.downstream) == (("a", "b"), ("a",))
    assert settings.pipeline.use_singletons is True
    assert settings.pipeline.options == {"a": {"realms": "staff, guests"}}
    assert (settings.logging.console, settings.logging.verbosity) == (True, "DEBUG")


@pytest.mark.parametrize(
    "text",
    [
        "[core]\nprocesses: 2",
        "; a comment",
        "[core]\nplugin_paths = /usr,\n    /tmp",
        "[routing]\nupstream_hosts = localhost:80",
        "[core]\nmy_own = 1",
        "[mine]\nmy_own = 1",
        "[core]\nBind_Host = localhost:80",
        "[pipeline]\nAuth = my_filters.Auth\nupstream = auth",
        "[pipeline]\nupstream = auth",
    ],
)
def test_what_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_settings(text)


@pytest.mark.parametrize(
    ("old", "read_as", "now"),
    [
        ("red #fff", "red", '"red #fff"'),
        ("#fff", "", '"#fff"'),
        ('"staff"', "staff", "'\"staff\"'"),
        ("${HOME:-}/x", f"{os.environ.get('HOME', '')}/x", "$${HOME:-}/x"),
    ],
)
def test_filter_gets_what_it_got_once_the_value_is_quoted(old: str, read_as: str, now: str) -> None:
    assert value_of(old) == read_as
    assert value_of(now) == old_value_of(old)


def test_three_quotes_that_begin_a_value_want_quotes_around_them() -> None:
    with pytest.raises(ConfigError):
        value_of("'''")
    assert value_of("\"'''\"") == old_value_of("'''")


@pytest.mark.parametrize(
    "value",
    [
        "a, b",
        "abc#1",
        "http://a/#top",
        '"a", "b"',
        '"q, r", s',
        "it's {'a': 'b'} = c",
        '[{"a": 1, "b": 2}]',
        '[{"path": "^/(a|b){1,3}#x", "realm": "staff"}]',
    ],
)
def test_filter_gets_what_it_got(value: str) -> None:
    assert value_of(value) == old_value_of(value)


def test_comment_behind_a_value_and_interpolation_stay_text() -> None:
    assert value_of("staff ; all of them") == "staff ; all of them"
    assert value_of("%(base)s/users") == "%(base)s/users"


def old_value_of(written: str) -> str:
    parser = RawConfigParser()
    parser.read_string(f"[pipeline]\nauth.x = {written}")
    return parser.get("pipeline", "auth.x")


def value_of(written: str) -> str:
    text = f"[pipeline]\nauth = my_filters.Auth\nauth.x = {written}"
    return parse_settings(text).pipeline.options["auth"]["x"]
