"""Setting, adding and removing fields on both sides."""

from __future__ import annotations

import pytest

from pyrox.errors import HTTPError
from pyrox.http.message import Request, Response
from pyrox.middleware.headers import HeadersMiddleware
from pyrox.testing import TestClient


def client_of(*response_headers: tuple[str, str], **options: list[str]) -> TestClient:
    return TestClient((HeadersMiddleware, options), upstream=Response(200, headers=response_headers))


def test_request_side() -> None:
    client = client_of(
        request_set=["X-Env: prod"], request_add=["X-Tag: b", "X-Tag:c"], request_remove=["Cookie"]
    )
    client.get("/", headers=[("x-env", "dev"), ("X-Env", "test"), ("X-Tag", "a"), ("cookie", "id=1")])
    seen = client.upstream_requests[-1].headers
    assert seen.get_all("x-env") == ["prod"]
    assert seen.get_all("x-tag") == ["a", "b", "c"]
    assert "cookie" not in seen


def test_response_side() -> None:
    client = client_of(
        ("Server", "nginx"),
        ("Set-Cookie", "a=1"),
        ("X-Powered-By", "PHP"),
        response_set=["Server: none"],
        response_add=["Set-Cookie: b=2"],
        response_remove=["x-powered-by"],
    )
    answer = client.get("/")
    assert answer.headers.get_all("server") == ["none"]
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert "x-powered-by" not in answer.headers


def test_one_side_leaves_the_other_alone() -> None:
    client = client_of(("X-Both", "upstream"), request_set=["X-Both: proxy"])
    assert client.get("/", headers={"X-Both": "client"}).headers["x-both"] == "upstream"


def test_fields_that_nothing_touches_are_not_copied() -> None:
    # The engine keeps the encoded form of what a message came with as long as its list still begins with it.
    response = Response(200, headers=[("Server", "nginx")])
    fields = response.headers.fields
    middleware = HeadersMiddleware(lambda request: response, response_set=["X-A: b"], response_remove=["X-C"])
    assert middleware(Request("GET", "/")).headers.fields is fields
    assert fields[-1] == (b"x-a", b"X-A", b"b")


def test_same_edits_for_every_request() -> None:
    client = client_of(response_add=["X-Tag: a"])
    assert [client.get("/").headers.get_all("x-tag") for _ in range(3)] == [["a"]] * 3


def test_answer_of_an_inner_layer_is_edited_and_stays_its_own() -> None:
    client = TestClient(
        [(HeadersMiddleware, {"response_set": ["X-A: 1"]}), lambda app: lambda _: Response(204)]
    )
    answer = client.get("/")
    assert answer.headers["x-a"] == "1"
    assert answer.made_by == "<lambda>"


def test_answer_to_an_error_gets_what_is_set_and_added() -> None:
    def failing(request: Request) -> Response:
        raise HTTPError(401, headers={"WWW-Authenticate": "Basic"})

    options = {"response_set": ["X-A: 1"], "response_add": ["Link: </a>"], "response_remove": ["X-B"]}
    headers = TestClient((HeadersMiddleware, options), upstream=failing).get("/").headers
    assert (headers["x-a"], headers["link"], headers["www-authenticate"]) == ("1", "</a>", "Basic")


def test_placeholders_are_filled_in_on_both_sides() -> None:
    client = client_of(
        ("X-Kind", "a"),
        request_set=["X-Client: {client.address}"],
        response_add=["X-Seen: {request.method} {request.header:X-Client} {response.header:X-Kind}"],
    )
    answer = client.get("/", headers=[("X-Client", "spoofed"), ("x-client", "twice")])
    assert client.upstream_requests[-1].headers.get_all("x-client") == ["127.0.0.1"]
    assert answer.headers["x-seen"] == "GET 127.0.0.1 a"


def test_line_that_comes_out_empty_is_left_out_and_what_the_client_sent_too() -> None:
    client = client_of(
        request_set=["X-User: id={identity.name}"], request_add=["X-Role: {request.cookie:role}"]
    )
    client.get("/", headers={"X-User": "id=root", "X-Role": "mine"})
    seen = client.upstream_requests[-1].headers
    assert "x-user" not in seen
    assert seen.get_all("x-role") == ["mine"]


@pytest.mark.parametrize("spelling", ["X-User", "x-user"])
def test_field_that_tells_who_the_client_is_cannot_be_sent_by_it_on_any_route(spelling: str) -> None:
    client = TestClient.from_config(
        """
        [routing]
        default_cluster = all
        [clusters]
        [[all]]
        servers = http://127.0.0.1:8000
        [routes]
        [[inside]]
        match = PathPrefix(`/inside`)
        cluster = all
        stack = headers,
        [http]
        underscore_headers = allow
        [middleware]
        [[headers]]
        request_set = X-User: {identity.name}, X-Cert: {tls.subject}, X-Free: {client.address}
        """
    )
    sent = [(spelling, "root"), ("X_User", "root"), ("X-Cert", "CN=root"), ("X-Free", "mine")]
    for target in ("/outside", "/inside"):
        client.get(target, headers=sent)
        seen = client.upstream_requests[-1].headers
        assert not [name for name in ("x-user", "x_user", "x-cert") if name in seen]
        assert seen["x-free"] == ("mine" if target == "/outside" else "127.0.0.1")


def test_placeholders_speak_of_the_message_as_it_was_before_the_edits() -> None:
    client = client_of(request_set=["Host: inner.test", "X-Asked: {request.host}"], request_remove=["Cookie"])
    client.get("/", headers={"Host": "outer.test", "Cookie": "a=b"})
    assert client.upstream_requests[-1].headers["x-asked"] == "outer.test"
    assert client.upstream_requests[-1].host == "inner.test"


def test_renamed_lines_keep_their_place_and_replace_those_of_the_new_name() -> None:
    client = client_of(request_rename=["X-Old: X-New"])
    client.get("/", headers=[("x-new", "spoofed"), ("X-Old", "1"), ("X-Mid", "m"), ("x-old", "2")])
    seen = [(name, value) for name, value in client.upstream_requests[-1].headers.items() if "-" in name[:2]]
    assert seen[:3] == [("X-New", "1"), ("X-Mid", "m"), ("X-New", "2")]
    client.get("/", headers={"X-New": "own"})
    assert client.upstream_requests[-1].headers.get_all("x-new") == ["own"]


def test_names_can_be_swapped() -> None:
    client = client_of(("X-A", "a"), ("X-B", "b"), response_rename=["X-A: X-B", "X-B: X-A"])
    headers = client.get("/").headers
    assert (headers.get_all("x-a"), headers.get_all("x-b")) == (["b"], ["a"])


def test_answer_to_an_error_has_no_response_to_speak_of() -> None:
    def failing(request: Request) -> Response:
        raise HTTPError(404)

    options = {"response_set": ["X-A: {client.address}", "X-B: {response.header:X}"]}
    headers = TestClient((HeadersMiddleware, options), upstream=failing).get("/").headers
    assert headers["x-a"] == "127.0.0.1"
    assert "x-b" not in headers


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"response_set": ["Cache-Control"]}, "response_set: 'Cache-Control' is not 'Name: value'"),
        ({"request_add": ["X Y: a"]}, "request_add: invalid header name 'X Y'"),
        ({"request_set": [": a"]}, "request_set: invalid header name ''"),
        ({"response_add": ["X: a\nb"]}, "response_add: control character"),
        ({"response_set": ["X: \u20ac"]}, "response_set: .* outside latin-1"),
        (
            {"request_remove": ["Content-Length"]},
            "request_remove: Content-Length speaks of one connection only",
        ),
        ({"response_set": ["connection: close"]}, "response_set: connection speaks of one connection only"),
        ({"request_set": ["X: {client.adress}"]}, "request_set: .*did you mean {client.address}"),
        ({"request_add": ["X: {response.status}"]}, "request_add: {response.status} is unknown"),
        ({"request_rename": ["X"]}, "request_rename: 'X' is not 'Old-Name: New-Name'"),
        ({"response_rename": ["X: TE"]}, "response_rename: TE speaks of one connection only"),
        ({"response_rename": ["Upgrade: X"]}, "response_rename: Upgrade speaks of one connection only"),
        ({"response_rename": ["X: Y Z"]}, "response_rename: invalid header name"),
        ({"response_set": ["X: a", "x: b"]}, "response_set: x is set and removed, or set twice"),
        ({"request_set": ["X: a"], "request_remove": ["x"]}, "request_set: x is set and removed"),
    ],
)
def test_bad_option_is_refused_at_start_up(options: dict[str, list[str]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        client_of(**options)


def test_value_with_commas_is_quoted_in_an_ini_file() -> None:
    client = TestClient.from_config(
        """
        [middleware]
        stack = headers
        [[headers]]
        response_set = "Cache-Control: no-cache, private", X-Frame-Options: DENY
        """
    )
    headers = client.get("/").headers
    assert headers["cache-control"] == "no-cache, private"
    assert headers["x-frame-options"] == "DENY"
