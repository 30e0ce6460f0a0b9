"""``Headers``: ordered, case-insensitive, byte-exact, and nothing in it that could split a message."""

from __future__ import annotations

import copy

import pytest

from pyrox.http.headers import Headers, make_field


@pytest.fixture
def headers() -> Headers:
    return Headers([("Host", "a"), ("Set-Cookie", "x=1"), ("Accept", "*/*"), ("set-cookie", "y=2")])


def test_lookup_ignores_case_and_gives_the_first_line(headers: Headers) -> None:
    assert headers["SET-COOKIE"] == "x=1"
    assert headers.get("set-cookie") == "x=1"
    assert "hOST" in headers


def test_get_all_gives_every_line_in_order(headers: Headers) -> None:
    assert headers.get_all("Set-Cookie") == ["x=1", "y=2"]
    assert headers.get_all("Absent") == []


def test_missing_name(headers: Headers) -> None:
    with pytest.raises(KeyError, match="Absent"):
        headers["Absent"]
    assert headers.get("Absent") is None
    assert headers.get("Absent", "default") == "default"
    assert "Absent" not in headers


@pytest.mark.parametrize("name", ["\u20ac", "H\u00f6st", "\u212aeep-Alive", "", "Ho?t", "?"])
def test_name_that_no_field_can_have_is_not_there(name: str) -> None:
    headers = Headers([("Keep-Alive", "1"), ("Host", "a")])
    assert name not in headers
    assert headers.get(name) is None
    assert headers.get_all(name) == []
    headers.discard(name)
    assert len(headers) == 2
    with pytest.raises(KeyError):
        headers[name]
    with pytest.raises(KeyError):
        del headers[name]


def test_something_that_is_not_a_str_is_not_there(headers: Headers) -> None:
    assert b"host" not in headers
    assert None not in headers


def test_assignment_leaves_one_line_where_the_first_stood(headers: Headers) -> None:
    headers["SET-cookie"] = "z=3"
    assert headers.items() == [("Host", "a"), ("SET-cookie", "z=3"), ("Accept", "*/*")]


def test_assignment_of_a_new_name_appends(headers: Headers) -> None:
    headers["New"] = "1"
    assert headers.items()[-1] == ("New", "1")
    assert len(headers) == 5


def test_add_keeps_the_lines_there_are(headers: Headers) -> None:
    headers.add("Set-Cookie", "z=3")
    assert headers.get_all("set-cookie") == ["x=1", "y=2", "z=3"]


def test_delete_removes_every_line(headers: Headers) -> None:
    del headers["set-cookie"]
    assert headers.items() == [("Host", "a"), ("Accept", "*/*")]
    with pytest.raises(KeyError):
        del headers["set-cookie"]


def test_discard_does_not_mind_absence(headers: Headers) -> None:
    headers.discard("SET-COOKIE")
    headers.discard("SET-COOKIE")
    assert headers.items() == [("Host", "a"), ("Accept", "*/*")]


def test_pop_and_setdefault_come_with_being_a_mapping(headers: Headers) -> None:
    assert headers.pop("accept") == "*/*"
    assert headers.pop("accept", None) is None
    assert headers.setdefault("host", "b") == "a"
    assert headers.setdefault("Age", "0") == "0"
    assert headers["age"] == "0"
    headers.clear()
    assert headers.items() == []


def test_iteration_and_length_are_of_lines(headers: Headers) -> None:
    assert list(headers) == ["Host", "Set-Cookie", "Accept", "set-cookie"]
    assert headers.values() == ["a", "x=1", "*/*", "y=2"]
    assert len(headers) == 4


def test_update_keeps_every_line_of_a_repeated_field(headers: Headers) -> None:
    headers.update(Headers([("Set-Cookie", "p"), ("Age", "0"), ("Set-Cookie", "q")]))
    assert headers.get_all("set-cookie") == ["p", "q"]
    assert headers.items()[:2] == [("Host", "a"), ("Accept", "*/*")]


def test_update_takes_a_dict_and_changes_nothing_when_a_line_is_bad(headers: Headers) -> None:
    headers.update({"host": "b"})
    assert headers.get_all("Host") == ["b"]
    before = headers.items()
    with pytest.raises(ValueError, match="control"):
        headers.update({"Host": "c", "Bad": "a\nb"})
    assert headers.items() == before


def test_made_from_a_mapping_or_other_headers() -> None:
    assert Headers({"A": "1"}).items() == [("A", "1")]
    original = Headers([("A", "1"), ("a", "2")])
    duplicate = Headers(original)
    duplicate["A"] = "3"
    assert original.get_all("A") == ["1", "2"]


@pytest.mark.parametrize("duplicate_of", [Headers.copy, copy.copy, copy.deepcopy])
def test_copy_is_equal(headers: Headers, duplicate_of) -> None:  # type: ignore[no-untyped-def]
    assert duplicate_of(headers) == headers


def test_copy_is_independent(headers: Headers) -> None:
    duplicate = headers.copy()
    duplicate.add("X", "1")
    del duplicate["Host"]
    assert len(headers) == 4


def test_equality_ignores_the_case_of_names_and_nothing_else() -> None:
    assert Headers([("A", "x")]) == Headers([("a", "x")])
    assert Headers([("A", "x")]) != Headers([("A", "X")])
    assert Headers([("A", "1"), ("B", "2")]) != Headers([("B", "2"), ("A", "1")])
    assert Headers([("A", "x")]) != [("A", "x")]


def test_headers_are_not_hashable(headers: Headers) -> None:
    with pytest.raises(TypeError):
        hash(headers)


def test_repr_shows_the_lines() -> None:
    assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"


def test_values_are_latin1_text_of_the_bytes_on_the_wire() -> None:
    fields = [(b"x", b"X", b"\xe4\xff")]
    headers = Headers.from_fields(fields)
    assert headers["X"] == "\u00e4\u00ff"
    headers["Y"] = "\u00e4"
    assert headers.fields[1] == (b"y", b"Y", b"\xe4")
    assert headers.fields is fields


def test_outer_whitespace_of_a_value_is_not_part_of_it() -> None:
    assert make_field("X-Y", "\t a\tb  ") == (b"x-y", b"X-Y", b"a\tb")


@pytest.mark.parametrize(
    "name", ["", " A", "A ", "A B", "A:", "A\r\nB", "A\n", "A\x00", "\u00c4", "A(", '"A"', "A/"]
)
def test_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="invalid header name"):
        make_field(name, "v")
    headers = Headers()
    with pytest.raises(ValueError, match="invalid header name"):
        headers[name] = "v"
    with pytest.raises(ValueError, match="invalid header name"):
        headers.add(name, "v")
    assert len(headers) == 0


@pytest.mark.parametrize(
    "value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "\x00", "a\x1b[0m", "\x7f", "\x0b", "\n", "a\r"]
)
def test_value_with_a_control_character_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        make_field("X", value)
    with pytest.raises(ValueError, match="control character"):
        Headers([("X", value)])


def test_value_outside_latin1_is_refused() -> None:
    with pytest.raises(ValueError, match="latin-1"):
        make_field("X", "\u20ac")


@pytest.mark.parametrize(("name", "value"), [("X", 1), ("X", None), ("X", b"1"), (b"X", "1"), (None, "1")])
def test_anything_but_str_is_refused(name: str, value: str) -> None:
    with pytest.raises(TypeError):
        make_field(name, value)
