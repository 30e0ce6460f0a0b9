"""The stock filters in ``[pipeline]`` of a running proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kit import get, post, response
from tests.support.origin import Origin, serve
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

PAGE = b"<h1>hello</h1>\n"
LONG = bytes(range(256)) * 4 * 1024  # 1 MiB
# More than the buffers of two sockets hold, so that a client that does not read stops the server.
HUGE_SIZE = 64 << 20

WEB_SERVER = "pyrox.stock_filters.httpd.WebServer"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "secret.txt").write_bytes(b"secret")
    root = folder / "www"
    (root / "docs").mkdir(parents=True)
    (root / "index.html").write_bytes(PAGE)
    (root / "docs/index.html").write_bytes(b"docs")
    (root / "long.bin").write_bytes(LONG)
    (root / "link.txt").symlink_to("../secret.txt")
    with (root / "huge.bin").open("wb") as file:
        file.truncate(HUGE_SIZE)
    return root


@pytest.fixture(scope="module")
def proxy(root: Path) -> Iterator[Proxy]:
    pipeline = {"files": WEB_SERVER, "files.root": str(root), "upstream": ["files"]}
    with running_proxy({"pipeline": pipeline}) as proxy:
        yield proxy


def test_files_are_served_on_one_connection(proxy: Proxy) -> None:
    with Client(proxy.address) as client:
        page = client.ask(get("/"))
        assert (page.status, page.body, page.framing) == (200, PAGE, "length")
        assert page.get("content-type") == b"text/html"
        etag = (page.get("etag") or b"").decode()
        head = client.ask(get("/long.bin", method="HEAD"), "HEAD")
        assert head.get("content-length") == str(len(LONG)).encode()
        long = client.ask(get("/long.bin"))
        assert (long.status, long.body) == (200, LONG)
        assert client.ask(get("/", f"If-None-Match: {etag}")).status == 304
        part = client.ask(get("/long.bin", "Range: bytes=-5"))
        assert (part.status, part.body, part.framing) == (206, LONG[-5:], "length")
        assert client.ask(get("/long.bin", "Range: bytes=1048576-")).status == 416
        assert client.ask(get("/docs")).get("location") == b"/docs/"
        assert client.ask(get("/docs/")).body == b"docs"
        assert client.ask(get("/nothing")).status == 404
        refused = client.ask(post("/", b"x" * 1000))
        assert (refused.status, refused.get("allow")) == (405, b"GET, HEAD")
        assert client.ask(get("/")).body == PAGE


def test_long_file_of_an_http_10_client_ends_with_the_connection(proxy: Proxy) -> None:
    with Client(proxy.address) as client:
        assert client.ask(get("/long.bin", version="1.0")).body == LONG


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/docs/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/link.txt",
        "//docs",
        "/%2fdocs",
        "/index.html%00",
    ],
)
def test_nothing_outside_of_the_root_is_served(proxy: Proxy, target: str) -> None:
    with Client(proxy.address) as client:
        answer = client.ask(get(target))
    assert (answer.status, answer.body) == (404, b"404 Not Found\n")


def test_file_of_a_client_that_leaves_is_closed(proxy: Proxy) -> None:
    with Client(proxy.address) as client:
        client.ask(get("/"))
    idle = proxy.fd_count()
    with Client(proxy.address) as client:
        client.send(get("/huge.bin"))
        assert client.read_response_head().status == 200
        assert proxy.fd_count() == idle + 2
    proxy.wait_until(lambda: proxy.fd_count() <= idle, f"return to {idle} descriptors")


def test_file_that_becomes_shorter_ends_in_an_abort(proxy: Proxy, root: Path) -> None:
    with (root / "shrinking.bin").open("wb") as file:
        file.truncate(HUGE_SIZE)
        with Client(proxy.address, keep=False) as client:
            client.send(get("/shrinking.bin"))
            answer = client.read_response_head()
            file.truncate(1000)
            client.read_body_of(answer)
    assert answer.ended in ("eof", "reset")


@pytest.mark.parametrize("name", ["missing", "index.html"])
def test_root_that_is_no_directory_is_an_error_at_start_up(root: Path, name: str) -> None:
    pipeline = {"files": WEB_SERVER, "files.root": str(root / name), "upstream": ["files"]}
    with running_proxy({"pipeline": pipeline}) as proxy:
        assert proxy.wait() == 2
    assert f"[pipeline] files: ValueError: root: '{root / name}' is not a directory" in proxy.error_log()


def test_empty_filter_leaves_everything_as_it_is() -> None:
    pipeline = {
        "empty": "pyrox.stock_filters.empty.EmptyFilter",
        "upstream": ["empty"],
        "downstream": ["empty"],
    }
    with Origin(serve(response(b"from upstream", "Set-Cookie: a=1", "Set-Cookie: b=2"))) as origin:
        with running_proxy({"pipeline": pipeline, "routing": {"upstream_hosts": origin.url}}) as proxy:
            with Client(proxy.address) as client:
                answer = client.ask(post("/x?y", b"body"))
        [request] = origin.requests
    assert (answer.body, answer.get_all("set-cookie")) == (b"from upstream", [b"a=1", b"b=2"])
    assert (request.target, request.body, request.framing) == ("/x?y", b"body", "length")
