"""One call of a WSGI application: what it may say, and when."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from pyrox.upstreams.wsgi import Application, BadApplication, Call, Head, parse_head

OK = "200 OK"


def answering(result: Any, headers: list[tuple[str, str]] | None = None) -> Application:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(OK, headers or [])
        return result

    return application


def started(application: Application) -> Call:
    call = Call(application, {})
    call.start()
    return call


def body_of(call: Call) -> bytes:
    return call.whole if call.whole is not None else b"".join(call.pieces)


class Pages:
    """An iterable that knows whether it was closed."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)
        self.taken = 0
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece

    def close(self) -> None:
        self.is_closed = True


# --- the body


def test_list_is_the_whole_body() -> None:
    assert started(answering([b"a", b"", b"b"])).whole == b"ab"
    assert started(answering([])).whole == b""


def test_iterable_is_taken_up_to_its_first_piece_and_then_as_it_is_asked_for() -> None:
    pages = Pages(b"", b"one", b"", b"two")
    call = started(answering(pages))
    assert (call.whole, pages.taken) == (None, 2)
    assert list(call.pieces) == [b"one", b"two"]
    assert not pages.is_closed
    call.close()
    call.close()
    assert pages.is_closed


def test_iterable_without_a_piece_is_an_empty_body() -> None:
    assert started(answering(Pages(b"", b""))).whole == b""


def test_first_piece_that_is_all_of_the_announced_length_is_the_whole_body() -> None:
    pages = Pages(b"12345", b"67")
    call = started(answering(pages, [("Content-Length", "5")]))
    assert (call.whole, pages.taken) == (b"12345", 1)
    assert started(answering([b"123456"], [("Content-Length", "5")])).whole == b"12345"


def test_head_may_come_with_the_first_piece() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("201 Created", [])
        yield b"late"

    call = started(application)
    assert (call.head.status, b"".join(call.pieces)) == (201, b"late")


def test_what_is_written_comes_before_what_is_returned() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        write = start_response(OK, [])
        write(b"written, ")
        write(b"")
        write(b"twice, ")
        return [b"returned"]

    assert body_of(started(application)) == b"written, twice, returned"


def test_what_is_written_on_the_way_comes_in_its_place() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        write = start_response(OK, [])
        yield b"1"
        write(b"2")
        yield b"3"
        write(b"4")

    assert body_of(started(application)) == b"1234"


def test_much_that_is_written_does_not_stay_in_memory() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        write = start_response(OK, [])
        for _ in range(64):
            write(bytes(1 << 16))
        return []

    call = started(application)
    assert max(map(len, call.pieces)) <= 1 << 16
    call.close()


# --- start_response


def test_error_before_the_first_piece_replaces_the_head_and_what_was_written() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response(OK, [("X-A", "b")])(b"never seen")
        try:
            raise RuntimeError
        except RuntimeError:
            start_response("500 Oops", [], sys.exc_info())
        yield b"sorry"

    call = started(application)
    assert call.head == Head(500, "Oops", [], None)
    assert body_of(call) == b"sorry"


def test_error_after_the_first_piece_goes_on() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response(OK, [])
        yield b"begun"
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            start_response("500 Oops", [], sys.exc_info())

    call = started(application)
    with pytest.raises(RuntimeError, match="broken"):
        list(call.pieces)
    assert call.head.status == 200


def test_second_head_without_an_error_is_refused() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(OK, [])
        start_response(OK, [])
        return []

    with pytest.raises(BadApplication, match="again"):
        started(application)


@pytest.mark.parametrize("result", [[], [b"x"], Pages(b"x"), Pages()])
def test_answer_without_a_head_is_refused(result: Any) -> None:
    with pytest.raises(BadApplication, match="has not called start_response"):
        started(lambda environ, start_response: result)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, "not an iterable"),
        (5, "not an iterable"),
        ("text", "'t', which is not bytes"),
        (b"bytes", "98, which is not bytes"),
        (["text"], "not bytes"),
        ([bytearray(b"x")], "not bytes"),
    ],
)
def test_what_is_no_body_is_refused(result: Any, reason: str) -> None:
    with pytest.raises(BadApplication, match=reason):
        started(answering(result))


def test_text_cannot_be_written() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(OK, [])("text")
        return []

    with pytest.raises(BadApplication, match="not bytes"):
        started(application)


def test_iterable_is_closed_also_when_there_was_no_head() -> None:
    pages = Pages(b"x")
    call = Call(lambda environ, start_response: pages, {})
    with pytest.raises(BadApplication):
        call.start()
    call.close()
    assert pages.is_closed


# --- heads


def test_head_keeps_its_fields_in_order() -> None:
    head = parse_head("299 Fine by me", [("Set-Cookie", "a"), ("Content-Length", "7"), ("set-cookie", "b")])
    assert head == Head(
        299, "Fine by me", [(b"set-cookie", b"Set-Cookie", b"a"), (b"set-cookie", b"set-cookie", b"b")], 7
    )
    assert parse_head("200", []).reason == ""


@pytest.mark.parametrize(
    "status",
    ["", "OK", "20 OK", "2000 OK", "100 Continue", "101 Switching Protocols", "600 X", 200, b"200 OK"],
)
def test_status_that_is_not_a_final_one_is_refused(status: Any) -> None:
    with pytest.raises(BadApplication, match="status"):
        parse_head(status, [])


@pytest.mark.parametrize("status", ["200 OK\r\nX-Evil: 1", "200 O\nK", "200 \x00", "200 \u20ac"])
def test_status_that_cannot_be_sent_is_refused(status: str) -> None:
    with pytest.raises(BadApplication):
        parse_head(status, [])


@pytest.mark.parametrize(
    "field",
    [
        ("X-A", "b\r\nX-Evil: 1"),
        ("X-A", "b\n"),
        ("X-A\r\nX-Evil", "1"),
        ("X A", "b"),
        ("", "b"),
        ("X-A", "\u20ac"),
        ("X-A", 1),
        (b"X-A", "b"),
        ("X-A", "b", "c"),
        ["X-A", "b"],
        "X-A: b",
    ],
)
def test_field_that_cannot_be_sent_is_refused(field: Any) -> None:
    with pytest.raises(BadApplication):
        parse_head(OK, [field])


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "keep-alive", "Transfer-Encoding", "TE", "Trailer", "trailers", "Upgrade",
        "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
    ],
)  # fmt: skip
def test_field_of_the_connection_is_refused(name: str) -> None:
    with pytest.raises(BadApplication, match="belongs to the connection"):
        parse_head(OK, [(name, "x")])


@pytest.mark.parametrize("lengths", [["-1"], ["1x"], ["0x5"], ["1, 1"], [""], ["5", "5"], ["9" * 20]])
def test_length_that_is_not_one_number_is_refused(lengths: list[str]) -> None:
    with pytest.raises(BadApplication, match="Content-Length"):
        parse_head(OK, [("Content-Length", length) for length in lengths])


def test_headers_that_are_no_list_are_refused() -> None:
    with pytest.raises(BadApplication, match="tuple, not a list"):
        parse_head(OK, (("X-A", "b"),))  # type: ignore[arg-type]
