"""Files and texts in, Settings or every problem out."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrox.config import Option, load_settings, parse_settings, read_spec
from pyrox.errors import ConfigError
from pyrox.preflight import check_middleware
from pyrox.settings import ClusterSettings, RouteSettings, ServerSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "conf" / "pyrox.ini"


def problems_of(text: str | list[str], **arguments: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "p.ini", **arguments)  # type: ignore[arg-type]
    return caught.value.problems


# --- the spec, the settings, the shipped file ---------------------------------------------------------


def test_an_empty_file_gives_the_documented_defaults() -> None:
    settings = parse_settings("")
    assert settings.core.bind_host == ("localhost:8080",)
    assert settings.core.processes == 1
    assert settings.routing.upstream_hosts == ("http://localhost:80",)
    assert settings.logging.verbosity == "WARNING"
    assert (settings.logging.access_log, settings.logging.access_log_format) == ("-", "combined")
    assert (settings.logging.console, settings.logging.logfile) == (False, None)
    assert (settings.ssl.cert_file, settings.ssl.key_file) == (None, None)
    assert (settings.templates.pyrox_error_sc, settings.templates.rejection_sc) == (502, 400)
    assert settings.limits.request_line == 8192
    assert settings.limits.head_size == 32768
    assert (settings.timeouts.client_half_closed, settings.timeouts.tunnel_timeout) == (0.5, 3600.0)
    assert (settings.pipeline.upstream, settings.middleware.stack) == ((), ())


def test_settings_and_spec_name_the_same_options() -> None:
    sections, options = read_spec()
    spec = {
        section: {o.name for o in options if o.section == section and not o.is_inner} for section in sections
    }
    spec["pipeline"] = spec["pipeline"] - {"__many__"} | {"aliases", "options"}
    spec["middleware"] = spec["middleware"] - {"__many__"} | {"sections"}
    spec["ssl"] = spec["ssl"] - {"__many__"} | {"certificates"}
    spec["clusters"] = spec["clusters"] - {"__many__"} | {"sections"}
    inner = {o.name for o in options if o.section == "clusters" and o.is_inner}
    assert inner == {field.name for field in dataclasses.fields(ClusterSettings)}
    spec["routes"] = spec["routes"] - {"__many__"} | {"sections"}
    inner = {o.name for o in options if o.section == "routes" and o.is_inner}
    assert inner == {field.name for field in dataclasses.fields(RouteSettings)}
    settings = parse_settings("")
    fields = {field.name for field in dataclasses.fields(Settings)} - {"source"}
    assert spec == {
        section: {f.name for f in dataclasses.fields(getattr(settings, section))} for section in fields
    }


@pytest.mark.parametrize("option", read_spec()[1], ids=lambda option: f"{option.section}-{option.name}")
def test_every_option_of_the_spec_has_a_meaning(option: Option) -> None:
    assert re.fullmatch(r".+[.:`]", option.meaning)
    assert read_spec()[0][option.section].endswith(".")


def test_the_shipped_file_mentions_every_option_under_its_section() -> None:
    mentioned: set[tuple[str, str]] = set()
    section = ""
    for line in SHIPPED.read_text().splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
        elif option := re.match(r"#?(\w+) =", line):
            mentioned.add((section, option[1]))
    expected = {(option.section, option.name) for option in read_spec()[1] if option.name != "__many__"}
    assert expected <= mentioned


def test_the_shipped_file_shows_the_defaults_and_starts_before_the_demo() -> None:
    uncommented = [
        re.sub(r"^#(?=\w+ =|\[\[)", "", line)
        for line in SHIPPED.read_text().splitlines()
        if "my_" not in line
    ]
    shown = parse_settings([line for line in uncommented if "${" not in line])
    default = parse_settings("")
    assert shown.routing.upstream_hosts == ("demo",)
    assert len(shown.middleware.stack) == 3
    [(name, cluster)] = shown.clusters.sections.items()
    assert (name, len(cluster.servers)) == ("users", 3)
    plain = parse_settings("[clusters]\n[[users]]\nservers = http://a").clusters.sections["users"]
    assert dataclasses.replace(cluster, servers=plain.servers) == plain
    [(name, route)] = shown.routes.sections.items()
    bare = (
        f"[clusters]\n[[users]]\nservers = http://a\n[routes]\n[[a]]\ncluster = users\nmatch = {route.match}"
    )
    timeouts = {"upstream_first_byte": 60.0, "upstream_read": 60.0, "exchange": 0.0}
    assert (name, route) == (
        "api",
        dataclasses.replace(parse_settings(bare).routes.sections["a"], **timeouts),
    )
    shown = dataclasses.replace(shown, clusters=default.clusters, routes=default.routes)
    assert dataclasses.replace(shown, routing=default.routing, middleware=default.middleware) == default
    assert load_settings(str(SHIPPED)) == dataclasses.replace(shown, source=str(SHIPPED))


def test_the_generated_page_is_not_stale() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    sections, options = read_spec()
    for option in options:
        assert f"| {option.meaning} |" in page, f"run tools/generate_config_docs.py: {option.name}"
    for section, meaning in sections.items():
        assert f"\n## [{section}]\n\n{meaning}\n" in page


def test_the_example_on_the_page_would_start() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    example = re.search(r"```ini\n(.*?)```", page, re.DOTALL)
    assert example
    settings = parse_settings(example[1], further_checks=[check_middleware])
    assert len(settings.middleware.stack) == 2


# --- values -------------------------------------------------------------------------------------------


def test_values_are_read_as_the_types_of_their_options() -> None:
    settings = parse_settings(
        """
        [core]
        bind_host = 127.0.0.1:80, [::1]:80, :81, unix:/run/p.sock, fd://3
        processes = 0
        reload = On
        [http]
        trusted_proxies = 10.0.0.0/8, unix, ::1
        proxy_protocol_from = unix, 10.0.0.1
        underscore_headers = Reject
        [limits]
        max_body_size = 1g
        [timeouts]
        client_head = 500ms
        client_idle = 2m
        [logging]
        access_log =
        verbosity = debug
        """
    )
    assert settings.core.bind_host == ("127.0.0.1:80", "[::1]:80", ":81", "unix:/run/p.sock", "fd://3")
    assert (settings.core.processes, settings.core.reload) == (0, True)
    assert [str(network) for network in settings.http.trusted_proxies] == ["10.0.0.0/8", "unix", "::1/128"]
    assert [str(peer) for peer in settings.http.proxy_protocol_from] == ["unix", "10.0.0.1/32"]
    assert settings.http.underscore_headers == "reject"
    assert settings.limits.max_body_size == 1 << 30
    assert (settings.timeouts.client_head, settings.timeouts.client_idle) == (0.5, 120.0)
    assert (settings.logging.access_log, settings.logging.verbosity) == (None, "DEBUG")


def test_relative_paths_are_taken_from_the_directory_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    file = tmp_path / "p.ini"
    file.write_text("[core]\nplugin_paths = plugins\n[logging]\naccess_log = a.log\nlogfile = ../e.log\n")
    settings = load_settings(os.path.relpath(file))
    assert settings.core.plugin_paths == (str(tmp_path / "plugins"),)
    assert settings.logging.access_log == str(tmp_path / "a.log")
    assert settings.logging.logfile == str(tmp_path.parent / "e.log")


def test_overrides_win_over_the_file_and_are_blamed_themselves() -> None:
    text = "[core]\nbind_host = nonsense\nprocesses = 3\n"
    settings = parse_settings(text, overrides={"core": {"bind_host": [":80", "[::1]:80"], "processes": 2}})
    assert settings.core.bind_host == (":80", "[::1]:80")
    assert settings.core.processes == 2
    assert problems_of(text, overrides={"core": {"processes": "many"}}) == [
        "p.ini: [core] bind_host: 'nonsense' has no port; write nonsense:8080",
        "command line: [core] processes: 'many' is not a whole number from 0 to 1024",
    ]


def test_pipeline_keeps_aliases_and_the_exact_text_of_their_options() -> None:
    pipeline = parse_settings(
        ["[pipeline]", "f = my.Filter", "f.pattern = [a-z]{1,3},x", "f.key = k", "use_singletons = True"]
    ).pipeline
    assert pipeline.aliases == {"f": "my.Filter"}
    assert pipeline.options == {"f": {"pattern": "[a-z]{1,3},x", "key": "k"}}
    assert pipeline.use_singletons is True


def test_middleware_sections_are_kept_as_written() -> None:
    middleware = parse_settings(
        """
        [middleware]
        stack = a, request_id
        [[a]]
        class = my.A
        one = 1
        many = x, "y, z"
        [[[limits]]]
        gold = 9
        [[unused]]
        class = my.B
        """
    ).middleware
    assert middleware.stack == ("a", "request_id")
    assert middleware.sections == {
        "a": {"class": "my.A", "one": "1", "many": ["x", "y, z"], "limits": {"gold": "9"}},
        "unused": {"class": "my.B"},
    }


def test_clusters_have_servers_with_weights_and_defaults_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYROX_TEST_SECRET", "s" * 32)
    monkeypatch.setenv("PYROX_TEST_SERVERS", "http://c:1 weight=2, http://d:1")
    settings = parse_settings(
        """
        [routing]
        default_cluster = users
        [clusters]
        [[users]]
        servers = http://A.test:8000 weight=3, http://b backup, unix:/run/users.sock
        [[carts]]
        servers = ${PYROX_TEST_SERVERS}
        balance = sticky
        cookie_secret = ${PYROX_TEST_SECRET}
        cookie_max_age = 1h
        slow_start = 500ms
        """
    )
    users, carts = settings.clusters.sections.values()
    assert settings.routing.default_cluster == "users"
    assert users.servers == (
        ServerSettings("http://a.test:8000", 3),
        ServerSettings("http://b", is_backup=True),
        ServerSettings("unix:/run/users.sock"),
    )
    assert (users.balance, users.slow_start) == ("round_robin", 0.0)
    assert carts.servers == (ServerSettings("http://c:1", 2), ServerSettings("http://d:1"))
    assert (carts.cookie_secret, carts.cookie_max_age, carts.slow_start) == ("s" * 32, 3600.0, 0.5)
    assert "ssss" not in repr(settings)


# --- the file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "{}: there is no such file"),
        (Path.mkdir, "{}: is a directory; name a file in it"),
        (lambda path: path.write_bytes(b"# a\n# \xff\n"), "{}:2: is not UTF-8 (byte 0xff)"),
        (lambda path: path.write_bytes(b"[core]\n\n\0\n"), "{}:3: has a NUL byte; this is not a text file"),
    ],
    ids=["missing", "directory", "encoding", "binary"],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    path = tmp_path / "p.ini"
    make(path)
    with pytest.raises(ConfigError) as caught:
        load_settings(str(path))
    assert caught.value.problems == [problem.format(path)]


def test_a_byte_order_mark_and_dos_line_ends_are_read_over(tmp_path: Path) -> None:
    path = tmp_path / "p.ini"
    path.write_bytes(b"\xef\xbb\xbf[core]\r\nprocesses = 5\r\n")
    assert load_settings(str(path)).core.processes == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[core]\nprocesses = 1\nprocesses = 2", "p.ini:3: processes stands here a second time; keep one"),
        ("[core]\n[http]\n[core]", "p.ini:3: [core] stands here a second time; keep one"),
        ("[core]\nfoo", "p.ini:2: 'foo' is neither [section] nor key = value"),
        ("[core]\nprocesses: 2", "p.ini:2: processes is followed by a colon; write processes = ..."),
        ("[core]\n; old", "p.ini:2: a comment begins with #"),
        (
            "[routing]\nupstream_hosts = http://a,\n  http://b",
            "p.ini:3: 'http://b' is neither [section] nor key = value; "
            "a list stands on one line, a long text in '''",
        ),
        ("[core]\nhttp://a:1", "p.ini:2: 'http://a:1' is neither [section] nor key = value"),
        ("[core]\nfoo = 'secret", "p.ini:2: foo: the quotes or commas of its value do not match up"),
        (
            "[core]]",
            "p.ini:1: [core]] is no section here; write [name], and below it [[name]] for its subsections",
        ),
        (
            "[[core]]",
            "p.ini:1: [[core]] is no section here; write [name], and below it [[name]] for its subsections",
        ),
        ("[core]\nfoo = '''a\n", "p.ini:2: foo: the quotes or commas of its value do not match up"),
    ],
)
def test_bad_syntax_is_reported_with_its_line(text: str, problem: str) -> None:
    assert problems_of(text) == [problem]


# --- one problem each ---------------------------------------------------------------------------------


def cases() -> list[tuple[str, list[str]]]:
    text = Path(__file__).with_name("config_problems.txt").read_text()
    lines = [block.split("\n") for block in text.strip().split("\n\n")[1:]]
    return [
        (
            "\n".join(line for line in case if not line.startswith("> ")),
            [f"p.ini: {line.removeprefix('> ')}" for line in case if line.startswith("> ")],
        )
        for case in lines
    ]


@pytest.mark.parametrize(
    ("text", "problems"), cases(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_fault_is_reported_with_its_section_and_key(text: str, problems: list[str]) -> None:
    assert problems
    assert problems_of(text) == problems


def test_filter_that_is_listed_but_not_defined_is_a_problem() -> None:
    assert problems_of("[pipeline]\nf = my.F\nupstream = f, g\ndownstream = f") == [
        "p.ini: [pipeline] upstream: 'g' is not defined by an option g = dotted.Class"
    ]


def test_a_bad_log_format_is_a_problem() -> None:
    (problem,) = problems_of("[logging]\naccess_log_format = combine")
    assert problem.startswith("p.ini: [logging] access_log_format: 'combine'")
    assert "combined" in problem


# --- several at once ----------------------------------------------------------------------------------


def test_every_problem_is_reported_at_once() -> None:
    problems = problems_of(
        """[core]
processes = 1
processes = 2
bind_host = localhost, :99999
oops
[http]
trusted_proxies = x, 10.0.0.1/8
forwarded = perhaps
[rooting]
[routing]
upstream_hosts = http://a/b, nowhere
[timeouts]
linger = ${PYROX_TEST_UNSET}
"""
    )
    places = [re.sub(r"^(p\.ini(:\d+)?(: \[\w+\]( \w+)?)?):.*", r"\1", problem) for problem in problems]
    assert sorted(places) == [
        "p.ini: [core] bind_host",
        "p.ini: [http] forwarded",
        "p.ini: [http] trusted_proxies",
        "p.ini: [rooting]",
        "p.ini: [routing] upstream_hosts",
        "p.ini: [timeouts] linger",
        "p.ini:3",
        "p.ini:5",
    ]
    (binds,) = [problem for problem in problems if "bind_host" in problem]
    assert "'localhost'" in binds and "':99999'" in binds


def test_options_behind_a_broken_section_marker_are_not_blamed() -> None:
    assert len(problems_of("[core]\n[http\ntrusted_proxies = ::1\n")) == 1


def test_further_checks_add_their_problems_to_the_report() -> None:
    def complain(settings: Settings) -> None:
        raise ConfigError([f"{settings.source}: too many ({settings.core.processes})"])

    assert problems_of("[core]\nprocesses = x", further_checks=[complain, complain]) == [
        "p.ini: [core] processes: 'x' is not a whole number from 0 to 1024",
        "p.ini: too many (1)",
        "p.ini: too many (1)",
    ]
