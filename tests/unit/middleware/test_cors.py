"""Which pages may read what: preflights, origins and the tricks that are played with them."""

from __future__ import annotations

from typing import Any

import pytest

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.cors import Cors
from pyrox.testing import ClientResponse, TestClient

PAGE = "https://app.test"


def client_of(upstream: Any = None, **options: Any) -> TestClient:
    options.setdefault("origins", [PAGE])
    return TestClient((Cors, options), upstream=upstream)


def preflight(
    client: TestClient, origin: str = PAGE, method: str = "PUT", *more: tuple[str, str]
) -> ClientResponse:
    fields = [("Origin", origin), ("Access-Control-Request-Method", method), *more]
    return client.options("/", headers=fields)


def ours(answer: ClientResponse) -> dict[str, str]:
    return {k.lower(): v for k, v in answer.headers.items() if k.lower().startswith("access-control-")}


def test_origin_that_is_longer_than_any_fits_no_pattern() -> None:
    """What patterns say of origins is remembered, and clients choose them."""
    client = client_of(origins=["https://*.app.test"])
    for length, is_allowed in ((100, True), (30_000, False)):
        answer = client.get("/", headers={"Origin": f"https://{'a' * length}.app.test"})
        assert ("access-control-allow-origin" in answer.headers) is is_allowed


# --- preflights


def test_preflight_is_answered_and_never_goes_upstream() -> None:
    client = client_of(methods=["PUT", "GET"], headers=["X-A", "Content-Type"], max_age=30)
    answer = preflight(client)
    assert (answer.status, answer.body, answer.made_by) == (204, b"", "Cors")
    assert ours(answer) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, HEAD, POST, PUT",
        "access-control-allow-headers": "X-A, Content-Type",
        "access-control-max-age": "30",
    }
    assert answer.headers["vary"] == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    assert client.upstream_requests == []


def test_preflight_is_answered_before_authentication_that_stands_inside() -> None:
    def authenticates(app: Any) -> Any:
        def middleware(request: Request) -> Response:
            raise HTTPError(401, headers={"WWW-Authenticate": "Basic"})

        return middleware

    client = TestClient([(Cors, {"origins": [PAGE]}), authenticates])
    assert preflight(client, method="GET").status == 204
    refused = client.get("/", headers={"Origin": PAGE})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, PAGE)


def test_preflight_of_a_stranger_is_refused() -> None:
    client = client_of()
    answer = preflight(client, "https://evil.test")
    assert (answer.status, ours(answer), answer.headers["vary"]) == (403, {}, "Origin")
    assert client.upstream_requests == []


def test_options_request_that_is_no_preflight_goes_upstream() -> None:
    client = client_of()
    client.options("/", headers={"Origin": PAGE})
    client.options("/", headers={"Access-Control-Request-Method": "PUT"})
    client.get("/", headers={"Origin": PAGE, "Access-Control-Request-Method": "PUT"})
    assert len(client.upstream_requests) == 3


def test_private_network_is_allowed_only_when_asked_for_and_configured() -> None:
    field = ("Access-Control-Request-Private-Network", "true")
    name = "access-control-allow-private-network"
    assert ours(preflight(client_of(private_network=True), PAGE, "PUT", field))[name] == "true"
    assert name not in ours(preflight(client_of(private_network=True)))
    assert name not in ours(preflight(client_of(), PAGE, "PUT", field))


def test_anybody_may_use_anything_without_credentials() -> None:
    client = client_of(origins=["*"], methods=["*"], headers=["*"], expose=["*"], max_age=0)
    answer = preflight(client, "https://stranger.test")
    assert ours(answer) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "*",
        "access-control-allow-headers": "*, Authorization",
        "access-control-max-age": "0",
    }
    answer = client.get("/")
    assert ours(answer) == {"access-control-allow-origin": "*", "access-control-expose-headers": "*"}
    assert "vary" not in answer.headers


# --- responses


def test_response_says_who_may_read_it() -> None:
    client = client_of(credentials=True, expose=["X-Total", "X-Page"])
    answer = client.get("/", headers={"Origin": PAGE})
    assert ours(answer) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "X-Total, X-Page",
    }
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", [None, "https://evil.test"])
def test_response_to_anybody_else_says_nothing_but_that_it_depends(origin: str | None) -> None:
    upstream = Response(200, "hi", {"Vary": "Cookie"})
    answer = client_of(upstream).get("/", headers={} if origin is None else {"Origin": origin})
    assert (answer.status, answer.text, ours(answer)) == (200, "hi", {})
    assert answer.headers.get_all("vary") == ["Cookie, Origin"]


def test_what_upstream_says_of_it_is_replaced() -> None:
    upstream = Response(
        200,
        headers=[
            ("Access-Control-Allow-Origin", "*"),
            ("access-control-allow-origin", "https://evil.test"),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Expose-Headers", "X-Secret"),
        ],
    )
    client = client_of(upstream)
    answer = client.get("/", headers={"Origin": PAGE})
    assert answer.headers.get_all("access-control-allow-origin") == [PAGE]
    assert ours(answer) == {"access-control-allow-origin": PAGE}
    assert ours(client.get("/", headers={"Origin": "https://evil.test"})) == {}


def test_answer_to_an_error_may_be_read_too() -> None:
    def failing(request: Request) -> Response:
        raise HTTPError(429, headers={"Retry-After": "3", "Vary": "Cookie"})

    answer = client_of(failing, credentials=True).get("/", headers={"Origin": PAGE})
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers.get_all("vary") == ["Origin, Cookie"]


# --- origins


def is_let_in(entry: str, origin: str) -> bool:
    answer = client_of(origins=[entry]).get("/", headers={"Origin": origin})
    return answer.headers.get("access-control-allow-origin") == origin


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("https://a.test", "https://a.test"),
        ("HTTPS://A.test", "https://a.test"),
        ("https://a.test:443", "https://a.test"),
        ("http://a.test:80", "http://a.test"),
        ("https://a.test:8443", "https://a.test:8443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("https://*.a.test", "https://b.a.test"),
        ("https://*.a.test", "https://c.b.a.test"),
        ("https://*.a.test:8443", "https://b.a.test:8443"),
        (r"re:https://pr-[0-9]+\.a\.test", "https://pr-17.a.test"),
    ],
)
def test_origin_is_let_in(entry: str, origin: str) -> None:
    assert is_let_in(entry, origin)


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("https://a.test", "null"),
        ("https://a.test", "http://a.test"),
        ("https://a.test", "https://a.test.evil"),
        ("https://a.test", "https://a.test."),
        ("https://a.test", "https://a.test:444"),
        ("https://a.test", "https://a.test/"),
        ("https://a.test", "https://a.test https://evil.test"),
        ("https://a.test", "https://a.test, https://evil.test"),
        ("https://a.test", "HTTPS://A.TEST"),
        ("https://a.test", "//a.test"),
        ("https://a.test:8443", "https://a.test"),
        ("https://*.a.test", "https://a.test"),
        ("https://*.a.test", "https://.a.test"),
        ("https://*.a.test", "https://evila.test"),
        ("https://*.a.test", "https://evil.test/.a.test"),
        ("https://*.a.test", "https://evil.test?.a.test"),
        ("https://*.a.test", "https://evil.test#.a.test"),
        ("https://*.a.test", "https://user@b.a.test"),
        ("https://*.a.test", "https://evil.test:443.a.test"),
        ("https://*.a.test", "https://evil.test\\.a.test"),
        ("https://*.a.test", "https://b.a.test.evil"),
        ("https://*.a.test", "https://b.a.test:8443"),
        ("https://*.a.test", "http://b.a.test"),
        ("https://*.a.test", "https://b..a.test"),
        ("https://*.a.test", "null"),
        ("re:.*", "null"),
        (r"re:https://a\.test", "https://a.test.evil"),
        (r"re:https://a\.test", "https://evil.test/https://a.test"),
        (r"re:https://a\.test|https://b\.test", "https://b.test.evil"),
        (r"re:https://[a-z]+\.a\.test", "https://evil.test/x.a.test"),
        (r"re:https://.*\.a\.test", "https://evil.test/.a.test"),
        (r"re:https://.*\.a\.test", "https://x@evil.test:80.a.test"),
    ],
)
def test_origin_is_kept_out(entry: str, origin: str) -> None:
    assert not is_let_in(entry, origin)


def test_two_origins_are_none() -> None:
    answer = client_of().get("/", headers=[("Origin", PAGE), ("Origin", "https://evil.test")])
    assert ours(answer) == {}


# --- options


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"origins": []}, "origins: names nobody"),
        ({"origins": ["*"], "credentials": True}, r"origins: \* cannot be combined with credentials"),
        ({"methods": ["*"], "credentials": True}, r"methods: \* cannot be combined"),
        ({"headers": ["*"], "credentials": True}, r"headers: \* cannot be combined"),
        ({"expose": ["*"], "credentials": True}, r"expose: \* cannot be combined"),
        (
            {"origins": ["re:.*"], "credentials": True},
            "origins: with credentials, no pattern may let in anybody",
        ),
        ({"origins": ["re:https://.+"], "credentials": True}, "as https://pyrox-stranger.invalid"),
        ({"origins": ["re:http://.+"], "credentials": True}, "as http://192.0.2.1:8080"),
        ({"origins": ["*", PAGE]}, r"origins: \* stands for all others"),
        ({"origins": ["null"]}, "origins: 'null' is no origin"),
        ({"origins": ["https://a.test/"]}, "is no origin"),
        ({"origins": ["https://a.test/path"]}, "is no origin"),
        ({"origins": ["a.test"]}, "is no origin"),
        ({"origins": ["https://*"]}, "is no origin"),
        ({"origins": ["https://*.*.a.test"]}, "is no origin"),
        ({"origins": ["https://a*.test"]}, "is no origin"),
        ({"origins": ["*://a.test"]}, "is no origin"),
        ({"origins": ["re:("]}, r"origins: .* is no regular expression"),
        ({"methods": ["PUT DELETE"]}, "methods: 'PUT DELETE' is no name"),
        ({"methods": ["PUT", "patch"]}, "methods: 'patch' is another method than PATCH"),
        ({"headers": ["X-A\r\n"]}, "headers: .* is no name"),
        ({"max_age": -1}, "max_age: -1 is less than 0"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        client_of(**options)
