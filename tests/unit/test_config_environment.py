"""References to environment variables, through the front door."""

from __future__ import annotations

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROX_TEST_HOST", "a.test")
    monkeypatch.setenv("PYROX_TEST_EMPTY", "")
    monkeypatch.delenv("PYROX_TEST_UNSET", raising=False)


def option(value: str) -> object:
    """Read ``value`` as a middleware's option, which is kept as it is."""
    return parse_settings(f"[middleware]\n[[a]]\nkey = {value}\n").middleware.sections["a"]["key"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("${PYROX_TEST_HOST}", "a.test"),
        ("x${PYROX_TEST_HOST}y${PYROX_TEST_HOST}", "xa.testya.test"),
        ("${PYROX_TEST_HOST:-b.test}", "a.test"),
        ("${PYROX_TEST_UNSET:-b.test}", "b.test"),
        ("${PYROX_TEST_EMPTY:-b.test}", "b.test"),
        ("${PYROX_TEST_UNSET:-}", ""),
        ("${PYROX_TEST_EMPTY}", ""),
        ("a, ${PYROX_TEST_HOST}", ["a", "a.test"]),
        ("'${PYROX_TEST_HOST}' # comment", "a.test"),
        ("$${PYROX_TEST_HOST}", "${PYROX_TEST_HOST}"),
        ("$PYROX_TEST_HOST $$ $", "$PYROX_TEST_HOST $$ $"),
        ("${PYROX_TEST_UNSET:-a, b # c \"d\" 'e'}", "a, b # c \"d\" 'e'"),
    ],
)
def test_references_in_values(written: str, read: object) -> None:
    assert option(written) == read


@pytest.mark.parametrize(
    "content", ["a, b", "x # y", '"', "'", "'''", "${PYROX_TEST_HOST}", "a\nb = c", "[d]"]
)
def test_a_variable_is_text_whatever_it_contains(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROX_TEST_ODD", content)
    assert option("${PYROX_TEST_ODD}") == content


def test_a_variable_may_hold_a_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROX_TEST_HOSTS", "http://a:1, http://b:2")
    settings = parse_settings("[routing]\nupstream_hosts = http://c, ${PYROX_TEST_HOSTS}")
    assert settings.routing.upstream_hosts == ("http://c", "http://a:1", "http://b:2")


def test_names_and_comments_are_not_substituted() -> None:
    sections = parse_settings("# ${PYROX_TEST_UNSET}\n[middleware]\n[[a]]\n'${PYROX_TEST_HOST}' = 1")
    assert sections.middleware.sections == {"a": {"${PYROX_TEST_HOST}": "1"}}


def test_messages_show_what_stood_in_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings("[core]\n${PYROX_TEST_UNSET}", "p.ini")
    assert caught.value.problems == ["p.ini:2: '${PYROX_TEST_UNSET}' is neither [section] nor key = value"]
