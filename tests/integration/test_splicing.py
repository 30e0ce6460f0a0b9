"""Large bodies of known length between plain sockets, which the kernel moves, on kernels of several minds."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import (
    InThread,
    get,
    nothing_left_behind,
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
    OriginConnection,
    expect_bytes,
    expect_close,
    expect_head,
    expect_request,
    half_close,
    send,
    serve,
    wait,
)
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

SIZE = 3_000_017
NOISE = random.Random(1).randbytes(SIZE)
MUCH = NOISE * 20  # more than all buffers on the way hold
KERNELS = ("willing", "stingy", "forbids splice", "forbids splice to sockets", "no pipes")


def config(kernel: str) -> Config:
    return {
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "logging": {"access_log_format": "json", "verbosity": "INFO"},
        "middleware": {
            "stack": "census, kernel, by_field",
            "census": {"class": "routing.Census"},
            "kernel": {"class": "kernels.Kernel", "kind": kernel},
            "by_field": {"class": "routing.RouteByField"},
        },
    }


@pytest.fixture(scope="module", params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def proxy(kernel: str) -> Iterator[Proxy]:
    with running_proxy(config(kernel), python_path=[PLUGINS]) as proxy, nothing_left_behind(proxy):
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address, timeout=30) as client:
        yield client


@pytest.fixture
def spliced(proxy: Proxy, kernel: str) -> Callable[[int], bool]:
    """Whether about so many bytes were spliced since the test began; none where the kernel forbids it."""
    before = _spliced(proxy)

    def has_spliced(size: int) -> bool:
        if kernel not in ("willing", "stingy"):
            return _spliced(proxy) == 0
        # What came with the head was sent with the head.
        return 0 <= size - (_spliced(proxy) - before) <= 1 << 16

    return has_spliced


def _spliced(proxy: Proxy) -> int:
    with Client(proxy.address) as client:
        return int(json.loads(client.ask(get("/spliced")).body))


def in_odd_pieces(data: bytes) -> Iterator[bytes]:
    """As a sender who is now slow and now fast."""
    dice, start = random.Random(2), 0
    while start < len(data):
        size = dice.choice((1, 7, 1447, 65_537, 400_001))
        yield data[start : start + size]
        start += size


def test_download_is_exact_and_both_connections_serve_on(
    proxy: Proxy, client: Client, target: str, spliced: Callable[[int], bool]
) -> None:
    with Origin(serve(response(NOISE), OK)) as origin:
        client.send(get(target, via(origin)) + get("/next", via(origin)))  # the second waits its turn
        assert client.read_response().body == NOISE
        assert client.read_response().body == b"ok"
        assert client.ask(get("/after", via(origin))).body == b"ok"
        assert len(origin.connections) == 1
    assert spliced(SIZE)
    record = record_of(proxy, target)
    assert SIZE < record["bytes_out"] < SIZE + 1000


def test_upload_is_exact_and_both_connections_serve_on(
    proxy: Proxy, client: Client, target: str, spliced: Callable[[int], bool]
) -> None:
    with Origin(serve(OK)) as origin:
        upload, following = post(target, NOISE, via(origin)), get("/next", via(origin))
        sending = InThread(client.send, upload + following)
        assert client.read_response().body == b"ok"
        assert client.read_response().body == b"ok"
        sending.result()
        assert client.ask(get("/after", via(origin))).body == b"ok"
        requests = origin.wait_for_requests(3)
        assert [request.body == body for request, body in zip(requests, (NOISE, b"", b""), strict=True)] == [
            True
        ] * 3
        assert len(origin.connections) == 1
    assert spliced(SIZE)
    assert record_of(proxy, target)["bytes_in"] == len(upload)


def test_download_and_upload_in_odd_pieces_are_exact(client: Client, target: str) -> None:
    head = response_head(f"Content-Length: {SIZE}")
    with Origin([expect_request(), send(head, *in_odd_pieces(NOISE)), *serve(OK)]) as origin:
        assert client.ask(get(target, via(origin))).body == NOISE
        client.send_pieces([get(target, via(origin), f"Content-Length: {SIZE}", method="PUT")])
        client.send_pieces(in_odd_pieces(NOISE))
        assert client.read_response().body == b"ok"
        assert origin.requests[-1].body == NOISE


def test_download_and_upload_at_once_on_many_connections_are_exact(proxy: Proxy, target: str) -> None:
    """More than there are pipes, and than there are buffers."""
    with Origin(serve(lambda request: response(request.body)), timeout=60) as origin:

        def echo(number: int) -> bool:
            body = NOISE[number : 700_000 + number]
            with Client(proxy.address, timeout=60) as client:
                sending = InThread(client.send, post(target, body, via(origin)))
                answer = client.read_response()
                sending.result()
                return answer.body == body

        echoes = [InThread(echo, number) for number in range(40)]
        assert all(each.result(60) for each in echoes)


def test_slow_reader_gets_all_of_it(proxy: Proxy, target: str) -> None:
    with Origin(serve(response(NOISE))) as origin, Client(proxy.address) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.send(get(target, via(origin)))
        head = client.read_response_head()
        client.socket.settimeout(10)
        received = client.unread
        while len(received) < SIZE:
            received += client.socket.recv(1500)
        assert (head.get("content-length"), received) == (b"%d" % SIZE, NOISE)


@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 1, 1 << 20, (1 << 20) + 1])
def test_lengths_around_the_thresholds_are_exact(client: Client, target: str, size: int) -> None:
    body = NOISE[:size]
    with Origin(serve(response(body))) as origin:
        for _ in range(3):
            assert client.ask(post(target, body, via(origin))).body == body
        assert [request.body == body for request in origin.requests] == [True] * 3
        assert len(origin.connections) == 1


def test_responses_without_a_body_are_left_alone(
    client: Client, target: str, spliced: Callable[[int], bool]
) -> None:
    head = response_head(f"Content-Length: {SIZE}")
    no_content = b"HTTP/1.1 204 No Content\r\n\r\n"
    with Origin(serve(head, no_content, OK)) as origin:
        answer = client.ask(get(target, via(origin), method="HEAD"), "HEAD")
        assert (answer.status, answer.get("content-length")) == (200, b"%d" % SIZE)
        assert client.ask(get(target, via(origin))).status == 204
        assert client.ask(get(target, via(origin))).body == b"ok"
        assert len(origin.connections) == 1
    assert spliced(0)


def test_server_that_breaks_off_shows_as_an_abort(proxy: Proxy, client: Client, target: str) -> None:
    script = [
        expect_request(),
        send(response_head(f"Content-Length: {SIZE}"), NOISE[: 2 << 20]),
        half_close(),
        expect_close(),
    ]
    with Origin(script) as origin:
        answer = client.ask(get(target, via(origin)))
        assert answer.ended == "reset"
        assert NOISE.startswith(answer.body)
    record = record_of(proxy, target)
    assert record["error"] == "http_response_incomplete"
    assert (2 << 20) < record["bytes_out"] < (2 << 20) + 1000


def test_server_that_says_too_much_is_not_heard(client: Client, target: str) -> None:
    first = [expect_request(), send(response(NOISE) + response(b"not asked for")), expect_close()]
    with Origin(first, serve(OK)) as origin:
        assert client.ask(get(target, via(origin))).body == NOISE
        assert client.ask(get(target, via(origin))).body == b"ok"
        assert len(origin.connections) == 2


def test_client_that_leaves_its_download_ends_it(proxy: Proxy, client: Client, target: str) -> None:
    def send_much(connection: OriginConnection) -> None:
        while True:
            connection.send(NOISE)

    script = [expect_request(), send(response_head(f"Content-Length: {1 << 40}")), send_much]
    with Origin(script) as origin:
        client.send(get(target, via(origin)))
        client.read_exactly(1_000_000)
        client.reset()
        assert origin.wait_for_end().ended == "reset"
    record = record_of(proxy, target)
    assert record["status"] == 499
    assert record["bytes_out"] >= 1_000_000


def test_client_that_leaves_its_upload_ends_it(proxy: Proxy, client: Client, target: str) -> None:
    arrived = threading.Event()
    script = [expect_head(), expect_bytes(1_000_000), tell(arrived), expect_close()]
    with Origin(script) as origin:
        client.send(get(target, via(origin), f"Content-Length: {SIZE}", method="PUT") + NOISE[:1_500_000])
        assert arrived.wait(10)
        client.reset()
        connection = origin.wait_for_end()
        assert NOISE.startswith(connection.received.partition(b"\r\n\r\n")[2])
    assert record_of(proxy, target)["status"] == 499


def test_server_that_answers_and_leaves_in_the_middle_of_an_upload_is_heard(
    proxy: Proxy, client: Client, target: str
) -> None:
    refusal = response(b"no", status="413 Content Too Large")
    script = [expect_head(), expect_bytes(1_000_000), send(refusal)]
    with Origin(script) as origin:
        head = get(target, via(origin), f"Content-Length: {len(MUCH)}", method="PUT")
        sending = InThread(client.send, head + MUCH)
        answer = client.read_response()
        assert (answer.status, answer.get("connection"), answer.body) == (413, b"close", b"no")
        with contextlib.suppress(OSError):  # what comes long after the answer is not waited for
            sending.result()
    assert record_of(proxy, target)["status"] == 413


def test_server_that_resets_in_the_middle_of_an_upload_is_a_502(client: Client, target: str) -> None:
    gone = threading.Event()

    def reset(connection: OriginConnection) -> None:
        connection.reset()
        gone.set()

    with Origin([expect_head(), expect_bytes(1_000_000), reset]) as origin:
        head = get(target, via(origin), f"Content-Length: {SIZE}", method="PUT")
        sending = InThread(client.send, head + NOISE)
        assert client.read_response().status == 502
        sending.result()


def test_download_waits_for_a_client_that_pauses_and_others_are_served(proxy: Proxy, target: str) -> None:
    go = threading.Event()
    with Origin([expect_request(), send(response(MUCH)), wait(go)], serve(OK), timeout=60) as origin:
        with Client(proxy.address) as paused, Client(proxy.address) as other:
            paused.send(get(target, via(origin)))
            head = paused.read_response_head()
            for _ in range(20):
                assert other.ask(get("/other", via(origin))).body == b"ok"
            paused.read_body_of(head)
            go.set()
    assert head.body == MUCH
