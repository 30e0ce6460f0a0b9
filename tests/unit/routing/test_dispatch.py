"""A whole configuration with routes: stacks inside stacks, and what is said of faulty ones."""

from __future__ import annotations

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError, HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.stack import check_stack
from pyrox.preflight import check_middleware_in_child
from pyrox.testing import TestClient


class Mark(Middleware):
    """Adds its mark on the way in, and again on the way out."""

    def __init__(self, app: App, mark: str) -> None:
        super().__init__(app)
        self.mark = mark

    def __call__(self, request: Request) -> Response:
        request.headers.add("X-In", f"{self.mark} {request.target}")
        response = self.app(request)
        response.headers.add("X-Out", self.mark)
        return response


class Twice(Middleware):
    def __call__(self, request: Request) -> Response:
        self.app(request)
        return self.app(request)


class Refuse(Middleware):
    def __call__(self, request: Request) -> Response:
        raise HTTPError(418, "no coffee\n")


CONFIG = f"""
[middleware]
stack = outer,
[[outer]]
class = {__name__}.Mark
mark = outer
[[inner]]
class = {__name__}.Mark
mark = inner
[[twice]]
class = {__name__}.Twice
[[refuse]]
class = {__name__}.Refuse
[routes]
[[plain]]
match = PathPrefix(`/plain`)
cluster = http://a
[[stacked]]
match = PathPrefix(`/v1`)
cluster = http://a
strip_prefix = /v1
stack = inner, twice
[[refused]]
match = Path(`/refused`)
cluster = http://a
stack = refuse
[[fixed]]
match = Path(`/fixed`)
respond = 200
respond_body = fixed
stack = inner
"""


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> TestClient:
    monkeypatch.setitem(__import__("sys").modules, __name__, request.module)
    return TestClient.from_config(CONFIG)


def test_the_stack_of_a_route_is_inside_of_that_of_all(client: TestClient) -> None:
    answer = client.get("/v1/x")
    assert answer.headers.get_all("x-out") == ["inner", "outer"]
    assert client.upstream_requests[-1].headers.get_all("x-in") == ["outer /v1/x", "inner /v1/x"]
    assert client.get("/plain").headers.get_all("x-out") == ["outer"]
    assert client.get("/fixed").headers.get_all("x-out") == ["inner", "outer"]


def test_a_request_that_is_sent_twice_is_rewritten_the_same_way_twice(client: TestClient) -> None:
    client.get("/v1/v1/x")
    assert [(seen.route, seen.target) for seen in client.upstream_requests] == [("http://a", "/v1/x")] * 2


def test_who_answered_is_known(client: TestClient) -> None:
    assert client.get("/plain").made_by == "upstream"
    assert client.get("/fixed").made_by == "pyrox"
    assert (client.get("/refused").status, client.get("/refused").text) == (418, "no coffee\n")


def test_what_no_route_takes_is_404_without_a_default(client: TestClient) -> None:
    assert client.get("/nothing").status == 404
    assert client.get("/../v1/x").status == 400
    with_default = TestClient.from_config(f"[routing]\nupstream_hosts = http://b\n{CONFIG.strip()}")
    assert with_default.get("/nothing").status == 200
    assert with_default.upstream_requests[-1].route is None


FAULTY = """
[middleware]
stack = request_id,
[[broken]]
class = no.Such
[[odd]]
class = pyrox.middleware.headers.HeadersMiddleware
response_sett = X: y
[routes]
[[a]]
match = Path(`/a`)
respond = 200
stack = hedders, request_id, filters, headers, headers
[[b]]
match = Path(`/b`)
respond = 200
stack = broken, odd
[[c]]
match = Path(`/c`)
respond = 200
stack = broken, odd
"""


def test_faults_of_stacks_are_named_with_their_route_and_those_of_middleware_once() -> None:
    settings = parse_settings(FAULTY, "p.ini")
    for check in (check_stack, check_middleware_in_child):
        with pytest.raises(ConfigError) as caught:
            check(settings)
        assert caught.value.problems == [
            "p.ini: [routes] [[a]] stack: 'hedders' has no section [[hedders]] and is not built in; "
            "did you mean headers?",
            "p.ini: [routes] [[a]] stack: 'request_id' stands in [middleware] stack, "
            "which every request passes",
            "p.ini: [routes] [[a]] stack: 'filters' can only stand in [middleware] stack",
            "p.ini: [routes] [[a]] stack: 'headers' is listed twice",
            "p.ini: [middleware] [[broken]] class: cannot import no: ModuleNotFoundError: "
            "No module named 'no'; put the directory that it is in into [core] plugin_paths",
            "p.ini: [middleware] [[odd]] response_sett: unknown option; did you mean response_set?",
        ]
