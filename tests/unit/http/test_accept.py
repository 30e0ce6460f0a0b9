"""Accept, Accept-Language, Accept-Encoding: read, weighed, and hostile."""

from __future__ import annotations

import time

import pytest

from pyrox.http.accept import (
    Choice,
    MediaType,
    add_vary,
    choose_coding,
    choose_language,
    choose_media,
    media_weight,
    parse_choices,
    remembering,
)
from pyrox.http.headers import Headers


def media(*names: str) -> list[MediaType]:
    return [MediaType.parse(name) for name in names]


@pytest.mark.parametrize(
    ("value", "choices"),
    [
        (None, []),
        ("", []),
        (" , ,", []),
        ("text/html", [Choice("text/html")]),
        ("Text/HTML ; Q=0.5", [Choice("text/html", (), 0.5)]),
        ("a/b;level=1;q=0.125, c/d", [Choice("a/b", ("level=1",), 0.125), Choice("c/d")]),
        ('a/b;p="x,y;q=0", c/d', [Choice("a/b", ("p=x,y;q=0",)), Choice("c/d")]),
        ('a/b;p="x\\",y", c/d', [Choice("a/b", ('p=x",y',)), Choice("c/d")]),
        ('a/b;p="open, c/d', [Choice("a/b", ("p=open, c/d",))]),
    ],
)
def test_items_with_their_parameters_and_weights(value: str | None, choices: list[Choice]) -> None:
    assert list(parse_choices(value)) == choices


@pytest.mark.parametrize("weight", ["", "2", "-1", "1.5", "0.1234", "nan", "inf", "1e0", "0,5", ".5", "0x1"])
def test_malformed_weight_is_none(weight: str) -> None:
    assert parse_choices(f"a/b;q={weight}")[0].weight == 0.0


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("text/html;level=1", 1.0),
        ("text/html", 0.7),
        ("text/plain", 0.3),
        ("image/jpeg", 0.5),
        ("text/html;level=2", 0.4),
        ("text/html;level=3", 0.7),
    ],
)
def test_most_specific_range_counts_as_in_the_standard_s_example(name: str, weight: float) -> None:
    accept = "text/*;q=0.3, text/html;q=0.7, text/html;level=1, text/html;level=2;q=0.4, */*;q=0.5"
    assert media_weight(parse_choices(accept), MediaType.parse(name)) == weight


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, 0),
        ("*/*", 0),
        ("application/xml", 1),
        ("application/*;q=0.5, application/json;q=0.1", 1),
        ("application/json;q=0", None),
        ("*/*, application/json;q=0", 1),
        ("image/png", None),
        ("application", None),
        ("*", None),
    ],
)
def test_media_type_that_is_wanted_most(accept: str | None, chosen: int | None) -> None:
    assert choose_media(parse_choices(accept), media("application/json", "application/xml")) == chosen


@pytest.mark.parametrize("text", ["", "json", "*/*", "text/*", "a/b/c", "a b/c", "/", "text/", "a/b\x00"])
def test_what_is_no_media_type(text: str) -> None:
    with pytest.raises(ValueError, match="is no media type"):
        MediaType.parse(text)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, None),
        ("de", "de"),
        ("DE-ch", "de"),
        ("fr, de;q=0.5", "de"),
        ("de;q=0.5, en", "en"),
        ("zh-Hant-CN-x-private1-private2", "zh-Hant"),
        ("zh-Hans", "zh"),
        ("zh-a-foo", "zh"),
        ("*", None),
        ("*, de;q=0.1", "de"),
        ("en-GB, en;q=0, de;q=0.1", "de"),
        ("en;q=0", None),
        ("d", None),
    ],
)
def test_language_is_looked_up(accept: str | None, chosen: str | None) -> None:
    assert choose_language(parse_choices(accept), ["en", "de", "zh-Hant", "zh"]) == chosen


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, br", "br"),
        ("gzip, br;q=0.9", "gzip"),
        ("*", "zstd"),
        ("*, zstd;q=0", "br"),
        ("*;q=0", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("identity;q=0", "identity"),
        ("compress", "identity"),
    ],
)
def test_coding_that_is_wanted_most(accept: str | None, chosen: str) -> None:
    assert choose_coding(parse_choices(accept), ["zstd", "br", "gzip"]) == chosen


@pytest.mark.parametrize("text", ['a/b;p="x, y', 'a/b;p="x, y\\', 'a/b;p="x, \\"'])
def test_quotes_that_nobody_closes_go_to_the_end(text: str) -> None:
    assert [choice.name for choice in parse_choices(text)] == ["a/b"]


@pytest.mark.parametrize(
    "flood",
    [
        "a/b," * 8000,
        "a/b;" * 8000,
        '"' * 32000,
        '"\\' * 16000,
        "a" * 32000,
        "a-" * 16000,
        ", " * 16000,
        'a/b;p="' + "\\" * 32000,
        "text/html;" + "p=1;" * 8000,
        "*/*;q=0." + "0" * 32000,
    ],
)
def test_flood_is_read_in_no_time(flood: str) -> None:
    before = time.process_time()
    for _ in range(10):
        choices = parse_choices(flood)
        choose_media(choices, media("application/json", "text/html") * 10)
        choose_language(choices, ["en", "de"] * 10)
        choose_coding(choices, ["zstd", "br", "gzip"])
    assert len(choices) <= 64
    assert time.process_time() - before < 2  # 0.05 s; what is quadratic takes minutes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], "Accept, Origin"),
        ([("Vary", "Cookie")], "Cookie, Accept, Origin"),
        ([("Vary", "origin"), ("Vary", "Cookie")], "origin, Cookie, Accept"),
        ([("Vary", "*")], "*"),
        ([("Vary", "Cookie, *")], "Cookie, *"),
        ([("Vary", " ,")], "Accept, Origin"),
        ([("Vary", "origin, ACCEPT")], "origin, ACCEPT"),
    ],
)
def test_vary_is_extended(before: list[tuple[str, str]], after: str) -> None:
    headers = Headers(before)
    add_vary(headers, "Accept", "Origin")
    assert headers.get_all("vary") == [after]


def test_only_what_is_short_is_remembered() -> None:
    read: list[str] = []
    ask = remembering(lambda value: read.append(value) or len(value))
    long = "gzip," + "x" * 300
    assert [ask("gzip"), ask("gzip"), ask(long), ask(long)] == [4, 4, 305, 305]
    assert read == ["gzip", long, long]
