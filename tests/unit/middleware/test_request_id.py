"""One id for each request, known on both sides."""

from __future__ import annotations

import pytest

from pyrox.errors import HTTPError, UpstreamTimeout
from pyrox.http.message import Request, Response
from pyrox.middleware.request_id import RequestId
from pyrox.testing import TestClient


def test_id_is_on_the_request_the_response_and_in_the_state() -> None:
    client = TestClient(RequestId)
    answer = client.get("/")
    [seen] = client.upstream_requests
    request_id = answer.headers["x-request-id"]
    assert request_id
    assert seen.headers.get_all("x-request-id") == [request_id]
    assert seen.state["request_id"] == request_id


def test_ids_are_unique_within_and_between_workers() -> None:
    one, other = TestClient(RequestId), TestClient(RequestId)
    ids = [client.get("/").headers["x-request-id"] for client in (one, other) for _ in range(100)]
    assert len(set(ids)) == 200


def test_id_of_a_stranger_is_replaced() -> None:
    client = TestClient(RequestId)
    answer = client.get("/", headers={"X-Request-ID": "theirs"})
    assert answer.headers["x-request-id"] != "theirs"
    assert client.upstream_requests[-1].headers.get_all("x-request-id") == [answer.headers["x-request-id"]]


@pytest.mark.parametrize("sent", ["a", "7b1f-42", "Root=1-67891233-abcdef", "A._:/+=@~-9", "x" * 128])
def test_id_of_a_trusted_peer_is_kept(sent: str) -> None:
    client = TestClient(RequestId, trusted=True)
    assert client.get("/", headers={"X-Request-ID": sent}).headers["x-request-id"] == sent
    assert client.upstream_requests[-1].state["request_id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", 'a"b', "a,b", "a\\b", "caf\xe9", "a;b"])
def test_id_that_could_confuse_a_log_is_replaced_even_from_a_trusted_peer(sent: str) -> None:
    client = TestClient(RequestId, trusted=True)
    assert client.get("/", headers={"X-Request-ID": sent}).headers["x-request-id"] != sent


def test_two_ids_are_none() -> None:
    client = TestClient(RequestId, trusted=True)
    answer = client.get("/", headers=[("X-Request-ID", "a"), ("x-request-id", "b")])
    assert answer.headers["x-request-id"] not in ("a", "b")


def test_no_id_is_kept_without_trust() -> None:
    client = TestClient((RequestId, {"trust": False}), trusted=True)
    assert client.get("/", headers={"X-Request-ID": "a"}).headers["x-request-id"] != "a"


def test_header_is_an_option() -> None:
    answer = TestClient((RequestId, {"header": "X-Trace"})).get("/")
    assert "x-trace" in answer.headers
    assert "x-request-id" not in answer.headers


def test_id_of_upstream_s_own_is_replaced() -> None:
    client = TestClient(RequestId, upstream=Response(200, headers={"X-Request-ID": "mine"}))
    assert client.get("/").headers.get_all("x-request-id") == [
        client.upstream_requests[-1].state["request_id"]
    ]


@pytest.mark.parametrize("error", [HTTPError(403), UpstreamTimeout(), KeyError("a fault")])
def test_answer_to_an_error_carries_the_id(error: Exception) -> None:
    def failing(request: Request) -> Response:
        raise error

    client = TestClient(RequestId, upstream=failing, raise_exceptions=False)
    answer = client.get("/")
    assert answer.status >= 400
    assert answer.headers.get_all("x-request-id") == [client.upstream_requests[-1].state["request_id"]]


def test_request_made_by_hand_has_no_client_to_trust() -> None:
    request = Request("GET", "/", {"X-Request-ID": "a"})
    assert RequestId(lambda request: Response(200))(request).headers["x-request-id"] != "a"


def test_bad_header_name_is_refused_at_start_up() -> None:
    with pytest.raises(ValueError, match="header: invalid header name 'X Request'"):
        RequestId(lambda request: Response(200), header="X Request")


@pytest.mark.parametrize("name", ["Host", "Via", "Content-Length", "X-Forwarded-For", "x_real_ip"])
def test_header_with_another_meaning_is_refused_at_start_up(name: str) -> None:
    with pytest.raises(ValueError, match=f"header: {name} has another meaning"):
        RequestId(lambda request: Response(200), header=name)
