"""What is printed reads as the same settings."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.config import parse_settings
from pyrox.config_render import render_settings
from pyrox.errors import ConfigError
from pyrox.settings import MiddlewareSettings, Settings

EVERYTHING = """
[core]
bind_host = :80, [::1]:80, unix:/run/p.sock
processes = 0
reload = yes
[logging]
logfile = "/tmp/a, b.log"
access_log =
access_log_format = '$status, "$request_method" # $$'
[pipeline]
f = my.Filter
f.pattern = [a-z]{1,3}
[http]
trusted_proxies = 10.0.0.0/8, ::1
proxy_protocol_from = unix, 10.0.0.0/8
[timeouts]
client_head = 0.000001
[middleware]
stack = a, request_id
[[a]]
class = my.A
"odd key" = $${HOME}
one =
many = x,
none = ,
[[[limits]]]
gold = " 9 "
[["b ] c"]]
x = y
"""


def as_read(settings: Settings) -> Settings:
    return parse_settings(render_settings(settings))


def test_everything_survives() -> None:
    settings = parse_settings(EVERYTHING)
    assert settings.timeouts.client_head == 1e-06
    assert settings.logging.logfile == "/tmp/a, b.log"
    assert settings.middleware.sections["a"]["odd key"] == "${HOME}"
    assert as_read(settings) == settings


def test_every_default_is_written_out() -> None:
    assert "client_half_closed = 0.5\n" in render_settings(parse_settings(""))
    assert as_read(parse_settings("")) == parse_settings("")


def test_overrides_are_part_of_it() -> None:
    settings = parse_settings("", overrides={"core": {"processes": 7}})
    assert as_read(settings).core.processes == 7


def test_what_the_syntax_cannot_say_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROX_TEST_ODD", "'''\"\"\"")
    settings = parse_settings("[middleware]\n[[a]]\nkey = ${PYROX_TEST_ODD}", "p.ini")
    with pytest.raises(ConfigError) as caught:
        render_settings(settings)
    (problem,) = caught.value.problems
    assert problem.startswith("p.ini: [middleware] [[a]] key: cannot be written: ")


# A variable of the environment holds anything but NUL; a name stands on one line of the file.
values = st.text(st.characters(exclude_characters="\0") | st.sampled_from("'\"\n\r#,$ {}"), max_size=12)
names = st.text(st.characters(categories=["L", "N"]) | st.sampled_from("_-. $'#=[]"), min_size=1, max_size=8)


@given(
    st.dictionaries(
        names.filter(lambda name: name == name.strip() and name != "class"),
        values | st.lists(values, max_size=3),
        max_size=4,
    )
)
def test_any_option_is_read_back_or_refused(options: dict[str, str | list[str]]) -> None:
    middleware = MiddlewareSettings(stack=(), sections={"a": options})
    try:
        text = render_settings(dataclasses.replace(parse_settings(""), middleware=middleware))
    except ConfigError:
        return
    assert parse_settings(text).middleware == middleware


def test_clusters_survive() -> None:
    settings = parse_settings(
        """
        [clusters]
        [[users]]
        servers = http://a weight=3, unix:/run/a.sock backup, http://b weight=2 backup
        balance = hash
        hash_on = header:X-User
        [[carts]]
        servers = http://a
        balance = sticky
        cookie_secret = "0123456789abcdef0123456789abcdef # no comment"
        slow_start = 0.25
        """
    )
    assert as_read(settings) == settings
