"""Pages for errors: which, for whom, and what cannot be smuggled into them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyrox.errors import HTTPError, NoHealthyServer
from pyrox.http.message import Request, Response
from pyrox.middleware.error_pages import ErrorPages
from pyrox.middleware.request_id import RequestId
from pyrox.testing import TestClient

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


def refuses(status: int = 403, detail: str = "", headers: Any = ()) -> Any:
    def upstream(request: Request) -> Response:
        raise HTTPError(status, detail, headers)

    return upstream


def client_of(answer: Any, /, **options: Any) -> TestClient:
    return TestClient((ErrorPages, options), upstream=answer)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "404.html").write_text("<h1>{reason}</h1><p>{detail}</p><i title='{request_id}'>{other}</i>")
    (tmp_path / "all.json").write_text('{"code": {status}, "why": "{detail}", "id": "{request_id}"}')
    (tmp_path / "all.txt").write_text("{status} - {detail}")
    return tmp_path


# --- which form


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("image/png", "text/plain; charset=utf-8"),
        (BROWSER["Accept"], "text/html; charset=utf-8"),
        ("text/html;q=0.5, application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
    ],
)
def test_built_in_page_in_the_form_that_is_accepted(accept: str | None, content_type: str) -> None:
    answer = client_of(refuses(detail="not yours")).get("/", headers={"Accept": accept} if accept else {})
    assert (answer.status, answer.headers["content-type"]) == (403, content_type)
    assert "not yours" in answer.text
    assert answer.headers["vary"] == "Accept"


def test_own_pages_by_status_and_by_form(files: Path) -> None:
    pages = {"404": [files / "404.html"], "500-599": [files / "all.txt"], "default": [files / "all.json"]}
    client = TestClient([RequestId, (ErrorPages, {"pages": pages})], upstream=refuses(404, "gone"))
    identifier = client.get("/").headers["x-request-id"]
    assert identifier
    answer = client.get("/", headers=BROWSER)
    expected = f"<h1>Not Found</h1><p>gone</p><i title='{answer.headers['x-request-id']}'>{{other}}</i>"
    assert answer.text == expected
    answer = client.get("/", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"code": 404, "why": "gone", "id": answer.headers["x-request-id"]}
    assert client_of(refuses(502, "x"), pages=pages).get("/").text == "502 - x"
    assert client_of(refuses(400, "x"), pages=pages).get("/").text == "x\n"


def test_errors_of_pyrox_itself_get_a_page_and_keep_their_fields() -> None:
    def down(request: Request) -> Response:
        raise NoHealthyServer("10.0.0.1 is down")

    answer = client_of(down).get("/", headers=BROWSER)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["proxy-status"] == "pyrox; error=destination_unavailable"
    assert "<h1>503 Service Unavailable</h1>" in answer.text
    assert "10.0.0.1" not in answer.text
    answer = client_of(refuses(401, headers={"WWW-Authenticate": "Basic"})).get("/", headers=BROWSER)
    assert answer.headers["www-authenticate"] == "Basic"


def test_mistake_in_a_middleware_gets_a_page_that_tells_nothing() -> None:
    def broken(request: Request) -> Response:
        raise KeyError("secret")

    client = TestClient(ErrorPages, upstream=broken, raise_exceptions=False)
    answer = client.get("/", headers=BROWSER)
    assert "<h1>500 Internal Server Error</h1>" in answer.text
    assert "secret" not in answer.text


def test_form_is_what_the_client_asked_for_though_an_inner_middleware_changed_it() -> None:
    def narrows(app: Any) -> Any:
        def middleware(request: Request) -> Response:
            request.headers["Accept"] = "application/json"
            return app(request)

        return middleware

    answer = TestClient([ErrorPages, narrows], upstream=refuses()).get("/", headers=BROWSER)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


# --- what is left alone


def test_what_a_middleware_wrote_itself_is_left_alone_unless_it_is_empty() -> None:
    def answers(body: bytes) -> Any:
        return lambda app: lambda request: Response(403, body, {"X-A": "1"})

    assert TestClient([ErrorPages, answers(b"mine")]).get("/", headers=BROWSER).body == b"mine"
    empty = TestClient([ErrorPages, answers(b"")]).get("/", headers=BROWSER)
    assert "<h1>403 Forbidden</h1>" in empty.text
    assert (empty.headers["x-a"], empty.headers["vary"]) == ("1", "Accept")
    finished = refuses(403, "<b>mine</b>", {"Content-Type": "text/html"})
    assert client_of(finished).get("/").text == "<b>mine</b>"


@pytest.mark.parametrize("body", [b"", b"theirs", [b"the", b"irs"]])
def test_answer_of_upstream_is_replaced_only_when_its_status_is_listed(body: Any) -> None:
    about = {"ETag": '"a"', "Content-Encoding": "gzip", "Content-Type": "image/png", "Retry-After": "9"}
    upstream = Response(503, body, {**about, "Last-Modified": "x", "Vary": "Cookie"})
    assert client_of(upstream).get("/").headers["etag"] == '"a"'
    assert client_of(upstream, upstream=["500-502"]).get("/").headers["etag"] == '"a"'
    answer = client_of(upstream, upstream=["404", "503"]).get("/", headers=BROWSER)
    assert (answer.status, answer.made_by) == (503, "upstream")
    assert "<h1>503 Service Unavailable</h1>" in answer.text
    assert answer.headers["retry-after"] == "9"
    assert answer.headers["vary"] == "Cookie, Accept"
    assert answer.headers.get_all("content-type") == ["text/html; charset=utf-8"]
    assert not [name for name in ("etag", "content-encoding", "last-modified") if name in answer.headers]


def test_answers_that_are_no_errors_are_left_alone() -> None:
    answer = client_of(Response(200, b""), upstream=["400-599"]).get("/", headers=BROWSER)
    assert (answer.body, "vary" in answer.headers) == (b"", False)


def test_head_has_no_body() -> None:
    assert client_of(refuses()).head("/", headers=BROWSER).body == b""


def test_page_of_an_inner_stack_counts(files: Path) -> None:
    inner = (ErrorPages, {"pages": {"default": [files / "all.txt"]}})
    assert TestClient([ErrorPages, inner], upstream=refuses(403, "x")).get("/").text == "403 - x"


# --- injection

NASTY = "</p><script>alert(1)</script> \" ' & {status} \\ \n"


def test_detail_is_escaped_as_html(files: Path) -> None:
    for options in ({}, {"pages": {"403": [files / "404.html"]}}):
        text = client_of(refuses(403, NASTY), **options).get("/", headers=BROWSER).text
        assert "<script" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &quot; &#x27; &amp; {status}" in text


def test_attribute_cannot_be_left(files: Path) -> None:
    def stateful(app: Any) -> Any:
        def middleware(request: Request) -> Response:
            request.state["request_id"] = "' onmouseover='alert(1)"
            return app(request)

        return middleware

    pages = {"default": [files / "404.html"]}
    text = (
        TestClient([stateful, (ErrorPages, {"pages": pages})], upstream=refuses())
        .get("/", headers=BROWSER)
        .text
    )
    assert "title='&#x27; onmouseover=&#x27;alert(1)'" in text


def test_detail_is_escaped_as_json(files: Path) -> None:
    client = client_of(refuses(403, NASTY), pages={"default": [files / "all.json"]})
    answer = client.get("/", headers={"Accept": "application/json"})
    assert json.loads(answer.body) == {"code": 403, "why": NASTY.strip(), "id": ""}


def test_file_is_read_at_the_start(files: Path) -> None:
    client = client_of(refuses(403, "x"), pages={"default": [files / "all.txt"]})
    (files / "all.txt").unlink()
    assert client.get("/").text == "403 - x"


# --- options


def test_options_in_a_file(files: Path) -> None:
    client = TestClient.from_config(
        f"""
        [middleware]
        stack = error_pages
        [[error_pages]]
        upstream = 404, 500-599
        [[[pages]]]
        404 = {files}/404.html, {files}/all.txt
        default = {files}/all.json
        """,
        upstream=Response(404, "theirs"),
    )
    assert client.get("/").text == "404 - "


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        ({"404": ["404.html"]}, "pages: '404.html' must begin with /"),
        ({"404": ["/nowhere/404.html"]}, "pages: '/nowhere/404.html' cannot be read: .*No such file"),
        ({"404": ["/etc/404.php"]}, "must end in .html, .json or .txt"),
        ({"404": ["{files}/all.txt", "{files}/all.txt"]}, "is the second .txt file"),
        ({"404": ["{files}/bad.json"]}, "is no JSON when it is filled in"),
        ({"404": ["{files}/latin.html"]}, "cannot be read"),
        ({"200": []}, "pages: '200' is no status of an error"),
        ({"4xx": []}, "pages: '4xx' is no status"),
        ({"500-400": []}, "pages: '500-400' is no status"),
        ({"400-499": [], "404": []}, "pages: 404 stands in more than one line"),
    ],
)
def test_bad_pages_are_refused_at_start_up(files: Path, pages: dict[str, list[str]], reason: str) -> None:
    (files / "bad.json").write_text('{"code": {status}, "why": {detail}}')
    (files / "latin.html").write_bytes(b"\xe9")
    found = {key: [Path(p.replace("{files}", str(files))) for p in paths] for key, paths in pages.items()}
    with pytest.raises(ValueError, match=reason):
        client_of(Response(200), pages=found)


def test_bad_status_of_upstream_is_refused_at_start_up() -> None:
    with pytest.raises(ValueError, match="upstream: '600' is no status of an error"):
        client_of(Response(200), upstream=["600"])
