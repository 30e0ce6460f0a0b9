"""The client that middleware ask services with, over real sockets: connections, limits, TLS."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from pyrox.middleware.service import ServiceClient, ServiceError
from tests.integration.kit import InThread, response, response_head, start_tls
from tests.support.authority import Authority
from tests.support.origin import Origin, close, expect_request, hang, reset, send, serve


def trouble_of(client: ServiceClient, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        client.get(**arguments)
    return caught.value.trouble, caught.value.detail


def test_answers_come_over_one_kept_connection() -> None:
    with Origin(serve(response(b"first", "Set-Cookie: a", "Set-Cookie: b"), response(b"second"))) as origin:
        client = ServiceClient(f"{origin.url}/base?kept=1")
        answer = client.get(headers=[("X-Name", "J\xf6rg"), ("X-Two", "1"), ("X-Two", "2")])
        assert (answer.status, answer.body, answer.headers.get_all("set-cookie")) == (
            200,
            b"first",
            ["a", "b"],
        )
        assert client.get("/below").body == b"second"
        first, second = origin.requests
        assert (first.method, first.target, second.target) == ("GET", "/base?kept=1", "/base/below")
        assert (first.get("host"), first.get("accept-encoding")) == (origin.address.encode(), b"identity")
        assert (first.get("x-name"), b", ".join(first.get_all("x-two"))) == (b"J\xf6rg", b"1, 2")
        assert len(origin.connections) == 1


def test_json_is_posted() -> None:
    with Origin(serve(response(b'{"a": 1}', status="201 Created"))) as origin:
        answer = ServiceClient(origin.url).post_json("/tokens", {"user": "ada"}, {"X-Key": "1"})
        assert (answer.status, answer.json()) == (201, {"a": 1})
        [request] = origin.requests
        assert (request.method, request.target, request.body) == ("POST", "/tokens", b'{"user": "ada"}')
        assert (request.get("content-type"), request.get("x-key")) == (b"application/json", b"1")


def test_redirects_are_answers_and_not_followed() -> None:
    with Origin(serve(response(b"", "Location: /elsewhere", status="302 Found"))) as origin:
        assert ServiceClient(origin.url).get().status == 302
        assert len(origin.requests) == 1


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Origin() as origin:
        assert ServiceClient(origin.url).get().body == b"ok"


def test_kept_connection_that_the_service_has_closed_is_replaced() -> None:
    once = [expect_request(), send(response(b"once")), close()]
    with Origin(once, serve(response(b"again"))) as origin:
        client = ServiceClient(origin.url)
        assert client.get().body == b"once"
        origin.wait_for_end(0)
        assert client.get().body == b"again"


def test_get_that_breaks_off_is_tried_once_more_and_a_post_is_not() -> None:
    broken = [expect_request(), reset()]
    with Origin(broken, serve(response(b"again"))) as origin:
        assert ServiceClient(origin.url).get().body == b"again"
    with Origin(broken, broken, serve(response(b"never"))) as origin:
        trouble, detail = trouble_of(ServiceClient(origin.url))
        assert (trouble, len(origin.requests)) == ("unreachable", 2)
        assert detail.startswith(f"{origin.url}: the connection broke off: ")
    with Origin(broken, serve(response(b"never"))) as origin:
        with pytest.raises(ServiceError, match="broke off"):
            ServiceClient(origin.url).post_json("/", {})
        assert len(origin.requests) == 1


def test_nobody_there_is_unreachable() -> None:
    with Origin() as origin:
        url = origin.url
        origin.stop_listening()
        assert trouble_of(ServiceClient(url)) == ("unreachable", f"{url}: no connection: Connection refused")


def test_name_that_is_not_known_is_unreachable() -> None:
    trouble, detail = trouble_of(ServiceClient("http://auth.invalid/check"))
    assert trouble == "unreachable"
    assert detail.startswith("http://auth.invalid: no connection: ")


def test_silence_is_a_timeout() -> None:
    with Origin([expect_request(), hang()]) as origin:
        trouble, detail = trouble_of(ServiceClient(origin.url, timeout=0.2))
        assert (trouble, detail) == ("timeout", f"{origin.url}: no answer within 0.2 s")


def test_answer_that_trickles_in_is_a_timeout_although_no_byte_is_late() -> None:
    ended = threading.Event()

    def trickle(connection: Any) -> None:
        connection.send(response_head("Content-Length: 1000000"))
        while not ended.wait(0.01):
            connection.send(b"x")

    with Origin([expect_request(), trickle]) as origin:
        call = InThread(trouble_of, ServiceClient(origin.url, timeout=0.5))
        try:
            assert call.result() == ("timeout", f"{origin.url}: no whole answer within 0.5 s")
        finally:
            ended.set()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_answer_that_is_too_long_is_not_read(framing: str) -> None:
    head = {
        "length": response_head("Content-Length: 1000"),
        "chunked": response_head("Transfer-Encoding: chunked") + b"3e8\r\n",
        "close": response_head("Connection: close"),
    }[framing]
    with Origin([expect_request(), send(head + bytes(1000)), hang()]) as origin:
        client = ServiceClient(origin.url, max_answer=999)
        assert trouble_of(client) == ("invalid", f"{origin.url}: its answer is longer than 999 bytes")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 200 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Odd: a\x01b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_invalid(answer: bytes) -> None:
    with Origin([expect_request(), send(answer), hang()]) as origin:
        trouble, detail = trouble_of(ServiceClient(origin.url, timeout=5.0))
        assert trouble == "invalid"
        assert detail.startswith(f"{origin.url}: ")
        assert len(detail) < 300


@pytest.mark.parametrize(
    "half",
    [
        response_head("Content-Length: 10") + b"half",
        response_head("Transfer-Encoding: chunked") + b"5\r\nhalf",
        response_head("Transfer-Encoding: chunked") + b"zz\r\nhalf",
        b"",
    ],
)
def test_half_an_answer_is_none(half: bytes) -> None:
    with Origin([expect_request(), send(half), close()]) as origin:
        assert trouble_of(ServiceClient(origin.url))[0] == "unreachable"


def test_connection_with_an_answer_left_on_it_is_not_used_again() -> None:
    long = [expect_request(), send(response(bytes(200_000))), hang()]
    with Origin(long, serve(response(b"short"))) as origin:
        client = ServiceClient(origin.url, max_answer=100)
        assert trouble_of(client)[0] == "invalid"
        assert client.get().body == b"short"


def test_who_needs_one_connection_more_waits_for_it() -> None:
    with Origin([expect_request(), hang(), send(response(b"first")), *serve(response(b"second"))]) as origin:
        client = ServiceClient(origin.url, connections=1, timeout=10.0)
        first = InThread(client.get)
        origin.wait_for_requests(1)
        second = InThread(client.get)
        origin.release()
        assert (first.result().body, second.result().body) == (b"first", b"second")
        assert len(origin.connections) == 1


def test_waiting_for_a_connection_ends_as_well() -> None:
    with Origin([expect_request(), hang(), send(response(b"first"))]) as origin:
        client = ServiceClient(origin.url, connections=1, timeout=10.0)
        hurried = ServiceClient(origin.url, connections=1, timeout=0.2)
        hurried._places = client._places
        first = InThread(client.get)
        origin.wait_for_requests(1)
        assert trouble_of(hurried)[0] == "timeout"
        origin.release()
        assert first.result().body == b"first"


def test_https_service_is_verified_by_the_authorities_of_ca_file(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    pair = authority.issue("server", names="DNS:localhost,IP:127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)

    def tls_or_end(connection: Any) -> None:
        try:
            start_tls(context)(connection)
        except OSError as error:  # the client did not like the certificate
            raise ConnectionResetError from error

    script = [tls_or_end, *serve(response(b"secret"))]
    with Origin(script) as origin:
        url = origin.url.replace("http:", "https:")
        client = ServiceClient(url, ca_file=authority.ca_file)
        assert [client.get().body, client.get().body] == [b"secret", b"secret"]
        assert len(origin.connections) == 1
        for untrusting in (ServiceClient(url), ServiceClient(url, ca_file=other.ca_file)):
            trouble, detail = trouble_of(untrusting)
            assert trouble == "unreachable"
            assert "TLS failed" in detail
            assert "certificate" in detail.lower()
