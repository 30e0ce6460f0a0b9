"""What a WSGI application is told about a request."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pyrox.errors import ClientError
from pyrox.http.forwarding import ClientSide
from pyrox.http.message import Request
from pyrox.upstreams.wsgi_environ import SCRIPT_NAME, ErrorLog, body_file, make_environ


def environ_of(request: Request, length: int | None = 0) -> dict[str, Any]:
    return make_environ(request, body_file(b""), length, ErrorLog("wsgi:a:b"), multiprocess=False)


def request_to(target: str, *fields: tuple[str, str], method: str = "GET") -> Request:
    return Request(method, target, fields, client=ClientSide("192.0.2.1", 4711, tls=True))


def test_path_is_decoded_and_the_target_stands_as_it_came() -> None:
    environ = environ_of(request_to("/a%2Fb%C3%A9/%00;x=1?q=%20&r"))
    assert environ["PATH_INFO"] == b"/a/b\xc3\xa9/\x00;x=1".decode("latin-1")
    assert environ["QUERY_STRING"] == "q=%20&r"
    assert environ["REQUEST_URI"] == "/a%2Fb%C3%A9/%00;x=1?q=%20&r"
    assert environ["SCRIPT_NAME"] == ""


def test_script_name_is_what_was_taken_off() -> None:
    request = request_to("/x")
    request.state[SCRIPT_NAME] = "/a%20b"
    assert (environ_of(request)["SCRIPT_NAME"], environ_of(request)["PATH_INFO"]) == ("/a b", "/x")


def test_request_for_the_whole_server_has_no_path() -> None:
    assert environ_of(request_to("*", method="OPTIONS"))["PATH_INFO"] == ""


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("a.test", "a.test", "443"),
        ("a.test:8443", "a.test", "8443"),
        ("[::1]", "[::1]", "443"),
        ("[::1]:8443", "[::1]", "8443"),
        ("a.test:", "a.test", "443"),
        ("", "localhost", "443"),
    ],
)
def test_server_is_the_one_that_the_client_asked(host: str, name: str, port: str) -> None:
    environ = environ_of(request_to("/", *([("Host", host)] if host else [])))
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ.get("HTTP_HOST", "") == host
    assert environ["wsgi.url_scheme"] == "https"


def test_client_is_the_one_that_is_judged_by() -> None:
    assert environ_of(request_to("/"))["REMOTE_ADDR"] == "192.0.2.1"
    assert environ_of(Request("GET", "/", client=ClientSide("unix")))["REMOTE_ADDR"] == ""


def test_fields_become_variables_and_several_lines_one_value() -> None:
    environ = environ_of(
        request_to(
            "/", ("X-Two", "a"), ("x-two", "b"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("Content-Type", "x/y")
        )
    )
    assert environ["HTTP_X_TWO"] == "a, b"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["CONTENT_TYPE"] == "x/y"
    assert "HTTP_CONTENT_TYPE" not in environ


def test_field_with_an_underscore_cannot_stand_for_its_twin() -> None:
    """It may be allowed to pass; to an application both would be HTTP_X_FORWARDED_FOR."""
    environ = environ_of(request_to("/", ("X_Forwarded_For", "10.0.0.1"), ("X-Forwarded_For", "10.0.0.1")))
    assert "HTTP_X_FORWARDED_FOR" not in environ


@pytest.mark.parametrize("name", ["Proxy", "Transfer-Encoding", "Content-Length", "Connection", "TE"])
def test_field_of_the_connection_is_not_the_applications(name: str) -> None:
    assert f"HTTP_{name.upper().replace('-', '_')}" not in environ_of(request_to("/", (name, "x")))


def test_length_is_told_when_it_is_known() -> None:
    assert environ_of(request_to("/"), 5)["CONTENT_LENGTH"] == "5"
    environ = environ_of(request_to("/"), None)
    assert "CONTENT_LENGTH" not in environ
    assert environ["wsgi.input_terminated"] is True


# --- the body


def test_body_reads_like_a_file_however_it_was_cut() -> None:
    pieces = [b"on", b"e\ntwo", b"\nthr", b"ee\nfour"]
    assert body_file(iter(pieces)).read() == b"one\ntwo\nthree\nfour"
    body = body_file(iter(pieces))
    assert (body.readline(), body.read(2), body.readline(1)) == (b"one\n", b"tw", b"o")
    assert (body.readlines(), body.read(), body.read(1)) == ([b"\n", b"three\n", b"four"], b"", b"")
    assert list(body_file(iter(pieces))) == [b"one\n", b"two\n", b"three\n", b"four"]


def test_body_is_not_read_before_the_application_reads_it() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield bytes(9000)

    body = body_file(pieces())
    assert taken == []
    body.read(9000)
    assert len(taken) <= 3


def test_body_that_broke_off_never_ends_well() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise ClientError("closed in the middle of a body")

    body = body_file(pieces())
    for _ in range(3):
        with pytest.raises(ClientError):
            body.read(10)


# --- complaints


def test_complaints_are_lines_of_the_error_log(caplog: pytest.LogCaptureFixture) -> None:
    errors = ErrorLog("wsgi:a:b")
    errors.write("one\ntw")
    errors.writelines(["o\n", "three"])
    for _ in range(2):
        errors.flush()
    assert [record.getMessage() for record in caplog.records] == [
        "wsgi:a:b: one",
        "wsgi:a:b: two",
        "wsgi:a:b: three",
    ]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
