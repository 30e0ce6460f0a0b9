"""JSON that readers may disagree about is refused."""

from __future__ import annotations

import pytest

from pyrox.http.strict_json import MOST_LEVELS, dump_json, json_digest, load_json


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}', {"a": [1, 2.5, None, True, "é"]}),
        (b"\xef\xbb\xbf{}", {}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\ud83d"', "\ud83d"),
        (b"12345678901234567890123", 12345678901234567890123),
        (b"[" * MOST_LEVELS + b"]" * MOST_LEVELS, None),
    ],
)
def test_what_everybody_reads_alike_is_read_and_written(data: bytes, value: object) -> None:
    loaded = load_json(data)
    assert value is None or loaded == value
    assert load_json(dump_json(loaded)) == loaded


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
        (b"{'a': 1}", "property name"),
        (b"[1,]", "Expecting value"),
        (b'{"a": 1, "b": 2, "a": 3}', "two members of the same name"),
        (b'{"x": {"a": 1, "\\u0061": 3}}', "two members of the same name"),
        (b"NaN", "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"1e400", "out of range"),
        (b"1" * 5000, "digits"),
        (b'"\xff"', "utf-8"),
        (b'"\xed\xa0\x80"', "utf-8"),
        ('{"a": 1}'.encode("utf-16"), "utf-8"),
        (b'"a\nb"', "control character"),
        (b"[" * (MOST_LEVELS + 1) + b"]" * (MOST_LEVELS + 1), "nested deeper than 128"),
        (b'{"a":' * (MOST_LEVELS + 1) + b"1" + b"}" * (MOST_LEVELS + 1), "nested deeper than 128"),
        (b"[" * 1_000_000, "nested deeper than 128"),
    ],
)
def test_what_readers_disagree_about_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_json(data)


def test_digest_tells_apart_what_is_written_differently() -> None:
    values = [1, 1.0, True, "1", None, [], {}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, -0.0, 0.0, 0, "\ud83d"]
    assert len({json_digest(value) for value in values}) == len(values)
    text = b'{"a": [1, 1.5, "text", null, {"a": "text"}]}'
    assert json_digest(load_json(text)) == json_digest(load_json(text))
    shared = ["text"]
    assert json_digest([shared, shared]) == json_digest([["text"], ["text"]])
    assert json_digest(object()) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: object()}, object()])
def test_what_is_no_json_is_not_written(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        dump_json(value)
