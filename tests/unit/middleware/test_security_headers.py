"""The fields that browsers obey, and those that tell too much."""

from __future__ import annotations

from typing import Any

import pytest

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.security_headers import SecurityHeaders
from pyrox.testing import TestClient


def client_of(*headers: tuple[str, str], tls: bool = False, **options: Any) -> TestClient:
    return TestClient((SecurityHeaders, options), upstream=Response(200, "hi", headers), tls=tls)


DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}


def test_defaults() -> None:
    headers = dict(client_of().get("/").headers.items())
    assert {name: headers[name] for name in DEFAULTS} == DEFAULTS
    assert not HSTS.keys() & headers.keys()


def test_transport_security_only_over_tls() -> None:
    own = ("Strict-Transport-Security", "max-age=5")
    assert client_of(tls=True).get("/").headers.items()[-1] == next(iter(HSTS.items()))
    assert "strict-transport-security" not in client_of(own).get("/").headers
    assert client_of(own, tls=True).get("/").headers.get_all("strict-transport-security") == ["max-age=5"]


def test_transport_security_of_tls_that_ends_at_a_trusted_proxy() -> None:
    client = TestClient(SecurityHeaders, trusted=True)
    assert "strict-transport-security" in client.get("/", headers={"X-Forwarded-Proto": "https"}).headers
    spoofed = TestClient(SecurityHeaders).get("/", headers={"X-Forwarded-Proto": "https"})
    assert "strict-transport-security" not in spoofed.headers


def test_what_upstream_has_set_stays_unless_it_is_to_be_replaced() -> None:
    own = ("content-security-policy", "default-src 'self'")
    assert client_of(own).get("/").headers.get_all("content-security-policy") == ["default-src 'self'"]
    replaced = client_of(own, own, replace=True).get("/").headers
    assert replaced.get_all("content-security-policy") == ["frame-ancestors 'none'"]


def test_what_names_programs_is_removed() -> None:
    headers = client_of(("Server", "nginx/1.2"), ("x-powered-by", "PHP/5"), ("X-Keep", "1")).get("/").headers
    assert "server" not in headers and "x-powered-by" not in headers
    assert headers["x-keep"] == "1"
    assert client_of(("Server", "nginx"), remove=[]).get("/").headers["server"] == "nginx"


def test_answer_to_an_error_has_them_too() -> None:
    def failing(request: Request) -> Response:
        raise HTTPError(401, headers={"WWW-Authenticate": "Basic"})

    headers = TestClient(SecurityHeaders, upstream=failing, tls=True).get("/").headers
    assert {**DEFAULTS, **HSTS, "WWW-Authenticate": "Basic"}.items() <= dict(headers.items()).items()


def test_options_in_a_file() -> None:
    client = TestClient.from_config(
        """
        [middleware]
        stack = security_headers
        [[security_headers]]
        hsts = none
        frame_options = SAMEORIGIN
        content_security_policy = "default-src 'self'; img-src *"
        cross_origin_opener = none
        cross_origin_embedder = credentialless
        cross_domain_policies =
        remove = X-Version, Via
        """,
        tls=True,
        upstream=Response(200, headers={"Server": "x", "X-Version": "1"}),
    )
    headers = client.get("/").headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["content-security-policy"] == "default-src 'self'; img-src *"
    assert headers["cross-origin-embedder-policy"] == "credentialless"
    assert headers["server"] == "x"
    gone = ("strict-transport-security", "cross-origin-opener-policy", "x-permitted-cross-domain-policies")
    assert not [name for name in (*gone, "x-version", "via") if name in headers]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"hsts": "includeSubDomains"}, "hsts: 'includeSubDomains' says no max-age"),
        ({"hsts": "max-age=1year"}, "says no max-age"),
        ({"hsts": "max-age=31536000; preload"}, "hsts: browsers preload only with includeSubDomains"),
        ({"hsts": "max-age=300; includeSubDomains; preload"}, "hsts: browsers preload only"),
        ({"hsts": "max-age=300\r\nX: y"}, "hsts: "),
        ({"referrer_policy": "a\nb"}, "referrer_policy: control character"),
        ({"remove": ["X Y"]}, "remove: invalid header name"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        client_of(**options)
