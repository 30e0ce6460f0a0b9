"""``forward_auth``: what the service is asked, what its answer does, and what clients cannot do about it."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pyrox.errors import HTTPError
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.middleware.forward_auth import ForwardAuth
from pyrox.middleware.identity import identity_of
from pyrox.middleware.service import ServiceAnswer, ServiceError
from pyrox.testing import TestClient

Fields = list[tuple[str, str]]


class Service:
    """Stands in for the client of the service; what it was asked is in ``asked``."""

    name = "http://auth:9000"

    def __init__(self, status: int = 200, headers: Fields | None = None, body: bytes = b"") -> None:
        self.answer: ServiceAnswer | ServiceError = ServiceAnswer(status, Headers(headers or []), body)
        self.asked: list[Fields] = []

    def get(self, headers: Iterable[tuple[str, str]]) -> ServiceAnswer:
        self.asked.append(list(headers))
        if isinstance(self.answer, ServiceError):
            raise self.answer
        return self.answer


def client_of(service: Service, *more: Any, upstream: Any = None, **options: Any) -> TestClient:
    def factory(app: Any) -> ForwardAuth:
        middleware = ForwardAuth(app, "http://auth:9000/verify", **options)
        middleware._service = service  # type: ignore[assignment]
        return middleware

    return TestClient([("forward_auth", factory), *more], upstream=upstream or Response(200, "welcome"))


def test_service_is_told_of_the_request_and_sees_only_the_fields_it_should() -> None:
    service = Service()
    client = client_of(service)
    headers = [("Host", "a.example"), ("Cookie", "s=1"), ("Authorization", "Bearer x"), ("X-Secret", "1")]
    assert client.put("/a%20b?c=d", headers=headers, body="body", client_address="192.0.2.7").status == 200
    assert sorted(service.asked[0]) == [
        ("Authorization", "Bearer x"),
        ("Cookie", "s=1"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Host", "a.example"),
        ("X-Forwarded-Method", "PUT"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Uri", "/a%20b?c=d"),
    ]
    assert client.upstream_requests[-1].body == b"body"


def test_service_sees_the_fields_that_options_name() -> None:
    service = Service()
    client_of(service, request_headers=["x-key", "X-Other"]).get("/", headers={"X-Key": "1", "Cookie": "a=b"})
    assert ("X-Key", "1") in service.asked[0]
    assert "Cookie" not in dict(service.asked[0])


def test_service_sees_all_but_what_is_about_the_body_or_the_answer() -> None:
    service = Service()
    client = client_of(service, request_headers=["*"])
    headers = {
        "X-Key": "1",
        "If-None-Match": "*",
        "Range": "bytes=0-1",
        "Expect": "100-continue",
        "Te": "trailers",
    }
    client.post("/", headers={**headers, "Content-Type": "text/plain"}, body="body")
    assert set(dict(service.asked[0])) == {
        "X-Forwarded-Method",
        "X-Forwarded-Uri",
        "X-Key",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
    }


@pytest.mark.parametrize("underscores", ["drop", "allow"])
def test_client_cannot_tell_the_service_about_itself(underscores: str) -> None:
    service = Service()
    client = client_of(service, request_headers=["*"])
    client._head_limits = TestClient.from_config(f"[http]\nunderscore_headers = {underscores}\n")._head_limits
    names = [
        "X-Forwarded-Method",
        "x-forwarded-uri",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
    ]
    claims = [(name.replace("-", mark), "forged") for name in names for mark in "-_."]
    client.get("/admin", headers=claims)
    assert "forged" not in dict(service.asked[0]).values()
    assert len(service.asked[0]) == 5


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_lets_the_request_pass(status: int) -> None:
    answer = client_of(Service(status, [("X-Internal", "1")], b"ok")).get("/")
    assert (answer.status, answer.text, answer.made_by) == (200, "welcome", "upstream")
    assert "x-internal" not in answer.headers


@pytest.mark.parametrize("status", [301, 302, 304, 400, 401, 403, 404, 429, 500, 503])
def test_any_other_answer_is_the_client_s(status: int) -> None:
    fields = [
        ("Location", "https://login.example/?rd=1"),
        ("WWW-Authenticate", "Bearer"),
        ("WWW-Authenticate", "Basic"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Content-Type", "text/html"),
        ("Content-Length", "8"),
        ("Connection", "close, X-Foo"),
        ("Transfer-Encoding", "chunked"),
    ]
    client = client_of(Service(status, fields, b"sign in!"))
    answer = client.get("/")
    assert (answer.status, answer.body) == (status, b"" if status == 304 else b"sign in!")
    assert answer.made_by == "forward_auth"
    assert answer.headers.items() == fields[:6]
    assert client.upstream_requests == []


def test_copied_fields_go_upstream_and_replace_what_the_client_sent() -> None:
    fields = [
        ("Remote-User", "ada"),
        ("Remote-Groups", "a"),
        ("Remote-Groups", "b"),
        ("Authorization", "Bearer t"),
    ]
    client = client_of(Service(200, fields), copy_headers=["remote-user", "Remote-Groups", "Authorization"])
    client.get("/", headers=[("Authorization", "Basic x"), ("Remote-User", "root"), ("X-Kept", "1")])
    headers = client.upstream_requests[-1].headers
    assert headers.get_all("remote-user") == ["ada"]
    assert headers.get_all("remote-groups") == ["a", "b"]
    assert headers.get_all("authorization") == ["Bearer t"]
    assert headers["x-kept"] == "1"


def test_field_that_the_service_does_not_send_is_removed_all_the_same() -> None:
    client = client_of(Service(), copy_headers=["Remote-User", "Authorization"])
    client.get("/", headers=[("Remote-User", "root"), ("Authorization", "Bearer x")])
    headers = client.upstream_requests[-1].headers
    assert "remote-user" not in headers
    assert "authorization" not in headers


@pytest.mark.parametrize("name", ["Remote-User", "remote-user", "REMOTE_USER", "Remote_User"])
@pytest.mark.parametrize("underscores", ["drop", "allow"])
def test_no_route_lets_a_client_send_a_copied_field(name: str, underscores: str) -> None:
    client = TestClient.from_config(
        textwrap.dedent(f"""
        [http]
        underscore_headers = {underscores}
        [middleware]
        stack =
        [[forward_auth]]
        url = http://127.0.0.1:1/
        copy_headers = Remote-User, Authorization
        [routes]
        [[guarded]]
        match = PathPrefix(`/guarded`)
        cluster = http://10.0.0.1:8000
        stack = forward_auth,
        [[open]]
        match = PathPrefix(`/`)
        cluster = http://10.0.0.1:8000
        """)
    )
    client.get("/", headers=[(name, "root"), (name, "root"), ("Authorization", "Bearer x")])
    assert "root" not in client.upstream_requests[-1].headers.values()
    assert client.upstream_requests[-1].headers["authorization"] == "Bearer x"  # is not the service's alone


def test_identity_is_what_the_service_says() -> None:
    seen = []

    def look(app: Any) -> Any:
        def middleware(request: Request) -> Response:
            seen.append(identity_of(request))
            return app(request)

        return middleware

    service = Service(200, [("Remote-User", "ada"), ("Remote-Groups", "a, b,,c")])
    client = client_of(service, look, user_from="Remote-User", roles_from="Remote-Groups")
    client.get("/", headers={"Remote-User": "root"})
    assert (seen[0].name, seen[0].roles, seen[0].verified_by) == ("ada", {"a", "b", "c"}, "forward_auth")
    service.answer = ServiceAnswer(200, Headers(), b"")
    client.get("/", headers={"Remote-User": "root"})
    assert seen[1] is None


def failing(error: Exception) -> Callable[[Request], Response]:
    def upstream(request: Request) -> Response:
        raise error

    return upstream


def test_response_fields_are_added_also_to_the_answer_to_an_error() -> None:
    service = Service(200, [("Set-Cookie", "session=renewed"), ("Set-Cookie", "b=2"), ("X-Other", "1")])
    options = {"response_headers": ["Set-Cookie"]}
    answer = client_of(service, upstream=Response(200, "", {"Set-Cookie": "own=1"}), **options).get("/")
    assert answer.headers.get_all("set-cookie") == ["own=1", "session=renewed", "b=2"]
    assert "x-other" not in answer.headers
    answer = client_of(service, upstream=failing(HTTPError(409)), **options).get("/")
    assert (answer.status, answer.headers.get_all("set-cookie")) == (409, ["session=renewed", "b=2"])


def test_responses_vary_by_the_credentials_that_the_service_sees() -> None:
    assert client_of(Service()).get("/").headers["vary"] == "Authorization, Cookie"
    assert client_of(Service(), request_headers=["*"]).get("/").headers["vary"] == "Authorization, Cookie"
    assert client_of(Service(), request_headers=["Cookie"]).get("/").headers["vary"] == "Cookie"
    assert "vary" not in client_of(Service(), request_headers=["X-Key"]).get("/").headers


@pytest.mark.parametrize(("trouble", "status"), [("unreachable", 503), ("timeout", 503), ("invalid", 502)])
@pytest.mark.parametrize("cache_ttl", [0.0, 10.0])
def test_service_in_trouble_lets_nobody_pass(trouble: Any, status: int, cache_ttl: float) -> None:
    service = Service()
    service.answer = ServiceError("http://auth:9000: trouble", trouble)
    client = client_of(service, cache_ttl=cache_ttl)
    answer = client.get("/")
    assert (answer.status, answer.made_by, client.upstream_requests) == (status, "forward_auth", [])
    assert "trouble" not in answer.text
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


@pytest.mark.parametrize("status", [600, 999, 199])
def test_status_that_is_none_is_a_502(status: int) -> None:
    assert client_of(Service(status)).get("/").status == 502


def test_answer_is_remembered_for_the_same_question_only() -> None:
    service = Service(200, [("Remote-User", "ada")])
    client = client_of(service, cache_ttl=60.0, copy_headers=["Remote-User"])
    for _ in range(3):
        assert client.get("/a", headers={"Cookie": "s=1"}).status == 200
        assert client.upstream_requests[-1].headers["remote-user"] == "ada"
    assert len(service.asked) == 1
    for number, ask in enumerate(
        (
            lambda: client.get("/a", headers={"Cookie": "s=2"}),
            lambda: client.get("/b", headers={"Cookie": "s=1"}),
            lambda: client.post("/a", headers={"Cookie": "s=1"}),
            lambda: client.get("/a", headers={"Cookie": "s=1"}, client_address="192.0.2.1"),
            lambda: client.get("/a", headers={"Cookie": "s=1", "Host": "b.example"}),
            lambda: client.get("/a"),
        ),
        2,
    ):
        ask()
        assert len(service.asked) == number


@pytest.mark.parametrize("control", ["no-store", "private, No-Cache"])
def test_answer_that_must_not_be_kept_is_not_and_neither_is_a_refusal(control: str) -> None:
    for service in (Service(200, [("Cache-Control", control)]), Service(401), Service(302)):
        client = client_of(service, cache_ttl=60.0)
        client.get("/")
        client.get("/")
        assert len(service.asked) == 2


def test_cookie_that_is_passed_on_is_one_clients_alone() -> None:
    for passed_on, asked in ((["Set-Cookie"], 2), ([], 1)):
        service = Service(200, [("Set-Cookie", "session=1")])
        client = client_of(service, cache_ttl=60.0, response_headers=passed_on)
        client.get("/")
        client.get("/")
        assert len(service.asked) == asked


def test_strangers_who_ask_the_same_at_once_get_sessions_of_their_own() -> None:
    both_ask = threading.Barrier(2, timeout=10)

    class Login(Service):
        def get(self, headers: Iterable[tuple[str, str]]) -> ServiceAnswer:
            number = both_ask.wait()
            return ServiceAnswer(302, Headers([("Set-Cookie", f"session={number}")]), b"")

    client = client_of(Login(), cache_ttl=60.0)
    with ThreadPoolExecutor(2) as clients:
        answers = list(clients.map(client.get, ["/", "/"]))
    assert {answer.headers["set-cookie"] for answer in answers} == {"session=0", "session=1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "auth:9000"}, "url: 'auth:9000' is no URL"),
        ({"request_headers": ["a b"]}, "request_headers: invalid header name 'a b'"),
        ({"request_headers": ["Connection"]}, "request_headers: Connection speaks of one connection"),
        ({"copy_headers": ["Content-Length"]}, "copy_headers: Content-Length speaks of one connection"),
        ({"copy_headers": ["X-Forwarded-For"]}, "copy_headers: X-Forwarded-For has another meaning"),
        ({"copy_headers": ["Cookie"]}, "copy_headers: Cookie has another meaning"),
        ({"copy_headers": ["Remote_User"]}, "copy_headers: Remote_User has another meaning"),
        ({"response_headers": [""]}, "response_headers: invalid header name ''"),
        ({"roles_from": "X-Roles"}, "roles_from: has no use without user_from"),
        ({"cache_ttl": -1.0}, "cache_ttl: -1.0 is no number of seconds"),
        ({"timeout": 0.0}, "timeout: 0 leaves no time"),
    ],
)
def test_options_that_cannot_work_are_errors_that_name_them(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TestClient((ForwardAuth, {"url": "http://auth:9000/", **options}))
