"""[routes]: texts that are taken as they stand, shares, defaults, and the way back into a file."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.config import parse_settings
from pyrox.config_render import render_settings
from pyrox.errors import ConfigError
from pyrox.routing.regex import compile_regex
from pyrox.settings import RouteSettings, WeightedCluster


def route(options: str) -> RouteSettings:
    return parse_settings(f"[routes]\n[[a]]\n{options}\n").routes.sections["a"]


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (" Host(`a`, `b`) && Path(`/`)", "Host(`a`, `b`) && Path(`/`)"),
        ("Header('X', \"a, #b\")  # a comment", "Header('X', \"a, #b\")"),
        (" 'Header(`X`, `a #b`)'", "Header(`X`, `a #b`)"),
        ("'''Path(`/a`)\n|| Path(`/b`)'''", "Path(`/a`)\n|| Path(`/b`)"),
        ("PathRegexp(`${PYROX_TEST_PATH}`)", 'PathRegexp(`a, #b"`)'),
    ],
)
def test_rules_are_taken_as_they_stand(written: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROX_TEST_PATH", 'a, #b"')
    assert route(f"match ={written}\nrespond = 200").match == rule


def test_other_texts_are_too() -> None:
    taken = route(
        "'match' = PathRegexp(`^/[a-z]{1,3}$`)\nrespond = 200\n"
        'respond_body = {"a": [1, 2], "b": "#c"}\nrespond_headers = X: y, "Vary: a, b"'
    )
    assert taken.match == "PathRegexp(`^/[a-z]{1,3}$`)"
    assert taken.respond_headers == ("X: y", "Vary: a, b")
    assert taken.respond_body == '{"a": [1, 2], "b": "#c"}'
    rewritten = route("match = Path(`/`)\ncluster = http://a\nreplace_path = ^/(a,b)#$\nreplace_with = /'$1'")
    assert (rewritten.replace_path, rewritten.replace_with) == ("^/(a,b)#$", "/'$1'")


def test_shares_are_read_and_the_rest_has_defaults() -> None:
    taken = route("match = Path(`/`)\nclusters = http://a weight=95, http://b\nmirror_percent = 0.5%")
    assert taken.clusters == (WeightedCluster("http://a", 95), WeightedCluster("http://b", 1))
    assert (taken.mirror_percent, taken.mirror_body, taken.fallback_on) == (0.5, 65536, ("error",))
    assert (taken.upstream_first_byte, taken.exchange, taken.redirect_status) == (None, None, 307)


def test_the_default_server_is_none_where_there_are_routes() -> None:
    routes = "[routes]\n[[a]]\nmatch = Path(`/`)\nrespond = 200\n"
    assert parse_settings(routes).routing.upstream_hosts == ()
    assert parse_settings(f"[routing]\nupstream_hosts = http://a\n{routes}").routing.upstream_hosts == (
        "http://a",
    )
    assert parse_settings("[routes]\n").routing.upstream_hosts == ("http://localhost:80",)


FILE = """
[clusters]
[[users]]
servers = http://a
[routes]
[[a b]]
match = Host(`a`) && Header('x', "b, #c") && !Path(`/`)  # not this
clusters = users weight=3, http://b weight=0
stack = request_id, headers
priority = 7
replace_path = "^/(a|b), # "
replace_with = $1
add_prefix = /x
max_body_size = 1k
upstream_read = 0
exchange = 1.5
mirror = users
mirror_percent = 2.5
fallback = users
fallback_on = error, 503
[[b]]
match = Path(`/b`)
respond = 404
respond_body = {"a": '#', "b" : ["c"]}
respond_headers = X-A: b, "Vary: c, d"
[[c]]
match = Path(`/c`)
redirect = https://{host}/a,b?{path}#x
redirect_status = 308
"""


def test_what_is_printed_reads_as_the_same() -> None:
    settings = parse_settings(FILE)
    assert settings.routes.sections["a b"].replace_path == "^/(a|b), #"
    assert parse_settings(render_settings(settings)) == settings


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r") | st.sampled_from("\"'#,;=[]{}$ \n")))
def test_any_body_survives_being_printed(body: str) -> None:
    settings = parse_settings("[routes]\n[[b]]\nmatch = Path(`/`)\nrespond = 200\nrespond_body = x")
    options = settings.routes.sections["b"]
    object.__setattr__(options, "respond_body", body.strip())
    try:
        text = render_settings(settings)
    except ConfigError:
        return  # the syntax of the file has no way to write it, which is said
    assert parse_settings(text).routes.sections["b"].respond_body == body.strip()


def test_without_re2_a_pattern_is_a_fault_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    compile_regex.cache_clear()
    with pytest.raises(ConfigError) as caught:
        route("match = PathRegexp(`a`)\nrespond = 200")
    assert caught.value.problems == [
        "<string>: [routes] [[a]] match: column 12: PathRegexp: "
        "regular expressions need RE2; install it with: pip install 'pyrox[regex]'"
    ]
    assert route("match = Path(`/a`)\nrespond = 200").match == "Path(`/a`)"
