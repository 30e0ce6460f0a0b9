"""``WebServer``: what it serves, and above all what it does not."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

from pyrox.http.message import Request
from pyrox.http.model import HttpRequest
from pyrox.stock_filters import httpd
from pyrox.stock_filters.httpd import WebServer

PAGE = b"<h1>hello</h1>\n"
LONG = bytes(range(256)) * 1024  # longer than what is read at once
MODIFIED = 1_600_000_000
MODIFIED_TEXT = formatdate(MODIFIED, usegmt=True)


@dataclass
class Answer:
    status: str
    headers: dict[str, str]
    body: bytes
    streamed: bool

    @property
    def code(self) -> int:
        return int(self.status[:3])


def ask(server: WebServer, target: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    """What the filter answers; every answer is a ``reply``, so nothing ever goes upstream."""
    action = server.on_request_head(HttpRequest.of(Request(method, target, headers or {})))
    assert action.is_replying()
    head, src = action.payload
    values = {name: ", ".join(header.values) for name, header in head.headers.items()}
    if not hasattr(src, "read"):
        return Answer(head.status, values, src.encode() if isinstance(src, str) else src, False)
    body = b"".join(iter(lambda: src.read(65536), b""))
    src.close()
    return Answer(head.status, values, body, True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``tmp/www`` is served; beside it lies what must never be."""
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "www-private").mkdir()
    (tmp_path / "www-private/secret.txt").write_bytes(b"secret")
    root = tmp_path / "www"
    (root / "docs/empty").mkdir(parents=True)
    for name, content in {
        "index.html": PAGE,
        "docs/index.html": b"docs",
        "a b.txt": b"spaces",
        "größe.txt": b"umlaut",
        "long.bin": LONG,
        "empty.css": b"",
        "..hidden": b"two dots",
    }.items():
        (root / name).write_bytes(content)
        os.utime(root / name, (MODIFIED, MODIFIED))
    return root


@pytest.fixture
def server(root: Path) -> WebServer:
    return WebServer(str(root))


# --- what is served ---


@pytest.mark.parametrize(
    ("target", "body", "media_type"),
    [
        ("/", PAGE, "text/html"),
        ("/index.html", PAGE, "text/html"),
        ("/?page=../../secret.txt", PAGE, "text/html"),
        ("/docs/", b"docs", "text/html"),
        ("/%64ocs/index%2Ehtml", b"docs", "text/html"),
        ("/a%20b.txt", b"spaces", "text/plain"),
        ("/gr%C3%B6%C3%9Fe.txt", b"umlaut", "text/plain"),
        ("/long.bin", LONG, "application/octet-stream"),
        ("/empty.css", b"", "text/css"),
        ("/..hidden", b"two dots", "application/octet-stream"),
    ],
)
def test_get(server: WebServer, target: str, body: bytes, media_type: str) -> None:
    answer = ask(server, target)
    assert (answer.status, answer.body) == ("200 OK", body)
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["last-modified"] == MODIFIED_TEXT
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.streamed == (body == LONG)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("x.tar.gz", "application/gzip"),
        ("x.svg", "image/svg+xml"),
        ("x.txt.br", "application/octet-stream"),
        ("data:text,html", "application/octet-stream"),
        ("x", "application/octet-stream"),
    ],
)
def test_media_type_is_that_of_the_file_itself(
    root: Path, server: WebServer, name: str, media_type: str
) -> None:
    (root / name).touch()
    assert ask(server, f"/{name}").headers["content-type"] == media_type


def test_head_has_the_fields_of_get(server: WebServer) -> None:
    for target in ("/", "/long.bin", "/nothing"):
        assert ask(server, target, "HEAD").headers == ask(server, target).headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "get"])
def test_other_methods_are_not_allowed(server: WebServer, method: str) -> None:
    answer = ask(server, "/", method)
    assert answer.status == "405 Method Not Allowed"
    assert answer.headers["allow"] == "GET, HEAD"


def test_options_of_all_is_not_allowed(server: WebServer) -> None:
    assert ask(server, "*", "OPTIONS").code == 405
    assert ask(server, "*").code == 404


@pytest.mark.parametrize(
    "target", ["/nothing", "/docs/empty/", "/a%20b.txt/", "/index.html/x", "/" + "x" * 300]
)
def test_what_is_not_there_is_not_found(server: WebServer, target: str) -> None:
    answer = ask(server, target)
    assert (answer.status, answer.body) == ("404 Not Found", b"404 Not Found\n")


@pytest.mark.parametrize(
    ("target", "location"),
    [("/docs", "/docs/"), ("/docs?a=/b&c", "/docs/?a=/b&c"), ("/do%63s/empty", "/docs/empty/")],
)
def test_folder_without_slash_is_redirected(server: WebServer, target: str, location: str) -> None:
    answer = ask(server, target)
    assert answer.status == "301 Moved Permanently"
    assert answer.headers["location"] == location


def test_redirect_encodes_what_would_break_the_header(root: Path, server: WebServer) -> None:
    (root / "a\r\nX: y?").mkdir()
    assert ask(server, "/a%0d%0aX:%20y%3F").headers["location"] == "/a%0D%0AX%3A%20y%3F/"


# --- what is not ---

OUTSIDE = [
    "/../secret.txt",
    "/docs/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/.%2E/secret.txt",
    "/..%2fsecret.txt",
    "/docs%2f..%2f..%2fsecret.txt",
    "/..%5csecret.txt",
    "/../www-private/secret.txt",
    "/%252e%252e/secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/secret.txt%00.html",
    "/link.txt",
    "/folder/secret.txt",
    "/folder/",
    "/folder",
    "/absolute.txt",
]
# They name a file that is served, but not by its one path.
OTHER_NAMES = [
    "//index.html",
    "/./index.html",
    "/docs/../index.html",
    "/docs//index.html",
    "/docs/%2e/index.html",
    "/docs%2findex.html",
    "/docs%5cindex.html",
    "/index.html%00",
    "/%2e",
]


@pytest.mark.parametrize("target", OUTSIDE + OTHER_NAMES)
def test_nothing_outside_of_the_root_is_served_and_no_file_by_two_paths(
    root: Path, server: WebServer, target: str
) -> None:
    (root / "link.txt").symlink_to("../secret.txt")
    (root / "absolute.txt").symlink_to(root.parent / "secret.txt")
    (root / "folder").symlink_to(root.parent / "www-private")
    assert ask(server, target).status == "404 Not Found"


def test_absolute_path_in_a_name_is_not_served(root: Path, server: WebServer) -> None:
    encoded = str(root.parent / "secret.txt").replace("/", "%2f")
    assert ask(server, "/" + encoded).code == 404
    assert ask(server, "/" + str(root.parent / "secret.txt")).code == 404
    assert ask(server, str(root.parent / "secret.txt")).code == 404


@pytest.mark.parametrize(
    "target", ["//evil.test", "//evil.test/%2e%2e", "/%2fevil.test", "/%5cevil.test", "///docs"]
)
def test_no_redirect_leads_to_another_host(root: Path, server: WebServer, target: str) -> None:
    (root / "evil.test").mkdir()
    (root / "\\evil.test").mkdir()
    assert ask(server, target).code == 404


def test_symbolic_links_inside_the_root_are_followed(root: Path, server: WebServer) -> None:
    (root / "alias.html").symlink_to("docs/index.html")
    (root / "manual").symlink_to("docs")
    assert ask(server, "/alias.html").body == b"docs"
    assert ask(server, "/manual/").body == b"docs"


def test_loop_of_links_is_not_found(root: Path, server: WebServer) -> None:
    (root / "loop").symlink_to("loop")
    assert ask(server, "/loop").code == 404


def test_root_may_be_a_link_and_the_file_system_s(root: Path) -> None:
    (root.parent / "current").symlink_to(root)
    assert ask(WebServer(str(root.parent / "current")), "/").body == PAGE
    assert ask(WebServer("/"), str(root / "docs/index.html")).body == b"docs"


def test_special_files_are_not_found_and_not_waited_for(root: Path, server: WebServer) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    assert ask(server, "/fifo").code == 404
    assert ask(server, "/socket").code == 404
    assert ask(WebServer("/dev"), "/null").code == 404


def test_file_that_was_exchanged_since_it_was_checked_is_neither_followed_nor_waited_for(root: Path) -> None:
    os.mkfifo(root / "fifo")
    (root / "link").symlink_to("index.html")
    os.close(httpd._open_what_was_checked(str(root / "fifo"), os.O_RDONLY))
    with pytest.raises(OSError, match="symbolic links"):
        httpd._open_what_was_checked(str(root / "link"), os.O_RDONLY)


def test_unreadable_file_is_forbidden(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # A real one is readable to the tests when they run as root.
    def open_unreadable(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(httpd, "_open", open_unreadable)
    answer = ask(server, "/")
    assert (answer.status, answer.body) == ("403 Forbidden", b"403 Forbidden\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_file_without_read_permission_is_forbidden(root: Path, server: WebServer) -> None:
    (root / "index.html").chmod(0)
    assert ask(server, "/").code == 403


@pytest.mark.parametrize("name", ["", "missing", "index.html", "/dev/null"])
def test_root_that_is_no_directory_is_refused_at_start_up(root: Path, name: str) -> None:
    path = str(root / name) if name else ""
    with pytest.raises(ValueError, match=r"root: '.*' is not a directory"):
        WebServer(path)


# --- conditions ---


def test_client_that_has_the_file_is_told_so(server: WebServer) -> None:
    etag = ask(server, "/").headers["etag"]
    for tags in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = ask(server, "/", headers={"If-None-Match": tags})
        assert (answer.status, answer.body) == ("304 Not Modified", b"")
        assert answer.headers == {"etag": etag, "last-modified": MODIFIED_TEXT}
    assert ask(server, "/", headers={"If-None-Match": '"x"'}).body == PAGE


def test_etag_changes_with_the_content(root: Path, server: WebServer) -> None:
    first = ask(server, "/").headers["etag"]
    (root / "index.html").write_bytes(PAGE.upper())
    assert ask(server, "/", headers={"If-None-Match": first}).body == PAGE.upper()


@pytest.mark.parametrize(
    ("since", "code"),
    [
        (MODIFIED_TEXT, 304),
        (formatdate(MODIFIED + 1, usegmt=True), 304),
        (formatdate(MODIFIED - 1, usegmt=True), 200),
        ("Sunday, 13-Sep-20 12:26:40 GMT", 304),
        ("Sun Sep 13 12:26:40 2020", 304),
        ("Sun Sep 13 12:26:39 2020", 200),
        ("yesterday", 200),
        ("", 200),
        ("Sun, 13 Sep 0000 12:26:40 GMT", 200),
        ("Sun, 13 Sep 2020 99:26:40 GMT", 200),
        (f"Sun, 13 Sep {'9' * 300} 12:26:40 GMT", 200),
    ],
)
@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_if_modified_since(
    server: WebServer, since: str, code: int, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        answer = ask(server, "/", headers={"If-Modified-Since": since})
    time.tzset()
    assert answer.code == code


def test_date_stands_for_its_whole_second(root: Path, server: WebServer) -> None:
    os.utime(root / "index.html", (MODIFIED, MODIFIED + 0.75))
    assert ask(server, "/", headers={"If-Modified-Since": MODIFIED_TEXT}).code == 304


def test_etags_decide_before_the_date(server: WebServer) -> None:
    headers = {"If-None-Match": '"x"', "If-Modified-Since": MODIFIED_TEXT}
    assert ask(server, "/", headers=headers).code == 200


def test_file_from_the_future_is_not_dated_there(root: Path, server: WebServer) -> None:
    os.utime(root / "index.html", (MODIFIED, 4_000_000_000))
    assert "2096" not in ask(server, "/").headers["last-modified"]


# --- ranges ---


@pytest.mark.parametrize(
    ("asked_for", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5-8", 5, 8),
        ("bytes=100000-", 100000, len(LONG) - 1),
        ("bytes=-10", len(LONG) - 10, len(LONG) - 1),
        ("bytes=-999999999", 0, len(LONG) - 1),
        ("Bytes=1-999999999", 1, len(LONG) - 1),
    ],
)
def test_single_range_is_sent(server: WebServer, asked_for: str, first: int, last: int) -> None:
    answer = ask(server, "/long.bin", headers={"Range": asked_for})
    assert answer.status == "206 Partial Content"
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(LONG)}"
    assert answer.headers["content-length"] == str(last + 1 - first)
    assert answer.body == LONG[first : last + 1]


@pytest.mark.parametrize("asked_for", ["bytes=262144-", "bytes=300000-300001", "bytes=-0"])
def test_range_beyond_the_end_is_refused(server: WebServer, asked_for: str) -> None:
    answer = ask(server, "/long.bin", headers={"Range": asked_for})
    assert answer.status == "416 Range Not Satisfiable"
    assert answer.headers["content-range"] == "bytes */262144"
    assert answer.body == b""


@pytest.mark.parametrize(
    "asked_for",
    [
        "bytes=-",
        "bytes=5-2",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes=a-b",
        "bytes= 0-1",
        "bytes=" + "1" * 99 + "-",
    ],
)
def test_other_ranges_are_ignored(server: WebServer, asked_for: str) -> None:
    answer = ask(server, "/long.bin", headers={"Range": asked_for})
    assert (answer.code, answer.body) == (200, LONG)


def test_range_of_head_is_ignored(server: WebServer) -> None:
    assert ask(server, "/long.bin", "HEAD", {"Range": "bytes=0-1"}).code == 200


def test_range_of_another_version_is_ignored(server: WebServer) -> None:
    etag = ask(server, "/long.bin").headers["etag"]
    for version, code in ((etag, 206), (MODIFIED_TEXT, 206), ('"x"', 200), (f"W/{etag}", 200)):
        headers = {"Range": "bytes=0-1", "If-Range": version}
        assert ask(server, "/long.bin", headers=headers).code == code


# --- files while they are sent ---


def test_file_that_becomes_shorter_while_it_is_sent_ends_in_an_error(root: Path, server: WebServer) -> None:
    _, src = server.on_request_head(HttpRequest.of(Request("GET", "/long.bin"))).payload
    os.truncate(root / "long.bin", 1000)
    assert len(src.read(65536)) == 1000
    with pytest.raises(EOFError, match="shorter"):
        src.read(65536)
    src.close()


def test_no_answer_but_a_long_file_leaves_a_file_open(server: WebServer) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    etag = ask(server, "/long.bin").headers["etag"]
    answers = [
        server.on_request_head(HttpRequest.of(Request("GET", target, headers)))
        for target, headers in [
            ("/", {}),
            ("/docs", {}),
            ("/long.bin", {"If-None-Match": etag}),
            ("/long.bin", {"Range": "bytes=999999-"}),
        ]
    ]
    assert len(answers) == 4
    assert descriptors() == before
    _, src = server.on_request_head(HttpRequest.of(Request("GET", "/long.bin"))).payload
    assert descriptors() == before + 1
    src.close()
    assert descriptors() == before


def test_headers_that_another_filter_set_as_bytes_are_understood(server: WebServer) -> None:
    request = HttpRequest.of(Request("GET", "/long.bin"))
    request.header("Range").values.append(b"bytes=0-1")
    head, src = server.on_request_head(request).payload
    assert (head.status, src) == ("206 Partial Content", LONG[:2])
