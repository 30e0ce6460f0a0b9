"""What a route does with its requests."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConnectError, NoHealthyServer, UpstreamClosed, UpstreamError
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, BodyFilter
from pyrox.routing.actions import make_action, weighted
from pyrox.settings import RouteSettings, WeightedCluster

PLAIN = parse_settings("[routes]\n[[a]]\nmatch = Path(`/`)\ncluster = http://a").routes.sections["a"]


def route(**options: Any) -> RouteSettings:
    return dataclasses.replace(PLAIN, **{"cluster": "", **options})


def unmirrored(app: App) -> App:
    raise AssertionError("no route here has a mirror")


class Upstream:
    """Answers or fails as ``behaviours`` says of a destination; ``seen`` is what it was asked."""

    def __init__(self, **behaviours: Exception | int) -> None:
        self._behaviours = behaviours
        self.seen: list[tuple[str | None, str]] = []
        self.closed: list[str] = []

    def __call__(self, request: Request) -> Response:
        destination = request.route or ""
        self.seen.append((destination, request.target))
        behaviour = self._behaviours.get(destination, 200)
        if isinstance(behaviour, Exception):
            raise behaviour
        response = Response(behaviour, destination)
        response.on_close(lambda: self.closed.append(destination))
        return response


def send(options: RouteSettings, upstream: Upstream, request: Request | None = None) -> Response:
    return make_action(options, upstream, unmirrored)(
        request or Request("GET", "/v1/a?b", {"Host": "A.test:8080"})
    )


def test_a_fixed_answer_asks_no_server() -> None:
    upstream = Upstream()
    answer = send(
        route(
            respond=410,
            respond_body='{"gone": true}',
            respond_headers=("Content-Type: application/json", "X-A: b"),
        ),
        upstream,
    )
    assert (answer.status, answer.body, answer.made_by) == (410, b'{"gone": true}', "pyrox")
    assert answer.headers.get_all("content-type") == ["application/json"]
    assert answer.headers["x-a"] == "b"
    assert upstream.seen == []


def test_each_fixed_answer_is_one_of_its_own() -> None:
    action = make_action(route(respond=200, respond_body="a"), Upstream(), unmirrored)
    action(Request("GET", "/")).headers["x"] = "1"
    assert "x" not in action(Request("GET", "/")).headers


def test_a_redirect_is_made_of_the_rewritten_path() -> None:
    options = route(
        redirect="https://{host}{target}", redirect_status=301, strip_prefix="/v1", add_prefix="/new"
    )
    answer = send(options, Upstream())
    assert (answer.status, answer.headers["location"], answer.made_by) == (
        301,
        "https://a.test/new/a?b",
        "pyrox",
    )
    asterisk = Request("OPTIONS", "*", {"Host": "a.test"})
    assert (
        send(route(redirect="https://{host}{path}"), Upstream(), asterisk).headers["location"]
        == "https://a.test/"
    )


def test_the_request_goes_to_the_cluster_rewritten_and_is_itself_again_afterwards() -> None:
    upstream = Upstream()
    request = Request("GET", "/v1/a?b")
    answer = send(route(cluster="users", strip_prefix="/v1"), upstream, request)
    assert answer.body == b"users"
    assert upstream.seen == [("users", "/a?b")]
    assert (request.route, request.target) == (None, "/v1/a?b")


def test_a_destination_of_a_middleware_wins_also_over_fallback_and_is_kept() -> None:
    upstream = Upstream(elsewhere=ConnectError("refused"))
    request = Request("GET", "/")
    request.route_to("elsewhere")
    with pytest.raises(ConnectError):
        send(route(cluster="users", fallback="spare"), upstream, request)
    assert upstream.seen == [("elsewhere", "/")]
    assert request.route == "elsewhere"


def test_weights_are_shares() -> None:
    clusters = [WeightedCluster("a", 3), WeightedCluster("b", 0), WeightedCluster("c", 1)]
    steps = [step / 1000 for step in range(1000)]
    pick = weighted(clusters, iter(steps).__next__)
    assert Counter(pick() for _ in steps) == {"a": 750, "c": 250}


def test_chance_keeps_to_the_weights() -> None:
    pick = weighted([WeightedCluster("stable", 95), WeightedCluster("canary", 5)])
    counted = Counter(pick() for _ in range(100_000))
    assert 0.04 < counted["canary"] / 100_000 < 0.06


def test_weighted_clusters_are_picked_for_each_request() -> None:
    upstream = Upstream()
    action = make_action(
        route(clusters=(WeightedCluster("a", 1), WeightedCluster("b", 1))), upstream, unmirrored
    )
    for _ in range(200):
        action(Request("GET", "/"))
    assert {destination for destination, _ in upstream.seen} == {"a", "b"}


WITH_FALLBACK = {"cluster": "users", "fallback": "spare", "fallback_on": ("error", "502", "503")}


@pytest.mark.parametrize("failure", [ConnectError("refused"), NoHealthyServer("none")])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_not_sent_goes_to_the_fallback_whatever_it_is(failure: UpstreamError, method: str) -> None:
    upstream = Upstream(users=failure)
    request = Request(method, "/", body=iter([b"body that is still to come"]))
    assert send(route(**WITH_FALLBACK), upstream, request).body == b"spare"
    assert upstream.seen == [("users", "/"), ("spare", "/")]
    assert request.route is None


@pytest.mark.parametrize("failure", [UpstreamClosed("reset"), 502])
@pytest.mark.parametrize(
    ("request_", "is_sent_again"),
    [
        (Request("GET", "/"), True),
        (Request("PUT", "/", body=b"whole"), True),
        (Request("POST", "/"), False),
        (Request("PUT", "/", body=iter([b"gone"])), False),
    ],
)
def test_what_was_sent_goes_to_the_fallback_only_when_it_may_be_repeated(
    failure: UpstreamError | int, request_: Request, is_sent_again: bool
) -> None:
    upstream = Upstream(users=failure)
    try:
        answer = send(route(**WITH_FALLBACK), upstream, request_)
    except UpstreamClosed:
        answer = None
    assert (len(upstream.seen) == 2) is is_sent_again
    assert (answer is not None and answer.body == b"spare") is is_sent_again
    if isinstance(failure, int):
        assert upstream.closed == (["users"] if is_sent_again else [])


def test_a_body_with_filters_is_not_sent_twice() -> None:
    upstream = Upstream(users=502)
    request = Request("PUT", "/", body=b"whole")
    request.filter_body(BodyFilter())
    assert send(route(**WITH_FALLBACK), upstream, request).status == 502


def test_an_upgrade_is_not_sent_twice() -> None:
    upstream = Upstream(users=502)
    request = Request("GET", "/")
    request.upgrade = "websocket"
    assert send(route(**WITH_FALLBACK), upstream, request).status == 502


@pytest.mark.parametrize(("fallback_on", "status"), [(("error",), 502), (("503",), 502), (("404",), 404)])
def test_only_what_is_listed_counts_as_failure(fallback_on: tuple[str, ...], status: int) -> None:
    upstream = Upstream(users=status)
    answer = send(route(cluster="users", fallback="spare", fallback_on=fallback_on), upstream)
    assert answer.body == (b"spare" if str(status) in fallback_on else b"users")
    broken = Upstream(users=ConnectError("refused"))
    if "error" not in fallback_on:
        with pytest.raises(ConnectError):
            send(route(cluster="users", fallback="spare", fallback_on=fallback_on), broken)


def test_a_failure_of_the_fallback_is_the_answer() -> None:
    upstream = Upstream(users=502, spare=UpstreamClosed("reset"))
    with pytest.raises(UpstreamClosed):
        send(route(**WITH_FALLBACK), upstream)


def test_a_failure_to_close_the_first_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    upstream = Upstream()

    def answer(request: Request) -> Response:
        response = upstream(request)
        if request.route == "users":
            response.status = 502
            response.on_close(lambda: 1 / 0)
        return response

    assert make_action(route(**WITH_FALLBACK), answer, unmirrored)(Request("GET", "/")).body == b"spare"
    assert "an on_close callback failed" in caplog.text


def test_the_mirror_stands_outside_of_the_fallback() -> None:
    upstream, seen = Upstream(users=502), []

    def mirror(app: App) -> App:
        def mirrored(request: Request) -> Response:
            seen.append((request.route, request.target))
            return app(request)

        return mirrored

    action = make_action(route(**WITH_FALLBACK, mirror="shadow", strip_prefix="/v1"), upstream, mirror)
    action(Request("GET", "/v1/a"))
    assert seen == [("users", "/a")]
    assert len(upstream.seen) == 2


@pytest.mark.parametrize(
    ("strip", "target", "script_name", "rest"),
    [
        ("/api", "/api/users?id=1", "/api", "/users?id=1"),
        ("/api", "/api", "/api", "/"),
        ("/api", "/api/", "/api", "/"),
        ("/api", "/api//x", "/api", "//x"),
        ("/a b", "/a%20b/x", "/a%20b", "/x"),
        ("/api", "/other", "", "/other"),
    ],
)
def test_application_is_told_which_prefix_was_taken_off(
    strip: str, target: str, script_name: str, rest: str
) -> None:
    seen: list[tuple[str, str]] = []

    def forward(request: Request) -> Response:
        seen.append((request.state["pyrox.script_name"], request.target))
        return Response(200)

    request = Request("GET", target)
    make_action(route(cluster="c", strip_prefix=strip), forward, unmirrored)(request)
    assert seen == [(script_name, rest)]
    assert (request.target, request.state) == (target, {})
