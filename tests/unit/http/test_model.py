"""The messages of Pyrox 0.4: what they tell, and what of a change reaches the native message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.http.framing import CHUNKED
from pyrox.http.headers import Headers
from pyrox.http.message import Request, Response
from pyrox.http.model import HttpHeader, HttpMessage, HttpRequest, HttpResponse, as_text

LINES = [
    ("Host", "a.test"),
    ("X-Many", "1"),
    ("Accept", "*/*"),
    ("x-many", "2"),
    ("Cookie", "a=b"),
    ("X-MANY", "3"),
]


@pytest.fixture
def native() -> Request:
    return Request("GET", "/a?b=c", LINES)


@pytest.fixture
def view(native: Request) -> HttpRequest:
    return HttpRequest.of(native)


def sent(view: HttpMessage) -> list[tuple[str, str]]:
    """The lines of the native message after all changes were carried over."""
    view.write_back()
    return view._native.headers.items()  # type: ignore[no-any-return]


# --- headers ----------------------------------------------------------------------------------------


def test_header_has_a_name_and_no_values() -> None:
    header = HttpHeader("X-Name")
    assert (header.name, header.values) == ("X-Name", [])
    assert HttpHeader(b"x").name == b"x"
    assert repr(header) == "HttpHeader('X-Name', [])"


def test_header_is_found_whatever_the_case(view: HttpRequest) -> None:
    for name in ("x-many", "X-MANY", b"X-Many", bytearray(b"x-mAny")):
        header = view.get_header(name)
        assert header is not None
        assert (header.name, header.values) == ("X-Many", ["1", "2", "3"])
        assert view.header(name) is header


def test_header_that_is_not_there_is_none_or_new(view: HttpRequest) -> None:
    assert view.get_header("X-None") is None
    header = view.header("X-None")
    assert (header.name, header.values) == ("X-None", [])
    assert view.header("x-none") is header
    assert view.get_header("x-none") is header


def test_headers_is_a_dict_by_lower_case_name(view: HttpRequest) -> None:
    assert isinstance(view.headers, dict)
    assert {key: header.values for key, header in view.headers.items()} == {
        "host": ["a.test"],
        "x-many": ["1", "2", "3"],
        "accept": ["*/*"],
        "cookie": ["a=b"],
    }
    assert [header.name for header in view.headers.values()] == ["Host", "X-Many", "Accept", "Cookie"]
    assert view.headers is view.headers
    assert ("accept" in view.headers, "Accept" in view.headers) == (True, False)


def test_dict_has_what_was_asked_for_before(view: HttpRequest) -> None:
    known, new = view.header("accept"), view.header("X-New")
    view.remove_header("cookie")
    assert view.headers["accept"] is known
    assert view.headers["x-new"] is new
    assert list(view.headers) == ["host", "x-many", "accept", "x-new"]
    assert view.get_header("host") is view.headers["host"]


@pytest.mark.parametrize("has_all", [False, True])
def test_removal_says_whether_there_was_one(view: HttpRequest, has_all: bool) -> None:
    if has_all:
        assert view.headers
    assert view.remove_header(b"X-MANY") is True
    assert view.remove_header("x-many") is False
    assert view.remove_header("x-none") is False
    assert view.get_header("x-many") is None
    assert "x-many" not in view.headers
    assert sent(view) == [LINES[0], LINES[2], LINES[4]]


@pytest.mark.parametrize("has_all", [False, True])
def test_replacement_is_a_new_header_in_the_place_of_the_old(view: HttpRequest, has_all: bool) -> None:
    if has_all:
        assert view.headers
    old = view.get_header("x-many")
    header = view.replace_header("X-mAny")
    assert header is not old and (header.name, header.values) == ("X-mAny", [])
    assert view.get_header("x-many") is header
    header.values += ["9", "8"]
    assert sent(view) == [LINES[0], ("X-mAny", "9"), ("X-mAny", "8"), LINES[2], LINES[4]]


def test_replacement_without_values_sends_no_line(view: HttpRequest) -> None:
    view.replace_header("x-many")
    view.replace_header("x-none")
    assert sent(view) == [LINES[0], LINES[2], LINES[4]]


def test_as_text_takes_text_of_any_kind() -> None:
    assert [as_text(value) for value in ("\xe4", b"\xe4", bytearray(b"\xe4"))] == ["\xe4"] * 3
    for value in (None, 5, ["a"], memoryview(b"a")):
        with pytest.raises(TypeError, match="str, bytes or bytearray is expected"):
            as_text(value)  # type: ignore[arg-type]


# --- what is carried over ---------------------------------------------------------------------------


def test_view_that_was_not_used_changes_nothing(native: Request, view: HttpRequest) -> None:
    before = native.headers.fields
    view.write_back()
    assert native.headers.fields is before


@pytest.mark.parametrize("has_all", [False, True])
def test_headers_that_were_only_read_keep_their_lines_as_they_were(
    native: Request, view: HttpRequest, has_all: bool
) -> None:
    before = native.headers.fields
    assert view.header("x-many").values and view.get_header("x-none") is None
    assert not has_all or view.headers
    view.write_back()
    assert native.headers.fields is before


@pytest.mark.parametrize("has_all", [False, True])
def test_changed_header_comes_together_where_its_first_line_was(view: HttpRequest, has_all: bool) -> None:
    header = view.headers["x-many"] if has_all else view.header("x-many")
    header.values.append("4")
    many = [("X-Many", value) for value in "1234"]
    assert sent(view) == [LINES[0], *many, LINES[2], LINES[4]]


def test_untouched_lines_keep_their_order_between_each_other(view: HttpRequest) -> None:
    view.headers["accept"].values[0] = "text/html"
    assert sent(view) == [*LINES[:2], ("Accept", "text/html"), *LINES[3:]]


@pytest.mark.parametrize("has_all", [False, True])
def test_new_headers_come_last_in_order(view: HttpRequest, has_all: bool) -> None:
    if has_all:
        view.headers["x-b"] = HttpHeader("X-B")
        view.headers["x-b"].values.append("1")
    else:
        view.header("X-B").values.append("1")
    view.header("X-A").values += ["2", "3"]
    assert sent(view) == [*LINES, ("X-B", "1"), ("X-A", "2"), ("X-A", "3")]


@pytest.mark.parametrize("has_all", [False, True])
def test_renamed_header_stands_where_it_stood(view: HttpRequest, has_all: bool) -> None:
    header = view.headers["x-many"] if has_all else view.header("x-many")
    header.name = b"X-Few"
    assert sent(view) == [LINES[0], *(("X-Few", value) for value in "123"), LINES[2], LINES[4]]


@pytest.mark.parametrize("has_all", [False, True])
def test_header_that_takes_the_name_of_another_takes_nothing_from_it(
    view: HttpRequest, has_all: bool
) -> None:
    (view.headers["accept"] if has_all else view.header("accept")).name = "Cookie"
    assert sent(view) == [*LINES[:2], ("Cookie", "*/*"), *LINES[3:]]


def test_name_in_another_case_is_sent(view: HttpRequest) -> None:
    view.header("accept").name = "ACCEPT"
    assert sent(view) == [*LINES[:2], ("ACCEPT", "*/*"), *LINES[3:]]


def test_dict_may_be_changed_in_every_way(view: HttpRequest) -> None:
    del view.headers["host"]
    view.headers.pop("accept").values.append("gone")
    moved = view.headers.pop("cookie")
    view.headers["whatever"] = moved
    new = view.headers["x-many"] = HttpHeader("X-Other")
    new.values.append("new")
    assert sent(view) == [("Cookie", "a=b"), ("X-Other", "new")]


def test_whole_dict_may_be_replaced(view: HttpRequest) -> None:
    kept, new = view.headers["accept"], HttpHeader("X-New")
    new.values.append("1")
    view.headers = {"x-new": new, "accept": kept}
    assert sent(view) == [("Accept", "*/*"), ("X-New", "1")]


def test_cleared_dict_sends_nothing(view: HttpRequest) -> None:
    view.headers.clear()
    assert sent(view) == []
    assert view.to_bytes() == b"GET /a?b=c HTTP/1.1\r\n\r\n"


def test_removed_header_may_come_back(view: HttpRequest) -> None:
    view.remove_header("x-many")
    view.header("x-many").values.append("back")
    assert sent(view) == [LINES[0], ("x-many", "back"), LINES[2], LINES[4]]


def test_value_that_was_emptied_sends_no_line(view: HttpRequest) -> None:
    del view.header("x-many").values[:]
    assert sent(view) == [LINES[0], LINES[2], LINES[4]]


def test_text_of_every_kind_is_sent_as_latin_1(native: Request, view: HttpRequest) -> None:
    view.header("X-New").values += ["\xe4", b"\xe4", bytearray(b"\xe4")]
    view.write_back()
    assert [field[2] for field in native.headers.fields[-3:]] == [b"\xe4"] * 3


def test_several_changes_are_carried_over_one_by_one(view: HttpRequest) -> None:
    view.header("X-New").values.append("1")
    assert sent(view)[-1] == ("X-New", "1")
    view.header("X-New").values.append("2")
    view.header("cookie").values[0] = "c=d"
    assert sent(view) == [*LINES[:4], ("Cookie", "c=d"), LINES[5], ("X-New", "1"), ("X-New", "2")]
    assert sent(view) == sent(view)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\x00b", b"a\r\nb", "\u20ac", "\x7f"])
def test_value_that_would_forge_a_line_is_refused(native: Request, view: HttpRequest, value: Any) -> None:
    view.header("accept").values[0] = "text/html"
    view.header("X-New").values.append(value)
    with pytest.raises(ValueError, match="X-New"):
        view.write_back()
    assert native.headers.items() == LINES


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "\xe4", "\u212a"])
def test_name_that_is_no_token_is_refused(native: Request, view: HttpRequest, name: str) -> None:
    view.header(name).values.append("1")
    with pytest.raises(ValueError, match="invalid header name"):
        view.write_back()
    assert native.headers.items() == LINES


@pytest.mark.parametrize("value", [None, 5, 1.5, ["a"]])
def test_value_that_is_no_text_is_refused(native: Request, view: HttpRequest, value: Any) -> None:
    view.header("X-New").values.append(value)
    with pytest.raises(TypeError, match="str, bytes or bytearray is expected"):
        view.write_back()
    assert native.headers.items() == LINES


def test_what_is_no_header_is_refused_by_its_name(native: Request, view: HttpRequest) -> None:
    view.headers["x-new"] = "value"  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"headers\['x-new'\] is 'value', not an HttpHeader"):
        view.write_back()
    assert native.headers.items() == LINES


# --- what is carried over, whatever is done ---------------------------------------------------------

_names = st.sampled_from(["a", "A", "b", "B", "c", "X"])
_lines = st.lists(st.tuples(_names, st.sampled_from(["1", "2", ""])), max_size=6)
_changes = st.lists(
    st.one_of(
        st.tuples(st.just("read"), _names),
        st.tuples(st.just("remove"), _names),
        st.tuples(st.just("replace"), _names, st.lists(st.just("9"), max_size=2)),
        st.tuples(st.just("append"), _names, st.sampled_from(["7", b"8"])),
        st.tuples(st.just("empty"), _names),
        st.tuples(st.just("respell"), _names),
        st.tuples(st.just("all")),
    ),
    max_size=8,
)


def _do(view: HttpRequest, kind: str, name: str = "", value: Any = None) -> None:
    if kind == "read":
        view.get_header(name)
    elif kind == "remove":
        view.remove_header(name)
    elif kind == "replace":
        view.replace_header(name).values += value
    elif kind == "append":
        view.header(name).values.append(value)
    elif kind == "empty":
        view.header(name).values.clear()
    elif kind == "respell":
        view.header(name).name = name.swapcase()
    else:
        assert view.headers is not None


def _by_name(lines: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in lines:
        found.setdefault(name.lower(), []).append(value)
    return found


@given(_lines, _changes)
def test_native_message_ends_up_with_what_the_view_shows(
    lines: list[tuple[str, str]], changes: list[Any]
) -> None:
    """The values of each name are those of the dict, and those that were not touched keep their order."""
    native = Request("GET", "/", lines)
    view = HttpRequest.of(native)
    model = _by_name(lines)
    touched = set()
    for kind, *arguments in changes:
        _do(view, kind, *arguments)
        key = arguments[0].lower() if arguments else ""
        if kind in ("remove", "replace", "append", "empty", "respell"):
            touched.add(key)
        if kind == "remove":
            model.pop(key, None)
        elif kind == "replace":
            model[key] = list(arguments[1])
        elif kind == "append":
            model.setdefault(key, []).append(as_text(arguments[1]))
        elif kind == "empty":
            model[key] = []
    view.write_back()
    after = native.headers.items()
    assert _by_name(after) == {key: values for key, values in model.items() if values}
    untouched = [line for line in lines if line[0].lower() not in touched]
    assert [line for line in after if line[0].lower() not in touched] == untouched
    shown = {key: [as_text(value) for value in header.values] for key, header in view.headers.items()}
    assert {key: values for key, values in shown.items() if values} == _by_name(after)
    in_bytes = view.to_bytes().lower().split(b"\r\n")[1:-2]
    assert sorted(in_bytes) == sorted(f"{name}: {value}".lower().encode() for name, value in after)


# --- framing ----------------------------------------------------------------------------------------


def with_length(length: int | None) -> HttpRequest:
    native = Request("POST", "/", LINES)
    native.content_length = length
    return HttpRequest.of(native)


def test_filter_sees_the_length_that_the_engine_has_taken_out() -> None:
    view = with_length(5)
    assert view.get_header("Content-Length").values == ["5"]  # type: ignore[union-attr]
    assert view.get_header("transfer-encoding") is None
    assert with_length(5).headers["content-length"].values == ["5"]
    assert "content-length" not in with_length(None).headers


def test_filter_sees_that_a_body_is_chunked() -> None:
    view = with_length(CHUNKED)
    assert view.header("transfer-encoding").values == ["chunked"]
    assert view.get_header("content-length") is None
    response = Response(200)
    response.body_length = CHUNKED
    assert HttpResponse.of(response, view).header("Transfer-Encoding").values == ["chunked"]


def test_framing_that_was_only_looked_at_is_not_written() -> None:
    view = with_length(5)
    assert view.headers and view.header("content-length")
    assert sent(view) == LINES


@pytest.mark.parametrize("has_all", [False, True])
def test_framing_may_be_removed(has_all: bool) -> None:
    view = with_length(5)
    assert not has_all or view.headers
    assert view.remove_header("content-length") is True
    assert view.get_header("content-length") is None
    assert sent(view) == LINES


# --- messages ---------------------------------------------------------------------------------------


def test_message_has_a_version_headers_and_data() -> None:
    message = HttpMessage()
    assert (message.version, message.headers, message.local_data) == ("1.1", {}, {})
    assert HttpMessage("1.0").version == "1.0"
    assert HttpMessage(version=b"1.0").version == b"1.0"
    message.header("X").values.append("1")
    assert list(message.headers) == ["x"]


def test_subclass_may_begin_with_headers() -> None:
    class Own(HttpResponse):
        def set_default_headers(self) -> None:
            self.header("Server").values.append("own")

    assert Own().to_bytes() == b"HTTP/1.1 200 OK\r\nServer: own\r\n\r\n"
    assert HttpMessage().set_default_headers() is None  # type: ignore[func-returns-value]


def test_messages_do_not_share_what_they_hold() -> None:
    first, second = HttpResponse(), HttpResponse()
    first.local_data["x"] = 1
    first.header("X").values.append("1")
    assert (second.local_data, second.headers) == ({}, {})


def test_request_made_by_a_filter() -> None:
    request = HttpRequest()
    request.method = b"POST"
    request.url = bytearray(b"/a?b#c")
    request.version = b"1.0"
    request.header("Host").values.append("a.test")
    assert (request.method, request.url) == ("POST", "/a?b")
    assert request.to_bytes() == b"POST /a?b HTTP/1.0\r\nHost: a.test\r\n\r\n"


def test_request_is_a_view_on_the_native_one(native: Request, view: HttpRequest) -> None:
    assert (view.method, view.url, view.version) == ("GET", "/a?b=c", "1.1")
    view.method, view.url = "PUT", "/x"
    assert (native.method, native.target) == ("PUT", "/x")
    native.target = "/y"
    assert view.url == "/y"
    assert view.local_data is native.state


@pytest.mark.parametrize("method", ["", "A B", "A\r\n", None, 5])
def test_bad_method_is_refused(view: HttpRequest, method: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        view.method = method
    assert view.method == "GET"


@pytest.mark.parametrize("url", ["", "x", "/a b", "/\r\nX: y", "http://a.test/", None])
def test_bad_url_is_refused(view: HttpRequest, url: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        view.url = url
    assert view.url == "/a?b=c"


def test_request_in_bytes_is_what_it_was(view: HttpRequest) -> None:
    assert view.to_bytes() == (
        b"GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nX-Many: 1\r\nX-Many: 2\r\nX-Many: 3\r\n"
        b"Accept: */*\r\nCookie: a=b\r\n\r\n"
    )
    assert with_length(5).to_bytes().startswith(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n")


def test_bytes_that_would_forge_a_line_are_refused(view: HttpRequest) -> None:
    view.header("X").values.append("a\r\nb")
    with pytest.raises(ValueError, match="control character"):
        view.to_bytes()


def test_version_of_a_view_does_not_reach_the_wire(native: Request, view: HttpRequest) -> None:
    view.version = b"1.0"
    view.write_back()
    assert native.version == "1.1"
    assert view.to_bytes().startswith(b"GET /a?b=c HTTP/1.0\r\n")


# --- responses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "seen", "code", "reason"),
    [
        ("404 Not Found", "404 Not Found", 404, "Not Found"),
        (b"404 Gone Fishing", "404 Gone Fishing", 404, "Gone Fishing"),
        (bytearray(b"204"), "204 No Content", 204, "No Content"),
        ("299", "299", 299, ""),
        ("503 ", "503 Service Unavailable", 503, "Service Unavailable"),
        (418, "418 I'm a Teapot", 418, "I'm a Teapot"),
    ],
)
def test_status_is_a_code_and_a_phrase(status: Any, seen: str, code: int, reason: str) -> None:
    native = Response(200)
    view = HttpResponse.of(native, HttpRequest())
    view.status = status
    assert (view.status, native.status, native.reason) == (seen, code, reason)


@pytest.mark.parametrize(
    "status",
    ["", "abc", "20x OK", "99 Low", "100 Continue", "600", "-200", " 200", "\u0662\u0660\u0660", None],
)
def test_status_that_is_none_is_refused(status: Any) -> None:
    response = HttpResponse()
    with pytest.raises((ValueError, TypeError)):
        response.status = status
    assert response.status == "200 OK"


def test_phrase_that_would_forge_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="reason phrase"):
        HttpResponse().status = "200 OK\r\nX: y"


def test_response_shares_its_data_with_the_request(view: HttpRequest) -> None:
    response = HttpResponse.of(Response(200, headers={"A": "b"}), view)
    view.local_data["x"] = 1
    assert response.local_data is view.local_data
    assert (response.status, response.version, response.header("a").values) == ("200 OK", "1.1", ["b"])


def test_response_made_by_a_filter_becomes_a_native_one() -> None:
    response = HttpResponse()
    response.status = "405 Not Here"
    response.header("Allow").values += ["GET", b"HEAD"]
    native = response.to_native(b"body")
    assert (native.status, native.reason, native.body) == (405, "Not Here", b"body")
    assert native.headers == Headers([("Allow", "GET"), ("Allow", "HEAD")])
    assert native.content_length is None


def test_response_may_serve_again_and_again() -> None:
    """A static instance, as the documentation advises: no exchange may change it for the next."""
    response = HttpResponse()
    response.header("X").values.append("1")
    first = response.to_native()
    first.headers["X"] = "changed"
    first.status = 500
    assert response.to_native().headers.items() == [("X", "1")]
    assert response.to_native() is not response.to_native()
    response.header("X").values.append("2")
    assert response.to_native().headers.items() == [("X", "1"), ("X", "2")]
    assert response.status == "200 OK"


@pytest.mark.parametrize(
    ("declared", "length"), [("5", 5), ("0", 0), ("many", None), ("-1", None), ("9" * 30, None)]
)
def test_declared_length_is_kept_for_the_answer_to_head(declared: str, length: int | None) -> None:
    response = HttpResponse()
    response.header("Content-Length").values.append(declared)
    assert response.to_native().content_length == length


def test_view_on_an_upstreams_response_may_be_an_answer() -> None:
    native = Response(200, b"old", {"X": "1"})
    native.content_length = 3
    view = HttpResponse.of(native, HttpRequest())
    view.status = "403 No"
    view.header("X").values.append("2")
    answer = view.to_native(b"new")
    assert (answer.status, answer.reason, answer.body) == (403, "No", b"new")
    assert answer.headers.get_all("x") == ["1", "2"]


def test_response_in_bytes() -> None:
    response = HttpResponse()
    response.version = b"1.0"
    response.status = "200 Fine"
    response.header("A").values += ["1", "2"]
    assert response.to_bytes() == b"HTTP/1.0 200 Fine\r\nA: 1\r\nA: 2\r\n\r\n"
