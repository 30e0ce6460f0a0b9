"""Every option of [timeouts], made short; a time-out comes up to half a second late, never early."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import (
    CHUNKED_HEAD,
    get,
    pattern,
    post,
    record_of,
    response,
    response_head,
    tell,
    via,
)
from tests.support.config import Config
from tests.support.origin import (
    OK,
    Origin,
    expect_bytes,
    expect_close,
    expect_head,
    expect_request,
    hang,
    send,
    send_chunk,
    serve,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

LATE = 2.0  # how much later than it should a time-out may come on a busy machine

CONFIG: Config = {
    "routing": {"upstream_hosts": "http://127.0.0.1:1"},
    "logging": {"access_log_format": "json"},
    "middleware": {"stack": "by_field", "by_field": {"class": "routing.RouteByField"}},
    "timeouts": {
        "client_head": 0.25,
        "client_body": 0.75,
        "client_idle": 0.5,
        "client_write": 0.25,
        "client_half_closed": 0.75,
        "upstream_connect": 0.25,
        "upstream_tls": 0.5,
        "upstream_first_byte": 0.5,
        "upstream_read": 0.5,
        "upstream_idle": 0.25,
        "tunnel_timeout": 0.5,
        "linger": 0.25,
    },
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(CONFIG, python_path=[PLUGINS]) as proxy:
        with Client(proxy.address) as client:  # what a worker takes to come up is on nobody's watch
            client.ask(get("/", "Max-Forwards: 0", method="OPTIONS"))
        yield proxy


class Stopwatch:
    """``with Stopwatch(0.5):`` what happens inside takes that long, neither less nor much more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            took = time.monotonic() - self._started
            assert self.seconds - 0.01 <= took < self.seconds + LATE


def test_client_head_that_does_not_become_complete_is_a_408(client: Client) -> None:
    with Stopwatch(0.25):
        client.send(b"GET / HTTP/1.1\r\nHost")
        answer = client.read_response()
    assert (answer.status, answer.get("connection")) == (408, b"close")


def test_client_head_that_grows_slowly_is_a_408_all_the_same(client: Client) -> None:
    with Stopwatch(0.25):
        client.send(b"G")
        for letter in b"ET / HTTP/1.1\r\nX: " + b"x" * 100:
            client.send(bytes([letter]))
            if not client.is_silent(0.05):
                break
        assert client.read_response().status == 408


def test_client_body_that_stalls_is_a_408(proxy: Proxy, client: Client, target: str) -> None:
    with Origin([expect_head(), expect_close()]) as origin:
        with Stopwatch(0.75):
            client.send(get(target, via(origin), "Content-Length: 10", method="POST") + b"half")
            answer = client.read_response()
        assert (answer.status, answer.get("connection")) == (408, b"close")
        assert origin.wait_for_end().received.endswith(b"half")


def test_client_body_that_comes_slowly_but_steadily_is_no_time_out(client: Client, target: str) -> None:
    """It takes longer than client_body and upstream_first_byte: each waits for something else."""
    with Origin(serve(OK)) as origin:
        with Stopwatch(1.4):
            client.send(get(target, via(origin), "Content-Length: 7", method="POST"))
            for _ in range(7):
                assert client.is_silent(0.2)
                client.send(b"x")
            assert client.read_response().status == 200


def test_large_upload_that_takes_longer_than_upstream_first_byte_is_no_time_out(
    client: Client, target: str
) -> None:
    size = 7 * 300_000
    with Origin(serve(OK)) as origin:
        client.send(get(target, via(origin), f"Content-Length: {size}", method="POST"))
        for _ in range(7):
            assert client.is_silent(0.2)
            client.send(bytes(300_000))
        assert client.read_response().status == 200


def test_client_idle_between_requests_is_let_go_without_a_word(client: Client, target: str) -> None:
    with Origin(serve(OK)) as origin:
        assert client.ask(get(target, via(origin))).status == 200
        with Stopwatch(0.4):
            assert client.read_until_closed() == (b"", "eof")


def test_nothing_is_kept_for_a_client_that_was_idle_for_too_long(client: Client, target: str) -> None:
    """It has read its last answer long ago, so there is nothing that a reset could destroy."""
    with Origin(serve(OK)) as origin:
        assert client.ask(get(target, via(origin))).status == 200
        assert client.read_until_closed() == (b"", "eof")
        with pytest.raises(OSError):
            for _ in range(2):  # the first one is told that nobody is there any more
                client.send(b"x")


def test_client_that_never_sends_anything_is_let_go_without_a_word(client: Client) -> None:
    with Stopwatch(0.4):
        assert client.read_until_closed() == (b"", "eof")


def test_client_that_takes_nothing_of_its_response_is_cut_off(
    proxy: Proxy, client: Client, target: str
) -> None:
    with Origin(
        [expect_request(), send(response_head("Content-Length: 100000000")), send_forever()]
    ) as origin:
        client.send(get(target, via(origin)))
        assert origin.wait_for_end().ended == "reset"
        record = record_of(proxy, target)
        assert (record["status"], record["error"]) == (200, "connection_write_timeout")
        assert not client.read_response().is_complete


def test_client_that_half_closed_waits_no_longer_than_client_half_closed(
    proxy: Proxy, client: Client, target: str
) -> None:
    chunk = send_chunk(b"on and on")

    def speak_on(connection) -> None:
        while True:
            chunk(connection)
            time.sleep(0.1)

    with Origin([expect_request(), send(CHUNKED_HEAD), speak_on]) as origin:
        with Stopwatch(0.75):
            client.send(get(target, via(origin)))
            client.half_close()
            assert not client.read_response().is_complete
        assert origin.wait_for_end().ended == "reset"
    assert record_of(proxy, target)["status"] == 499


def test_connect_that_is_not_answered_is_a_504(client: Client, target: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        filling = [socket.socket() for _ in range(2)]
        for sock in filling:  # the kernel answers no more SYNs when the backlog is full
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        with Stopwatch(0.25):
            answer = client.ask(post(target, b"pay", f"X-Origin: http://127.0.0.1:{port}"))
        for sock in filling:
            sock.close()
    assert (answer.status, answer.get("proxy-status")) == (504, b"pyrox; error=connection_timeout")


def test_tls_handshake_that_is_not_answered_is_a_504(client: Client, target: str) -> None:
    with Origin([hang()]) as origin:
        with Stopwatch(0.5):
            answer = client.ask(get(target, f"X-Origin: https://{origin.address}"))
        assert (answer.status, answer.get("proxy-status")) == (504, b"pyrox; error=connection_timeout")
        origin.release()


def test_first_byte_that_does_not_come_is_a_504(proxy: Proxy, client: Client, target: str) -> None:
    with Origin([expect_request(), expect_close()]) as origin:
        with Stopwatch(0.5):
            answer = client.ask(get(target, via(origin)))
        assert (answer.status, answer.get("proxy-status")) == (504, b"pyrox; error=http_response_timeout")
        origin.wait_for_end()
        assert len(origin.requests) == 1
    assert record_of(proxy, target)["error"] == "http_response_timeout"


def test_first_byte_after_an_informational_response_gets_its_full_time(client: Client, target: str) -> None:
    informed = threading.Event()

    def pause(connection) -> None:
        assert not informed.wait(0.3)

    early = send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    with Origin([expect_request(), pause, early, pause, early, pause, early, pause, send(OK)]) as origin:
        assert client.ask(get(target, via(origin))).status == 200


def test_response_head_that_does_not_become_complete_is_a_504(client: Client, target: str) -> None:
    with Origin([expect_request(), send(b"HTTP/1.1 200 OK\r\nConte"), expect_close()]) as origin:
        with Stopwatch(0.5):
            assert client.ask(get(target, via(origin))).status == 504
        origin.wait_for_end()


@pytest.mark.parametrize(
    "head", [response_head("Content-Length: 10"), CHUNKED_HEAD], ids=["length", "chunked"]
)
def test_response_body_that_stalls_is_cut_off_and_shows(
    proxy: Proxy, client: Client, target: str, head: bytes
) -> None:
    with Origin(
        [expect_request(), send(head + b"4\r\nhalf\r\n"[: 5 if b"Len" in head else None]), expect_close()]
    ) as origin:
        with Stopwatch(0.5):
            client.send(get(target, via(origin)))
            answer = client.read_response()
        assert not answer.is_complete
        origin.wait_for_end()
    assert record_of(proxy, target)["error"] == "http_response_timeout"


def test_origin_that_takes_nothing_of_an_upload_is_a_504(client: Client, target: str) -> None:
    with Origin([expect_head(), hang()]) as origin:
        client.send(get(target, via(origin), "Content-Length: 100000000", method="POST"))
        client.socket.settimeout(0.2)
        try:
            for piece in pattern(100_000_000):
                client.socket.sendall(piece)
        except TimeoutError:
            pass  # every buffer is full
        assert client.read_response().status == 504
        origin.release()


def test_upstream_connection_is_kept_idle_for_upstream_idle(client: Client, target: str) -> None:
    with Origin(serve(OK)) as origin:
        assert client.ask(get(target, via(origin))).status == 200
        with Stopwatch(0.2):
            assert origin.wait_for_end().ended == "eof"


@pytest.mark.parametrize("speaker", ["client", "upstream"])
def test_tunnel_that_is_silent_is_ended_but_not_while_one_side_speaks(
    proxy: Proxy, client: Client, target: str, speaker: str
) -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n"
    ready, done = threading.Event(), threading.Event()

    def talk(connection) -> None:
        for _ in range(6):
            time.sleep(0.2)
            connection.send(b"x")

    end = [tell(done), expect_close()]
    speech = [talk, *end] if speaker == "upstream" else [expect_bytes(6), *end]
    with Origin([expect_request(), send(head), *speech]) as origin:
        client.send(get(target, via(origin), "Connection: Upgrade", "Upgrade: talk"))
        assert client.read_response_head().status == 101
        if speaker == "client":
            talk(client)
        assert done.wait(10)
        ready.set()
        with Stopwatch(0.45):
            rest, _ = client.read_until_closed()
        assert rest == (b"x" * 6 if speaker == "upstream" else b"")
        origin.wait_for_end()
    assert record_of(proxy, target)["status"] == 101


def test_linger_ends_although_the_client_keeps_sending(client: Client, target: str) -> None:
    client.send(get(target, "Max-Forwards: 0", "Transfer-Encoding: chunked", method="OPTIONS"))
    with Stopwatch(0.25), pytest.raises(OSError):
        while True:
            client.send(b"1\r\nx\r\n" * 20000)
            time.sleep(0.05)


def test_linger_0_closes_at_once(target: str) -> None:
    config: Config = {"routing": {"upstream_hosts": "http://127.0.0.1:1"}, "timeouts": {"linger": 0}}
    with running_proxy(config) as proxy, Client(proxy.address) as client:
        client.send(b"nonsense\r\n\r\n")
        assert client.read_response().status == 400
        assert client.read_until_closed()[0] == b""
        proxy.wait_until(lambda: _is_reset(client), "reset", timeout=1.0)


def _is_reset(client: Client) -> bool:
    try:
        client.socket.send(b"more")
    except OSError:
        return True
    return False


def test_timeouts_of_0_switch_them_off(target: str) -> None:
    names = [name for name in CONFIG["timeouts"] if name != "linger"]
    config: Config = {"timeouts": dict.fromkeys(names, 0)}
    with Origin([expect_request(), hang(), send(response(b"late"))]) as origin:
        with running_proxy({**config, "routing": {"upstream_hosts": origin.url}}) as proxy:
            with Client(proxy.address) as client:
                assert client.is_silent(0.3)
                client.send_pieces([get(target)[:10]])
                assert client.is_silent(0.3)
                client.send(get(target)[10:])
                origin.wait_for_requests(1)
                assert client.is_silent(0.8)
                origin.release()
                assert client.read_response().body == b"late"


def send_forever():
    def step(connection) -> None:
        while True:
            connection.send(bytes(1 << 16))

    return step
