"""Filters as they were written for Pyrox 0.4 that read or change bodies, in the running proxy."""

from __future__ import annotations

import json

from tests.compat.kit import chunked, request_line_and, scene
from tests.integration.kit import get, post, response, response_head
from tests.support.wire import Client

MIB = 1 << 20


# --- rewriter.py: bodies of both sides ---

REWRITER = {
    "rewriter": "rewriter.BodyRewriter",
    "rewriter.public": "www.example.com",
    "rewriter.internal": "app-7.internal",
}


def test_rewriter_changes_both_bodies() -> None:
    answer = response(b'{"next": "http://app-7.internal/2"}', "Date: today", "Content-Type: text/json")
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        got = stage.ask(post("/a", b"see www.example.com and www.example.com"))
        assert got.body == b'{"next": "http://www.example.com/2"}'
        [sent] = stage.origin.requests
        assert sent.body == b"see app-7.internal and app-7.internal"
        assert stage.sent_up.startswith(
            request_line_and("Transfer-Encoding: chunked", target="/a", method="POST")
        )
        assert stage.sent_down.startswith(
            b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Type: text/json\r\nVia: 1.1 pyrox\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        stage.ask_plain()


def test_rewriter_sees_a_text_that_the_network_has_cut() -> None:
    head = response_head("Transfer-Encoding: chunked")
    answer = head + chunked(b"app-", b"7.internal app-7", b".inter", b"national app-7.int")
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        request = get("/a", "Transfer-Encoding: chunked", method="PUT")
        got = stage.ask(request + chunked(*(bytes([byte]) for byte in b"to www.example.com, www.")))
        assert got.body == b"www.example.com app-7.international app-7.int"
        assert stage.origin.requests[0].body == b"to app-7.internal, www."
        stage.ask_plain()


def test_rewriter_passes_long_bodies_in_time() -> None:
    text = b"www.example.com, " * (4 * MIB // 17)
    answer = response(text.replace(b"www.example.com", b"app-7.internal"))
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        assert stage.ask(post("/a", text)).body == text
        assert stage.origin.requests[0].body == text.replace(b"www.example.com", b"app-7.internal")
        stage.ask_plain()


def test_rewriter_for_a_client_of_http_10() -> None:
    answer = response(b"app-7.internal")
    with scene("rewriter", "rewriter", REWRITER, answers={"/a": answer}) as stage:
        got = stage.ask(get("/a", "Connection: keep-alive", version="1.0"))
        assert (got.body, got.framing, got.ended) == (b"www.example.com", "close", "boundary")


def test_rewriter_of_no_body_at_all() -> None:
    answers = {
        "/head": response_head("Content-Length: 100"),
        "/204": response_head(status="204 No Content"),
        "/304": response_head('ETag: "1"', status="304 Not Modified"),
        "/empty": response(b""),
    }
    expected = {"/head": 200, "/204": 204, "/304": 304, "/empty": 200}
    with scene("rewriter", "rewriter", REWRITER, answers=answers) as stage:
        for target, status in expected.items():
            method = "HEAD" if target == "/head" else "GET"
            got = stage.ask(get(target, method=method), method)
            assert (got.status, got.body) == (status, b"")
            stage.ask_plain()


# --- request_id.py: local_data along the whole exchange ---


def test_request_id_comes_back_with_the_response() -> None:
    aliases = {"give": "request_id.GiveId", "give_back": "request_id.ReturnId"}
    with scene("give", "give_back", aliases) as stage:
        for number in (1, 2):
            expected = b"req-%d" % number
            answer = stage.ask(get("/a", "X-Request-Id: mine"))
            assert stage.origin.requests[-1].get_all("x-request-id") == [expected]
            assert answer.get_all("x-request-id") == [expected] * 2
            assert answer.body == b"plain\n-- " + expected
        answer = stage.ask(post("/a", b"body", "Expect: nothing"))
        assert answer.status == 200 and answer.body.endswith(b"-- req-3")
        with Client(stage.proxy.address) as other:
            assert other.ask(get("/")).body == b"plain\n-- req-4"


# --- json_check.py: a body held back ---

CHECK = {"check": "json_check.JsonCheck"}


def test_json_goes_upstream_in_one_piece_when_it_is_whole() -> None:
    with scene("check", "", CHECK) as stage:
        request = get("/a", "Content-Type: application/json", "Transfer-Encoding: chunked", method="PUT")
        assert stage.ask(request + chunked(b'{"a":', b" [1,", b" 2]}")).body == b"plain"
        assert stage.sent_up.endswith(b"chunked\r\n\r\n" + chunked(b'{"a": [1, 2]}'))
        stage.ask_plain()


def test_invalid_json_is_answered_and_nothing_goes_upstream() -> None:
    text = b'{"a": [1, 2}'
    with scene("check", "", CHECK) as stage:
        for cut in (1, 3, 1000):
            pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
            request = get("/a", "Content-Type: application/json", "Transfer-Encoding: chunked", method="PUT")
            answer = stage.ask(request + chunked(*pieces))
            assert answer.status == 400
            assert answer.body.startswith(b"no JSON: Expecting ',' delimiter")
        assert stage.origin.connections == []
        stage.ask_plain()
        assert stage.ask(post("/a", b"not JSON, not checked")).status == 200
        assert stage.origin.requests[-1].body == b"not JSON, not checked"


def test_json_of_a_megabyte_is_held_back_whole() -> None:
    text = json.dumps(["x" * 1000] * 1000).encode()
    with scene("check", "", CHECK) as stage:
        answer = stage.ask(post("/a", text[:-1], "Content-Type: application/json"))
        assert answer.status == 400
        assert stage.origin.connections == []
        assert stage.ask(post("/a", text, "Content-Type: application/json")).status == 200
        assert stage.origin.requests[-1].body == text
        stage.ask_plain()
