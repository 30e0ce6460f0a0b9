"""Which applications a configuration names, and how they are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError, NoRoute
from pyrox.http.message import Request
from pyrox.preflight import check_middleware, check_middleware_in_child
from pyrox.router import Router
from pyrox.upstreams.applications import application_clusters, import_application, load_applications

HERE = "tests.unit.upstreams.test_applications"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"app"]


def make() -> Any:
    return app


def make_nothing() -> None:
    return None


def make_trouble() -> None:
    raise RuntimeError("no database")


number = 5


def config(url: str) -> str:
    return f"[routing]\nupstream_hosts = {url},\n"


def test_application_is_found_by_its_name_or_made() -> None:
    assert import_application(f"wsgi:{HERE}:app") is app
    assert import_application(f"wsgi:{HERE}:make()") is app


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{HERE}:ap", "has no ap; did you mean app?"),
        (f"{HERE}:number", "not callable"),
        (f"{HERE}:make_nothing()", "returned None, which is not callable"),
        (f"{HERE}:make_trouble()", "RuntimeError: no database"),
        ("no_such_module:app", r"plugin_paths"),
    ],
)
def test_what_cannot_be_had_is_a_problem_of_the_option_that_names_it(name: str, reason: str) -> None:
    settings = parse_settings(config(f"wsgi:{name}"))
    for check in (load_applications, check_middleware, check_middleware_in_child):
        with pytest.raises(ConfigError, match=reason) as caught:
            check(settings)
        [problem] = caught.value.problems
        assert problem.startswith(f"<string>: [routing] upstream_hosts: wsgi:{name}: ")


def test_applications_of_clusters_and_routes_are_found_too() -> None:
    settings = parse_settings(
        "[clusters]\n[[a]]\nservers = wsgi:no_a:app weight=2\n"
        "[routes]\n[[r]]\nmatch = Path(`/`)\ncluster = wsgi:no_b:app\nfallback = wsgi:no_c:app\n"
        "mirror = wsgi:no_d:app\n[[s]]\nmatch = Path(`/s`)\nclusters = a, wsgi:no_e:app weight=2\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_applications(settings)
    places = [problem.partition(": ")[2].partition(": wsgi:")[0] for problem in caught.value.problems]
    assert places == [
        "[clusters] [[a]] servers",
        "[routes] [[r]] cluster",
        "[routes] [[r]] fallback",
        "[routes] [[r]] mirror",
        "[routes] [[s]] clusters",
    ]


@pytest.mark.parametrize(
    "url", ["wsgi:", "wsgi:a", "wsgi:a:", "wsgi::b", "wsgi:a:b c", "wsgi:a-b:c", "wsgi:a:b(1)"]
)
def test_what_names_no_application_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"is not wsgi:package\.module:app"):
        parse_settings(config(url))


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "never_imported.py").write_text("raise SystemExit('imported')")
    yield "wsgi:never_imported:app"


def test_middleware_reaches_only_applications_of_the_configuration(importable: str) -> None:
    known = f"wsgi:{HERE}:app"
    router = Router(application_clusters(parse_settings(config(known))), "upstream_hosts")
    request = Request("GET", "/")
    request.route_to(known)
    assert router.route(request).choose(request, 0.0).server.url == known
    request.route_to(importable)
    with pytest.raises(NoRoute, match="names no wsgi:never_imported"):
        router.route(request)
