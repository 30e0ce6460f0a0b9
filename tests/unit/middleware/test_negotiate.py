"""What a client gets of what there is, by media type, language and version."""

from __future__ import annotations

from typing import Any

import pytest

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.negotiate import Negotiate
from pyrox.testing import ClientResponse, TestClient

MEDIA = ["application/json", "application/xml"]


def client_of(upstream: Any = None, **options: Any) -> TestClient:
    return TestClient((Negotiate, options), upstream=upstream)


def api() -> TestClient:
    return client_of(
        media_types=MEDIA,
        versions=["1", "2"],
        vendor="acme",
        version_header="API-Version",
        languages=["en", "de"],
        media_type_to="Accept",
        language_to="Accept-Language",
        version_to="X-Version",
        prefix={"2": "/v2", "de": "/de"},
        route={"2": "users_v2"},
    )


def choice_of(client: TestClient, answer: ClientResponse) -> tuple[str, ...]:
    assert answer.status == 200
    seen = client.upstream_requests[-1]
    return tuple(seen.headers[name] for name in ("x-version", "accept", "accept-language"))


@pytest.mark.parametrize(
    ("accept", "choice"),
    [
        (None, ("1", "application/json")),
        ("*/*", ("1", "application/json")),
        ("application/xml", ("1", "application/xml")),
        ("application/json;q=0.1, application/xml", ("1", "application/xml")),
        ("application/vnd.acme.v2+json", ("2", "application/json")),
        ("application/vnd.ACME.V2+XML", ("2", "application/xml")),
        ("application/vnd.acme+xml", ("1", "application/xml")),
        ("application/vnd.acme+json; version=2", ("2", "application/json")),
        ('application/vnd.acme+json; version="2"', ("2", "application/json")),
        ("application/vnd.acme.v9+json, */*;q=0.1", ("1", "application/json")),
        ("application/vnd.acme.v2+json;q=0.5, application/json;q=0.4", ("2", "application/json")),
    ],
)
def test_media_type_and_version(accept: str | None, choice: tuple[str, str]) -> None:
    client = api()
    answer = client.get("/", headers={} if accept is None else {"Accept": accept})
    assert choice_of(client, answer) == (*choice, "en")


def test_version_by_header_counts_before_the_media_type() -> None:
    client = api()
    headers = {"API-Version": "2", "Accept": "application/vnd.acme.v1+json"}
    assert choice_of(client, client.get("/", headers=headers))[0] == "2"


def test_choice_becomes_a_prefix_and_a_route() -> None:
    client = api()
    client.get("/users?a=b", headers={"API-Version": "2", "Accept-Language": "de-CH"})
    assert (client.upstream_requests[-1].target, client.upstream_requests[-1].route) == (
        "/v2/de/users?a=b",
        "users_v2",
    )
    client.get("/users", headers={"Accept-Language": "fr"})
    assert (client.upstream_requests[-1].target, client.upstream_requests[-1].route) == ("/users", None)


def test_route_by_media_type_or_language() -> None:
    client = client_of(
        media_types=MEDIA, languages=["en", "de"], route={"application/xml": "xml", "de": "german"}
    )
    client.get("/", headers={"Accept": "application/xml"})
    client.get("/", headers={"Accept": "application/xml", "Accept-Language": "de"})
    assert [seen.route for seen in client.upstream_requests] == ["xml", "german"]


def test_what_a_client_says_in_the_fields_of_the_choice_is_replaced() -> None:
    client = api()
    client.get("/", headers=[("X-Version", "2"), ("x-version", "3")])
    assert client.upstream_requests[-1].headers.get_all("x-version") == ["1"]


@pytest.mark.parametrize("path", ["/../admin", "/a/%2e%2e/b", "/..;/admin"])
def test_prefix_cannot_be_left_by_dots(path: str) -> None:
    client = api()
    assert client.get(path, headers={"API-Version": "2"}).status == 400
    assert client.upstream_requests == []


# --- refusals


def test_406_lists_what_there_is() -> None:
    client = client_of(media_types=MEDIA, versions=["1"], vendor="acme")
    answer = client.get("/", headers={"Accept": "image/png"})
    assert answer.status == 406
    assert answer.text == (
        "this is served as application/json, application/xml, application/vnd.acme+json, "
        "application/vnd.acme.v1+json, application/vnd.acme+json;version=1, application/vnd.acme+xml, "
        "application/vnd.acme.v1+xml, application/vnd.acme+xml;version=1\n"
    )
    assert answer.headers["vary"] == "Accept"
    assert client.upstream_requests == []


@pytest.mark.parametrize("headers", [[("API-Version", "9")], [("API-Version", "1"), ("API-Version", "2")]])
def test_version_that_there_is_not_is_406(headers: list[tuple[str, str]]) -> None:
    answer = api().get("/", headers=headers)
    assert (answer.status, answer.text) == (406, "there are the versions 1, 2\n")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "image/png", "image/svg+xml"]
)
def test_body_that_is_wanted(content_type: str) -> None:
    client = client_of(consumes=["application/json", "image/*"])
    assert client.post("/", body=b"x", headers={"Content-Type": content_type}).status == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "", "json", "image", "application/json-patch+json", None]
)
def test_body_that_is_not_wanted_is_415_with_what_would_do(content_type: str | None) -> None:
    client = client_of(consumes=["application/json", "image/*"])
    headers = {} if content_type is None else {"Content-Type": content_type}
    for body in (b"x", [b"x"]):
        answer = client.patch("/", body=body, headers=headers)
        assert (answer.status, answer.text) == (415, "a body may be application/json, image/*\n")
        assert answer.headers["accept"] == answer.headers["accept-patch"] == "application/json, image/*"
    assert "accept-patch" not in client.post("/", body=b"x", headers=headers).headers


def test_two_content_types_are_none_that_is_wanted() -> None:
    client = client_of(consumes=["application/json"])
    headers = [("Content-Type", "application/json"), ("Content-Type", "text/html")]
    assert client.post("/", body=b"x", headers=headers).status == 415


def test_request_without_a_body_needs_no_content_type() -> None:
    assert client_of(consumes=["application/json"]).get("/").status == 200
    assert client_of(consumes=["application/json"]).post("/", body=b"").status == 200


# --- Vary


def test_responses_and_errors_say_what_they_depend_on() -> None:
    everything = "Accept, Accept-Language, API-Version"
    assert api().get("/").headers["vary"] == everything

    def failing(request: Request) -> Response:
        raise HTTPError(404)

    client = client_of(failing, media_types=MEDIA, languages=["en"])
    assert client.get("/").headers["vary"] == "Accept, Accept-Language"
    assert client_of(Response(200), consumes=["text/plain"]).get("/").headers.get("vary") is None


def test_options_in_a_file() -> None:
    client = TestClient.from_config(
        """
        [middleware]
        stack = negotiate
        [[negotiate]]
        media_types = application/json,
        versions = 1, 2
        version_header = API-Version
        [[[prefix]]]
        2 = /v2
        [[[route]]]
        application/json = http://127.0.0.1:8000
        """,
    )
    client.get("/a", headers={"API-Version": "2"})
    assert client.upstream_requests[-1].target == "/v2/a"
    assert client.upstream_requests[-1].route == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "media_types: nothing is negotiated"),
        ({"media_types": ["json"]}, "media_types: 'json' is no media type"),
        ({"media_types": ["text/*"]}, "media_types: .* is no media type"),
        ({"media_types": ["text/html;level=1"]}, "media_types: .* has a parameter"),
        ({"consumes": ["*/*"]}, "consumes: .* is no media type"),
        ({"languages": ["de_CH"]}, "languages: 'de_CH' is no language tag"),
        ({"versions": ["1"]}, "versions: no client could ask for one"),
        ({"versions": ["a/b"], "version_header": "X"}, "versions: 'a/b' may have"),
        ({"languages": ["de"], "version_header": "X"}, "versions: vendor and version_header need"),
        ({"versions": ["1"], "vendor": "acme"}, "vendor: 'acme' needs media_types"),
        ({"versions": ["1"], "vendor": "a b", "media_types": MEDIA}, "vendor: 'a b' needs"),
        ({"languages": ["de"], "language_to": "X Y"}, "language_to: 'X Y' is no field"),
        ({"languages": ["de"], "language_to": "TE"}, "language_to: 'TE' is no field"),
        ({"languages": ["de"], "prefix": {"fr": "/fr"}}, "prefix: 'fr' is none of what there is: de"),
        ({"languages": ["de"], "prefix": {"de": "de"}}, "prefix: 'de' is no path"),
        ({"languages": ["de"], "prefix": {"de": "/a?b"}}, "prefix: '/a\\?b' is no path"),
        ({"languages": ["de"], "route": {"fr": "x"}}, "route: 'fr' is none of"),
        ({"languages": ["de"], "route": {"de": "http://a/b"}}, "route: 'http://a/b' has a path"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        client_of(**options)
