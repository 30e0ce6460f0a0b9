"""``when`` and ``mode``, which every middleware has."""

from __future__ import annotations

import pytest

from pyrox.config import parse_settings
from pyrox.config_render import render_settings
from pyrox.errors import ConfigError
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.stack import load_stack
from pyrox.testing import TestClient

MARK = "[middleware]\nstack = mark,\n[[mark]]\nclass = tests.unit.middleware.test_conditions.Mark\n"


class Mark(Middleware):
    """Leaves a mark on the request."""

    def __call__(self, request: Request) -> Response:
        request.headers["X-Mark"] = "1"
        return self.app(request)


class WithMode(Mark):
    """Has an option of its own that is called mode."""

    def __init__(self, app: App, mode: str) -> None:
        super().__init__(app)
        self.mode = mode

    def __call__(self, request: Request) -> Response:
        return Response(200, self.mode)


def test_only_requests_that_the_rule_holds_for_pass_the_middleware() -> None:
    client = TestClient.from_config(
        MARK + "when = PathPrefix(`/a`) && Method(`GET`, `PUT`)  # two, and a comma\n"
    )
    for method, target, marked in [
        ("GET", "/a/b", True),
        ("PUT", "/a", True),
        ("POST", "/a", False),
        ("GET", "/b", False),
    ]:
        assert client.request(method, target).status == 200
        assert ("x-mark" in client.upstream_requests[-1].headers) is marked


def test_path_that_could_lead_past_the_middleware_is_refused() -> None:
    client = TestClient.from_config(MARK + "when = PathPrefix(`/a`)\n")
    assert client.get("/b/..%2Fa").status == 400
    assert client.upstream_requests == []


def test_path_that_could_lead_past_an_observed_middleware_is_a_verdict_and_no_more() -> None:
    client = TestClient.from_config(MARK + "when = PathPrefix(`/a`)\nmode = observe\n")
    for target, verdicts in [("/b/..%2Fa", ["mark=400"]), ("/a", None), ("/b", None)]:
        assert client.get(target).status == 200
        assert client.upstream_requests[-1].state.get("observed") == verdicts


def test_middleware_of_a_route_has_them_too() -> None:
    config = MARK.replace("stack = mark,\n", "") + (
        "when = Method(`GET`)\n[routes]\n[[all]]\nmatch = PathPrefix(`/`)\n"
        "cluster = http://127.0.0.1:1\nstack = mark\n"
    )
    client = TestClient.from_config(config)
    client.get("/")
    client.post("/")
    assert ["x-mark" in seen.headers for seen in client.upstream_requests] == [True, False]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("when = PathPrefx(`/a`)", r"\[\[mark\]\] when: column 1: 'PathPrefx' is no function; did you mean"),
        ("when =", r"\[\[mark\]\] when: column 1: the end where a function"),
        ("when = PathRegexp(`(`)", r"\[\[mark\]\] when: column 12: PathRegexp: '\(' is no regular"),
        ("mode = observed", r"\[\[mark\]\] mode: 'observed' is neither enforce nor observe; did you mean"),
    ],
)
def test_faults_are_named(line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_stack(parse_settings(MARK + line + "\n"))


def test_mode_of_a_constructor_is_its_own() -> None:
    client = TestClient.from_config(MARK.replace("Mark\n", "WithMode\nmode = observe\n"))
    assert client.get("/").text == "observe"


def test_mode_enforce_is_what_there_is_without() -> None:
    client = TestClient.from_config(MARK + "mode = enforce\n")
    client.get("/")
    assert "x-mark" in client.upstream_requests[-1].headers


def test_rule_survives_being_printed() -> None:
    rule = 'Header(`X`, `a,b`) || Header(`Y`, "it\'s # not a comment")'
    settings = parse_settings(MARK + f"when = {rule}\n")
    again = parse_settings(render_settings(settings))
    assert again.middleware.sections["mark"]["when"] == settings.middleware.sections["mark"]["when"] == rule


def test_when_of_a_subsection_is_no_rule() -> None:
    settings = parse_settings(MARK + "[[[days]]]\nwhen = a, b\n")
    assert settings.middleware.sections["mark"]["days"] == {"when": ["a", "b"]}
