"""``WebServer``: whatever a path looks like, what is served lies below the root and has this one path."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.http.message import Request
from pyrox.http.model import HttpRequest
from pyrox.stock_filters.httpd import WebServer

FILES = {"index.html": b"page", "docs/index.html": b"docs", "docs/a b": b"spaces"}

MARKS = ["/", "//", ".", "..", "%2e", "%2E.", "%2f", "%5c", "\\", "%00", "%", "%25", "?", "~", ":", "%0d%0a"]
NAMES = ["index.html", "docs", "secret", "a b", "a%20b", "www", "loop", "out", "evil.test", "%c0%ae", "%ff"]

pieces = st.sampled_from([*MARKS, *NAMES])
paths = st.lists(pieces, max_size=8).map(lambda parts: "/" + quote("".join(parts), safe="/\\%?~:"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> WebServer:
    folder = tmp_path_factory.mktemp("site")
    (folder / "secret").write_bytes(b"secret")
    root = folder / "www"
    (root / "docs").mkdir(parents=True)
    for name, content in FILES.items():
        (root / name).write_bytes(content)
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to("..")
    return WebServer(str(root))


@given(paths)
def test_only_files_below_the_root_are_served_and_each_by_one_path(server: WebServer, target: str) -> None:
    action = server.on_request_head(HttpRequest.of(Request("GET", target)))
    head, body = action.payload
    path = unquote(target.partition("?")[0])
    if head.status == "200 OK":
        name = path[1:] + ("index.html" if path.endswith("/") else "")
        assert body == FILES[name]
    elif head.status == "301 Moved Permanently":
        assert path == "/docs"
        assert head.header("Location").values == ["/docs/" + target[len(target.partition("?")[0]) :]]
    else:
        assert head.status == "404 Not Found"
