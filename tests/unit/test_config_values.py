"""The types of options: what they accept. What they refuse is in config_problems.txt."""

from __future__ import annotations

import pytest
from gunicorn.util import parse_address
from hypothesis import given
from hypothesis import strategies as st

from pyrox.config_values import check_binds, check_boolean, parse_bind, parse_seconds, parse_size, parse_url


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        ("0.5", 0.5),
        ("500ms", 0.5),
        ("1.5 s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("0.0000001", 0.0),
    ],
)
def test_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("65536", 65536), ("64k", 65536), ("1M", 1 << 20), ("2 g", 2 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["99999999999999999999", "1.5k", "k", "", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_a_size_beyond_what_a_length_can_say_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 9223372036854775807 bytes"):
        parse_size("9223372036854775808")


def test_booleans_in_any_case() -> None:
    assert [check_boolean(word) for word in ("True", "YES", "on", "1")] == [True] * 4
    assert [check_boolean(word) for word in ("False", "No", "off", "0")] == [False] * 4


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("localhost:8080", "localhost:8080"),
        ("LOCALHOST:080", "localhost:80"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[0:0::1]:80", "[::1]:80"),
        (":8080", ":8080"),
        ("my_service.internal.:80", "my_service.internal.:80"),
        ("unix:/run/pyrox.sock", "unix:/run/pyrox.sock"),
        ("unix:/run//x/../pyrox.sock", "unix:/run/pyrox.sock"),
        ("fd://3", "fd://3"),
    ],
)
def test_binds_are_brought_into_one_form_that_gunicorn_takes(text: str, bind: str) -> None:
    assert parse_bind(text) == bind
    assert parse_address(bind)


def test_a_socket_path_may_be_as_long_as_the_system_allows() -> None:
    assert parse_bind("unix:/" + "x" * 106)
    with pytest.raises(ValueError, match="longer than the 107 bytes"):
        parse_bind("unix:/" + "x" * 107)


def test_port_0_may_be_listened_on_many_times() -> None:
    assert check_binds("127.0.0.1:0, 127.0.0.1:0") == ("127.0.0.1:0", "127.0.0.1:0")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:80", "http://localhost:80"),
        ("HTTPS://Example.ORG/", "https://example.org"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[2001:db8::1]", "http://[2001:db8::1]"),
        ("http://10.0.0.1", "http://10.0.0.1"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("demo", "demo"),
    ],
)
def test_urls_of_servers(text: str, url: str) -> None:
    assert parse_url(text) == url


@given(st.text(max_size=40) | st.from_regex(r"(https?://)?[\[\]:@./a-z0-9]{0,20}", fullmatch=True))
def test_nothing_escapes_but_value_errors_and_accepted_forms_are_final(text: str) -> None:
    for parse in (parse_bind, parse_url, parse_size, parse_seconds):
        try:
            parsed = parse(text)
        except ValueError as error:
            assert str(error)
        else:
            assert not isinstance(parsed, str) or parse(parsed) == parsed
