"""What probes and load balancers are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrox.departure import use_departure
from pyrox.http.message import Request, Response
from pyrox.middleware.base import Middleware
from pyrox.middleware.health import Health
from pyrox.testing import TestClient


class KeepOut(Middleware):
    """Refuses everybody."""

    def __call__(self, request: Request) -> Response:
        return Response(403)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probe_is_answered_and_not_sent_upstream(method: str) -> None:
    client = TestClient(Health, upstream=Response(500))
    answer = client.request(method, "/-/healthy")
    assert (answer.status, answer.body) == (200, b"ok\n" if method == "GET" else b"")
    assert answer.headers["cache-control"] == "no-store"
    assert client.upstream_requests == []


def test_proxy_that_is_about_to_end_says_so_and_passes_on_everything_else() -> None:
    client = TestClient(Health, upstream=Response(200, "upstream"))
    use_departure(lambda: True)
    try:
        answer = client.get("/-/healthy")
        assert (answer.status, answer.text) == (503, "draining\n")
        assert client.get("/").text == "upstream"
    finally:
        use_departure(None)
    assert client.get("/-/healthy").status == 200


def test_query_of_a_probe_does_not_matter() -> None:
    assert TestClient(Health).get("/-/healthy?now=1").text == "ok\n"


@pytest.mark.parametrize("target", ["/", "/-/healthy/", "/-/health", "/x/-/healthy", "/-/Healthy"])
def test_every_other_path_is_passed_on(target: str) -> None:
    client = TestClient(Health, upstream=Response(200, "upstream"))
    assert client.get(target).text == "upstream"
    assert client.upstream_requests[-1].target == target


def test_other_methods_are_refused() -> None:
    answer = TestClient(Health).post("/-/healthy", body="x")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_path_can_be_chosen() -> None:
    client = TestClient((Health, {"path": "/ping"}), upstream=Response(200, "upstream"))
    assert client.get("/ping").text == "ok\n"
    assert client.get("/-/healthy").text == "upstream"


def test_drain_file_turns_the_answer_while_it_exists(tmp_path: Path) -> None:
    drain_file = tmp_path / "drain"
    client = TestClient((Health, {"drain_file": drain_file}), upstream=Response(200, "upstream"))
    assert client.get("/-/healthy").status == 200
    drain_file.touch()
    assert (client.get("/-/healthy").status, client.get("/-/healthy").text) == (503, "draining\n")
    assert client.get("/").text == "upstream"
    drain_file.unlink()
    assert client.get("/-/healthy").status == 200


def test_outermost_it_answers_whatever_the_others_refuse() -> None:
    assert TestClient([Health, KeepOut]).get("/-/healthy").status == 200
    assert TestClient([KeepOut, Health]).get("/-/healthy").status == 403


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"path": "healthy"}, "path: 'healthy' is no path"),
        ({"path": "/healthy?x"}, "path: '/healthy[?]x' is no path"),
        ({"drain_file": Path("drain")}, "drain_file: 'drain' must begin with /"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TestClient((Health, options))


def test_it_is_built_in(tmp_path: Path) -> None:
    client = TestClient.from_config(
        f"""
        [middleware]
        stack = health, request_id
        [[health]]
        path = /ping
        drain_file = {tmp_path}/drain
        """
    )
    answer = client.get("/ping")
    assert (answer.text, answer.made_by) == ("ok\n", "health")
