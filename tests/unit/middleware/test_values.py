"""Templates of field values: what they stand for, and what clients cannot make of them."""

from __future__ import annotations

import pytest

from pyrox.http.certificate import ClientCertificate
from pyrox.http.forwarding import ClientSide
from pyrox.http.message import Request, Response
from pyrox.middleware.identity import Identity, identify
from pyrox.middleware.values import compile_value, is_template
from pyrox.testing import TestClient


def request_of(*headers: tuple[str, str], target: str = "/a/b?c=d") -> Request:
    return Request("GET", target, headers, client=ClientSide("192.0.2.1", 4711))


def fill(text: str, request: Request | None = None, response: Response | None = None) -> bytes:
    return compile_value(text, response is not None)(request or request_of(), response)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{client.address}", b"192.0.2.1"),
        ("{peer.address}:{peer.port}", b"192.0.2.1:4711"),
        ("{request.method} {request.scheme}://{request.host}{request.target}", b"GET http://a.test/a/b?c=d"),
        ("{request.path}|{request.query}", b"/a/b|c=d"),
        ("HTTP/{request.version}", b"HTTP/1.1"),
        ("{request.header:X-Two}", b"1, 2"),
        ("{request.header:x-byte}", b"\xe9"),
        ("{request.cookie:id}", b"42"),
        ("{request.header:X-None|nobody}", b"nobody"),
        ("<{request.header:X-Two|nobody}>", b"<1, 2>"),
        ("{request.header:X-None}", b""),
        ("user={request.header:X-None}", b""),
        ("{request.header:X-None}{request.method}", b"GET"),
        ("{tls.version}", b""),
        ("{identity.name}", b""),
        ("{identity.claim:org}", b""),
        ("{request.id}", b""),
        ("{server}", b""),
    ],
)
def test_request(template: str, value: bytes) -> None:
    fields = [
        ("Host", "a.test"),
        ("X-Two", "1"),
        ("X-Two", "2"),
        ("X-Byte", "\xe9"),
        ("Cookie", "a=b; id=42"),
    ]
    assert fill(template, request_of(*fields)) == value


def test_response() -> None:
    response = Response(404, headers={"X-Kind": "a"})
    assert fill("{response.status}, {response.header:x-kind}", response=response) == b"404, a"
    assert compile_value("{response.status}", True)(request_of(), None) == b""  # an error has none yet


def test_identity() -> None:
    request = request_of()
    claims = {"org": "Acme", "groups": ["b", "a"], "admin": True, "level": 3, "deep": {"a": 1}}
    identify(request, Identity("J\u00fcrgen", "jwt_auth", frozenset("ba"), frozenset(("read",)), claims))
    assert fill("{identity.name}", request) == b"J%C3%BCrgen"
    assert fill("{identity.roles}/{identity.scopes}/{identity.verified_by}", request) == b"a,b/read/jwt_auth"
    names = ("org", "groups", "admin", "level", "deep", "none")
    assert fill(" ".join(f"{name}={{identity.claim:{name}}}" for name in names), request) == (
        b"org=Acme groups=b,a admin=true level=3 deep= none="
    )


def test_tls_and_certificate() -> None:
    certificate = ClientCertificate("CN=ada", "CN=ca", ("DNS:a", "DNS:b"), "0A", "5e88")
    template = (
        "{tls.version} {tls.cipher} {tls.subject} {tls.issuer} {tls.names} {tls.serial} {tls.fingerprint}"
    )
    from pyrox.middleware.headers import HeadersMiddleware

    client = TestClient(
        (HeadersMiddleware, {"request_set": [f"X-Tls: {template}"]}), tls=True, certificate=certificate
    )
    client.get("/")
    assert client.upstream_requests[0].headers["x-tls"] == (
        "TLSv1.3 TLS_AES_256_GCM_SHA384 CN=ada CN=ca DNS:a,DNS:b 0A 5e88"
    )


def test_time_is_in_seconds() -> None:
    assert float(fill("t={time}").removeprefix(b"t=")) > 1.7e9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ada\r\nX-Admin: yes", b"ada%0D%0AX-Admin: yes"),
        ("ada\x00", b"ada%00"),
        ("ada\n", b"ada%0A"),
        ("ada\t\x7f", b"ada%09%7F"),
        ("100%0A", b"100%250A"),
    ],
)
def test_control_characters_cannot_make_another_field(name: str, value: bytes) -> None:
    request = request_of()
    identify(request, Identity(name, "test", claims={"n": name}))
    assert fill("{identity.name}", request) == value
    assert fill("<{identity.claim:n}>", request) == b"<%b>" % value


def test_a_role_cannot_pass_for_two() -> None:
    request = request_of()
    identify(request, Identity("ada", "test", frozenset(("a,b", "c")), claims={"n": ["d,e"]}))
    assert fill("{identity.roles} {identity.claim:n}", request) == b"a%2Cb,c d%2Ce"


def test_what_a_middleware_left_as_the_id_cannot_make_another_field() -> None:
    request = request_of()
    request.state["request_id"] = "1\r\nX-Admin: yes \u20ac"
    assert fill("{request.id}", request) == b"1%0D%0AX-Admin: yes \xe2\x82\xac"


@pytest.mark.parametrize(
    "text",
    ["plain", '{"group":"default","endpoints":[{"url":"https://a.test/"}]}', "{", "}", "{}", "{A}", "{ a}"],
)
def test_text_with_other_braces_is_plain(text: str) -> None:
    assert not is_template(text)
    assert fill(text) == text.encode()


def test_placeholder_is_made_plain_text_by_doubled_braces() -> None:
    assert fill("{{client.address}}") == b"{client.address}"
    assert fill("{{a}} {client.address}") == b"{a} 192.0.2.1"


def test_what_a_client_sends_is_no_template() -> None:
    assert fill("{request.header:X}", request_of(("X", "{client.address}"))) == b"{client.address}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{client.adress}", r"\{client.adress\} is unknown; did you mean \{client.address\}\?"),
        ("{x}", r"\{x\} is unknown; there are client.address, .*write \{\{x\}\} for the text \{x\}"),
        ("{request.header}", "is unknown"),
        ("{request.header:}", "is unknown"),
        ("{request.header:A B}", "invalid header name"),
        ("{client.address:x}", "is unknown"),
        ("{response.status}", "is unknown"),
        ("{request.method|\n}\r", "control character"),
        ("{request.method}\u20ac", "outside latin-1"),
    ],
)
def test_mistake_is_found_at_start_up(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_value(text, has_response=False)
