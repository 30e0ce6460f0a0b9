"""What filters of the time do because they were written for Python 2, or because nobody stopped them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.kit import Scene, chunked, request_line_and, scene
from tests.integration.kit import get, post, response
from tests.support.wire import Client

COOKIES = ["Set-Cookie: a=1; Path=/", "Set-Cookie: b=2; Expires=Wed, 21 Oct 2015 07:28:00 GMT"]
ANSWERS = {
    "/cookies": response(b"", *COOKIES, "Date: today"),
    "/print": response(b"", status="200 Fine"),
}
PLAIN_HEAD = b"Content-Type: text/plain\r\nDate: today\r\nVia: 1.1 pyrox\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nX-Shared: yes\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nDate: now\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Scene]:
    aliases = {"habits": "habits.Habits"}
    with scene("habits", "habits", aliases, answers=ANSWERS, failures=None) as stage:
        yield stage


@pytest.fixture
def stage(shared_stage: Scene, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A connection of one's own; what is no failure on purpose leaves no traceback."""
    proxy = shared_stage.proxy
    before = len(proxy.error_log())
    with Client(proxy.address) as client:
        yield Scene(proxy, shared_stage.origin, client)
    if "failing" not in request.node.name:
        assert "Traceback" not in proxy.error_log()[before:]


def ask(stage: Scene, target: str, *fields: str, method: str = "GET") -> tuple[bytes, bytes]:
    """Ask, and once more for something plain; returns what was sent up and down for the first."""
    stage.ask(get(target, *fields, method=method), method)
    sent = stage.sent_up, stage.sent_down
    stage.ask_plain()
    return sent


def plain_with(*fields: str) -> bytes:
    """What the client gets of the plain response with ``fields`` added."""
    added = "".join(f"{field}\r\n" for field in fields).encode()
    return b"HTTP/1.1 200 OK\r\n" + PLAIN_HEAD + added + b"Content-Length: 5\r\n\r\nplain"


# --- versions, methods, targets ---


def test_version_may_be_bytes(stage: Scene) -> None:
    assert ask(stage, "/version") == (request_line_and(target="/version"), plain_with())


def test_each_side_speaks_its_own_version_whatever_a_filter_says(stage: Scene) -> None:
    assert ask(stage, "/old-version") == (request_line_and(target="/old-version"), plain_with())


def test_method_and_url_may_be_bytes(stage: Scene) -> None:
    up, down = ask(stage, "/line")
    assert up == request_line_and("Content-Length: 0", target="/moved?x=1", method="PUT")
    assert down == plain_with()


# --- headers ---


def test_str_bytes_and_bytearray_stand_side_by_side(stage: Scene) -> None:
    assert ask(stage, "/mixed") == (
        request_line_and("X-Mixed: str", "X-Mixed: bytes", "X-Mixed: bytearray", target="/mixed"),
        plain_with("X-Mixed: bytearray", "X-Mixed: bytes", "X-Mixed: str"),
    )


def test_header_names_may_be_bytes(stage: Scene) -> None:
    sent, _ = ask(stage, "/names", "X-Drop: 1", "X-Old: 1", "x-drop: 2", "x-old: 2")
    assert sent == request_line_and("X-New: one", "X-New: two", target="/names").replace(
        b"a.test\r\nVia", b"a.test\r\nX-Old: new\r\nVia"
    )


def test_loop_over_the_dict_of_headers_may_change_them(stage: Scene) -> None:
    sent, _ = ask(stage, "/loop", "X-A: one", "x-a: two", "Content-Type: text/plain")
    assert sent == (
        b"GET /loop HTTP/1.1\r\nHost: A.TEST\r\nX-A: ONE\r\nX-A: TWO\r\nContent-Type: TEXT/PLAIN\r\n"
        b"Via: 1.1 PYROX\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: HTTP\r\n"
        b"X-Forwarded-Host: A.TEST\r\n"
        b"X-Names: content-type host via x-a x-forwarded-for x-forwarded-host x-forwarded-proto\r\n\r\n"
    )


def test_headers_are_a_dict(stage: Scene) -> None:
    sent, _ = ask(stage, "/dict", "X-A: one", "X-B: one", "X-A: two", "X-C: one")
    assert sent == request_line_and("X-Added: added", target="/dict").replace(
        b"a.test\r\nVia", b"a.test\r\nX-B: changed\r\nX-C: one\r\nVia"
    )


def test_header_objects_may_be_those_of_another_message(stage: Scene) -> None:
    for _ in range(2):
        up, down = ask(stage, "/borrowed", "X-Id: 6")
        assert up == request_line_and(target="/borrowed").replace(
            b"a.test\r\nVia", b"a.test\r\nX-Id: 6\r\nX-Id: 7\r\nVia"
        )
        assert down == plain_with("X-Id: 6", "X-Id: 7", "X-Served-By: us")


def test_headers_may_be_replaced_as_a_whole(stage: Scene) -> None:
    assert ask(stage, "/borrowed-all", "X-Id: 6")[1] == (
        b"HTTP/1.1 200 OK\r\nVia: 1.1 pyrox\r\nHost: a.test\r\nX-Id: 6\r\nX-Forwarded-For: 127.0.0.1\r\n"
        b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\nContent-Length: 5\r\n\r\nplain"
    )
    assert ask(stage, "/fewer")[1] == plain_with().replace(b"Via: 1.1 pyrox\r\n", b"")


def test_header_without_values_is_not_sent(stage: Scene) -> None:
    assert ask(stage, "/emptied", "X-A: one")[0] == request_line_and(target="/emptied")


def test_lines_of_a_field_stay_apart_and_set_cookie_above_all(stage: Scene) -> None:
    up, down = ask(stage, "/cookies", "X-Several: a, b", "X-Several: c")
    assert up == request_line_and("X-Seen: a, b", "X-Seen: c", target="/cookies").replace(
        b"a.test\r\nVia", b"a.test\r\nX-Several: a, b\r\nX-Several: c\r\nVia"
    )
    cookies = [*COOKIES, "Set-Cookie: c=3; Expires=Wed, 21 Oct 2015 07:28:00 GMT"]
    assert (
        down
        == (
            "HTTP/1.1 200 OK\r\n" + "".join(f"{cookie}\r\n" for cookie in cookies) + "Date: today\r\n"
            "Via: 1.1 pyrox\r\nContent-Length: 0\r\n\r\n"
        ).encode()
    )
    stage.proxy.wait_for_log("3 cookies")


# --- framing ---


def test_content_length_is_there_to_be_looked_at(stage: Scene) -> None:
    assert stage.ask(post("/length", b"body")).status == 200
    assert stage.sent_up == request_line_and("Content-Length: 4", target="/length", method="POST") + b"body"
    assert stage.sent_down == plain_with()
    stage.proxy.wait_for_log("length ['4'] coding []\nlength ['5']\n")
    stage.ask(get("/length", "Transfer-Encoding: chunked", method="PUT") + chunked(b"body"))
    stage.proxy.wait_for_log("length [] coding ['chunked']\n")
    stage.ask(get("/length"))
    stage.proxy.wait_for_log("length [] coding []\n")
    stage.ask_plain()


def test_framing_that_a_filter_makes_up_is_not_believed(stage: Scene) -> None:
    answer = stage.ask(post("/wrong-length", b"body", "X-A: a"))
    assert (answer.status, answer.body) == (200, b"plain")
    [sent] = [one for one in stage.origin.requests if one.target == "/wrong-length"]
    assert (sent.body, sent.framing, sent.get("x-a"), sent.get("connection")) == (
        b"body",
        "length",
        b"a",
        None,
    )
    assert stage.sent_down == plain_with()
    stage.ask_plain()
    stage.ask(get("/wrong-answer-length"))
    assert stage.sent_down == b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\n\r\nshort"
    stage.ask_plain()


def test_answer_without_content_length_leaves_the_connection_usable(stage: Scene) -> None:
    head = b"HTTP/1.1 200 OK\r\nDate: now\r\n"
    for _ in range(2):
        assert ask(stage, "/no-length") == (
            b"",
            head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"no ", b"length"),
        )
        assert ask(stage, "/no-body") == (b"", head + b"Content-Length: 0\r\n\r\n")
    assert ask(stage, "/no-length", method="HEAD")[1].startswith(head)


# --- attributes, print ---


def test_messages_take_attributes_of_any_name(stage: Scene) -> None:
    assert ask(stage, "/own")[1] == plain_with("X-Own: [12345, 'hello', True]")


def test_print_is_seen(stage: Scene) -> None:
    ask(stage, "/print")
    stage.proxy.wait_for_log(
        "printed GET /print\nwithout a newline; written \u20ac\nGET /print HTTP/1.1\nHTTP/1.1 200 Fine\n"
    )


def test_print_of_what_the_encoding_lacks_is_no_failure() -> None:
    with scene("habits", "", {"habits": "habits.Habits"}, env={"PYTHONIOENCODING": "ascii"}) as stage:
        assert stage.ask(get("/print")).status == 200
        stage.ask_plain()
    assert "; written \\u20ac\n" in stage.proxy.error_log()


# --- answers ---


def test_one_response_serves_many_requests(stage: Scene) -> None:
    for target in ("/shared", "/action"):
        for _ in range(3):
            assert ask(stage, target) == (b"", FORBIDDEN)
    assert ask(stage, "/replaced")[1] == FORBIDDEN


def test_one_response_serves_many_clients_at_a_time(stage: Scene) -> None:
    clients = [Client(stage.proxy.address) for _ in range(20)]
    try:
        for client in clients:
            client.send(get("/shared") * 5)
        for client in clients:
            assert [client.read_response().get_all("x-shared") for _ in range(5)] == [[b"yes"]] * 5
    finally:
        for client in clients:
            client.close()
    stage.ask_plain()


def test_reject_without_a_response_is_the_default(stage: Scene) -> None:
    assert ask(stage, "/default") == (b"", REFUSED)


# --- statuses ---


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("code", b"404 Not Found"),
        ("bytes", b"404 Not Found"),
        ("number", b"404 Not Found"),
        ("phrase", b"404 Nowhere To Be Found"),
        ("bytearray", b"404 Not Found"),
        ("unknown", b"599 "),
    ],
)
def test_status_in_every_form(stage: Scene, kind: str, line: bytes) -> None:
    assert ask(stage, f"/status?{kind}")[1] == plain_with().replace(b"200 OK", line)


def test_status_of_an_answer_may_be_a_code_in_bytes(stage: Scene) -> None:
    assert ask(stage, "/status-of-answer") == (
        b"",
        b"HTTP/1.1 404 Not Found\r\nDate: now\r\nContent-Length: 4\r\n\r\nnone",
    )


# --- injections ---

INJECTIONS = [
    *(f"/inject?{kind}" for kind in ("cr", "lf", "crlf", "nul", "bytes")),
    *("/inject-name", "/inject-line", "/inject-method", "/inject-answer", "/no-text"),
]


@pytest.mark.parametrize("target", INJECTIONS)
def test_failing_injection_into_a_request_is_refused_and_logged_once(stage: Scene, target: str) -> None:
    before = len(stage.proxy.error_log())
    assert ask(stage, target) == (b"", REFUSED)
    log = stage.proxy.error_log()[before:]
    assert log.count("Traceback") == log.count(" ERROR ") == 1
    assert "Error: " in log


@pytest.mark.parametrize("target", ["/inject-response", "/inject-phrase"])
def test_failing_injection_into_a_response_is_refused_and_logged_once(stage: Scene, target: str) -> None:
    before = len(stage.proxy.error_log())
    assert ask(stage, target)[1] == REFUSED
    log = stage.proxy.error_log()[before:]
    assert log.count("Traceback") == log.count(" ERROR ") == 1
    assert "Set-Cookie: session=mine" not in [line.strip() for line in log.splitlines()]


# --- bodies ---


@pytest.fixture(scope="module")
def body_stage() -> Iterator[Scene]:
    with scene(
        "habits", "habits", {"habits": "body_habits.BodyHabits"}, pipeline={"use_singletons": True}
    ) as stage:
        yield stage


@pytest.mark.parametrize(
    ("target", "up", "down"),
    [
        ("/types", b"str bytes bytearray body", b"str bytes bytearray plain"),
        ("/dropped", b"", b""),
        ("/wrapped", b"<body>", b"<plain>"),
        ("/in-place", b"ydob", b"nialp"),
        ("/untouched", b"body", b"plain"),
    ],
)
def test_bodies_may_be_written_in_every_form(body_stage: Scene, target: str, up: bytes, down: bytes) -> None:
    answer = body_stage.ask(post(target, b"body"))
    assert (answer.status, answer.body) == (200, down)
    assert body_stage.origin.requests[-1].body == up
    assert answer.framing == "chunked"
    body_stage.ask_plain()
