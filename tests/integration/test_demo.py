"""The demo upstream, asked by clients that are not ours, alone and behind the proxy."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import websockets
from websockets.sync.client import connect

from pyrox.green.demo_pages import ENDPOINTS
from tests.support.processes import resident_bytes
from tests.support.proxy import running_proxy

ROOT = Path(__file__).resolve().parents[2]
MEBIBYTE = 1 << 20


class Demo:
    """``pyrox demo`` as a process; ``errors()`` is what it wrote to stderr."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._errors = folder / "stderr"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pyrox", "demo", *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def read_address(self) -> str:
        line = self.process.stdout.readline()
        found = re.fullmatch(r"pyrox demo listens on (\S+)\n", line)
        assert found, (line, self.errors())
        return found[1]

    def errors(self) -> str:
        return self._errors.read_text()


@contextlib.contextmanager
def running_demo(folder: Path, *arguments: str) -> Iterator[Demo]:
    demo = Demo(arguments, folder)
    try:
        yield demo
    finally:
        demo.process.kill()
        demo.process.communicate()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo"), "-b", "127.0.0.1:0") as demo:
        yield demo


@pytest.fixture(scope="module")
def alone(demo: Demo) -> str:
    return demo.read_address()


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[str]:
    with running_proxy({"routing": {"upstream_hosts": "demo"}}) as proxy:
        yield f"http://127.0.0.1:{proxy.port}/"


@pytest.fixture(params=["alone", "behind_proxy"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def websocket_url(url: str) -> str:
    return "ws" + url.removeprefix("http") + "ws"


def test_page_names_every_endpoint(url: str) -> None:
    response = requests.get(url, timeout=10)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert set(re.findall(r"<dt>(?:<a [^>]*>)?/(\w+)", response.text)) == set(ENDPOINTS) - {""}


def test_links_of_the_page_answer(url: str) -> None:
    links = re.findall(r'href="(/[^"]*)"', requests.get(url, timeout=10).text)
    statuses = {link: requests.get(url.rstrip("/") + link, timeout=10).status_code for link in links}
    assert len(statuses) == 8
    assert {link for link, status in statuses.items() if status != 200} == {"/status/418"}


def test_echo_gives_back_the_request(url: str) -> None:
    response = requests.put(
        f"{url}echo/%2F?a=%20b", data="héllo".encode(), headers={"X-One": "é".encode("latin-1")}, timeout=10
    )
    report = response.json()
    assert (report["method"], report["target"], report["version"]) == ("PUT", "/echo/%2F?a=%20b", "1.1")
    assert report["body"] == "héllo"
    assert "X-One: é" in report["headers"]


def test_echo_of_bytes_that_are_no_text(url: str) -> None:
    report = requests.post(f"{url}echo", data=b"\xff\x00", timeout=10).json()
    assert base64.b64decode(report["body_base64"]) == b"\xff\x00"
    assert "body" not in report


def test_echo_refuses_what_it_would_have_to_hold_in_memory(url: str) -> None:
    assert requests.post(f"{url}echo", data=bytes(MEBIBYTE), timeout=10).status_code == 200
    assert requests.post(f"{url}echo", data=bytes(MEBIBYTE + 1), timeout=10).status_code == 413


def test_headers_keeps_lines_in_order(alone: str) -> None:
    address = urlsplit(alone)
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        client.sendall(
            b"GET /headers HTTP/1.1\r\nHost: a\r\nb: 2\r\nA: 1\r\nB: 3\r\nConnection: close\r\n\r\n"
        )
        answer = client.makefile("rb").read()
    lines = re.findall(rb'"([^"]+)"', answer.partition(b"\r\n\r\n")[2])
    assert lines == [b"Host: a", b"b: 2", b"A: 1", b"B: 3", b"Connection: close"]


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 3 * MEBIBYTE + 5])
def test_bytes_are_their_position_modulo_256(url: str, size: int) -> None:
    response = requests.get(f"{url}bytes/{size}", timeout=10)
    assert response.headers["content-length"] == str(size)
    assert response.content == (bytes(range(256)) * (size // 256 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 200_000])
def test_random_bytes_follow_from_their_seed(url: str, size: int) -> None:
    expected = b"".join(
        hashlib.shake_128(f"a b {number}".encode()).digest(min(65536, size - number * 65536))
        for number in range(-(-size // 65536))
    )
    response = requests.get(f"{url}random/{size}?seed=a%20b", timeout=10)
    assert response.headers["content-length"] == str(size)
    assert response.content == expected


def test_stream_is_chunked(url: str) -> None:
    response = requests.get(f"{url}stream/3", timeout=10)
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.text == "line 0\nline 1\nline 2\n"


@pytest.mark.parametrize("status", [200, 201, 204, 205, 302, 304, 404, 418, 500, 599])
def test_status(url: str, status: int) -> None:
    response = requests.get(f"{url}status/{status}", allow_redirects=False, timeout=10)
    assert response.status_code == status
    assert (response.content == b"") == (status in (204, 205, 304))


@pytest.mark.parametrize(
    ("path", "status"),
    [("status/199", 400), ("status/600", 400), ("status/x", 400), ("bytes/-1", 400), ("bytes/", 400),
     ("stream/1e3", 400), ("delay/nan", 400), ("delay/601", 400), ("delay/soon", 400), ("sse?count=x", 400),
     ("random/x", 400), ("nothing", 404), ("ws", 426)],
)  # fmt: skip
def test_what_it_cannot_do_it_says(url: str, path: str, status: int) -> None:
    response = requests.get(url + path, timeout=10)
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["", "bytes/100000", "stream/3", "status/404"])
def test_head_has_the_fields_of_get_and_no_body(url: str, path: str) -> None:
    with requests.Session() as session:
        head = session.head(url + path, timeout=10)
        get = session.get(url + path, timeout=10)  # on the same connection: nothing followed the head
    assert head.status_code == get.status_code
    assert head.headers.get("content-length") == get.headers.get("content-length")
    assert head.content == b""


def test_delay_waits(url: str) -> None:
    started = time.monotonic()
    assert requests.get(f"{url}delay/0.3", timeout=10).text == "waited 0.3 s\n"
    assert time.monotonic() - started >= 0.3


def test_events_arrive_one_by_one(url: str) -> None:
    response = requests.get(f"{url}sse?count=3", stream=True, timeout=10)
    assert response.headers["content-type"] == "text/event-stream"
    arrivals = [(time.monotonic(), event) for event in response.iter_content(None)]
    assert [event for _, event in arrivals] == [
        b"id: %d\ndata: event %d\n\n" % (number, number) for number in range(3)
    ]
    # Not at least 0.2: under load a late event is followed by one that is on time.
    assert arrivals[2][0] - arrivals[0][0] >= 0.25


@pytest.mark.parametrize("is_chunked", [False, True])
def test_upload_counts_and_hashes(url: str, is_chunked: bool) -> None:
    body = os.urandom(3 * MEBIBYTE + 1)
    pieces = (body[start : start + 100_000] for start in range(0, len(body), 100_000))
    report = requests.post(f"{url}upload", data=pieces if is_chunked else body, timeout=30).json()
    assert report == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_upload_passes_in_constant_memory(demo: Demo, alone: str) -> None:
    requests.post(f"{alone}upload", data=bytes(MEBIBYTE), timeout=30)
    before = resident_bytes(demo.process.pid)
    piece = bytes(MEBIBYTE)
    report = requests.post(f"{alone}upload", data=(piece for _ in range(128)), timeout=60).json()
    assert report["size"] == 128 * MEBIBYTE
    assert resident_bytes(demo.process.pid) - before < 4 * MEBIBYTE


def test_websocket_echoes_text_binary_and_fragments(url: str) -> None:
    with connect(websocket_url(url)) as client:
        for message in ("héllo", b"\x00\xff", "", b""):
            client.send(message)
            assert client.recv(10) == message
        client.send(iter(["frag", "ment", "s é"]))
        assert client.recv(10) == "fragments é"
        assert client.ping().wait(10)
    assert client.close_code == 1000


def test_websocket_echoes_ten_megabytes(url: str) -> None:
    message = os.urandom(10_000_000)
    with connect(websocket_url(url), max_size=None) as client:
        client.send(message)
        assert client.recv(60) == message


def test_websocket_chooses_a_subprotocol(url: str) -> None:
    with connect(websocket_url(url), subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "one"


def test_websocket_refuses_bad_text_with_1007(url: str) -> None:
    with connect(websocket_url(url)) as client:
        client.send(b"\xff\xff", text=True)
        with pytest.raises(websockets.ConnectionClosed) as caught:
            client.recv(10)
    assert caught.value.rcvd.code == 1007


@pytest.mark.parametrize("line", ["Sec-WebSocket-Version: 12", "Sec-WebSocket-Version: 13"])
def test_websocket_refuses_an_incomplete_handshake(url: str, line: str) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        head = f"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{line}\r\n\r\n"
        client.sendall(head.encode())
        assert client.makefile("rb").readline().startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 426 "))


def test_websocket_ends_a_message_that_is_too_long_with_1009(alone: str) -> None:
    address = urlsplit(alone)
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        reader = client.makefile("rb")
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        while reader.readline() != b"\r\n":
            pass
        client.sendall(b"\x82\xff" + struct.pack("!Q4s", 1 << 40, bytes(4)))
        for _ in range(33):
            client.sendall(bytes(MEBIBYTE))
        frame = reader.read(4)
    assert frame[:1] == b"\x88"
    assert struct.unpack("!H", frame[2:]) == (1009,)


def test_clients_that_leave_are_no_news(demo: Demo, alone: str) -> None:
    address = urlsplit(alone)
    beginnings = [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost",
        b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
        b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /sse HTTP/1.1\r\nHost: a\r\n\r\n",
        b"rubbish\r\n\r\n",
    ]
    for beginning in beginnings:
        for does_reset in (False, True):
            client = socket.create_connection((address.hostname, address.port), timeout=10)
            client.sendall(beginning)
            if does_reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
    assert requests.get(f"{alone}delay/0.5", timeout=10).status_code == 200  # and every /sse found out
    assert demo.errors() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path, "-b", "127.0.0.1:0", "-b", f"unix:{tmp_path}/demo.sock") as demo:
        url, unix = demo.read_address(), demo.read_address()
        assert unix == f"unix:{tmp_path}/demo.sock"
        with requests.Session() as session:  # an idle keep-alive connection does not hold it up
            assert session.get(f"{url}status/200", timeout=10).status_code == 200
            demo.process.send_signal(number)
            assert demo.process.wait(10) == 0
        assert demo.errors() == ""
        assert not (tmp_path / "demo.sock").exists()


def test_address_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running_demo(tmp_path, "-b", f"127.0.0.1:{port}") as demo:
            assert demo.process.wait(10) == 1
            assert demo.errors().startswith(f"pyrox demo: cannot listen on 127.0.0.1:{port}: ")
            assert demo.errors().count("\n") == 1
