"""Patterns of paths, and the spellings that must not lead past them."""

from __future__ import annotations

import sys
import time

import pytest

from pyrox.middleware.path_patterns import PathPatterns, parse_methods
from pyrox.routing.regex import compile_regex


def fits(pattern: str, path: str, ignore_case: bool = False) -> bool:
    """Whether the path fits in all of its readings."""
    return PathPatterns([pattern], ignore_case).find(path) == (0,)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("/", ["/"], ["/a", "//a"]),
        (
            "/orders",
            ["/orders", "/orders/", "/%6Frders"],
            ["/orders/1", "/ordersx", "/Orders", "/", "/orders//"],
        ),
        ("/orders/", ["/orders", "/orders/"], ["/orders/1"]),
        (
            "/orders/*",
            ["/orders/1", "/orders/1/", "/orders/a.b-c", "/orders/%20"],
            ["/orders", "/orders/", "/orders/1/2"],
        ),
        ("/v*/orders", ["/v1/orders", "/v10/orders/"], ["/v/orders", "/v1/2/orders"]),
        ("/*/x", ["/a/x"], ["//x", "/x", "/a/b/x"]),
        (
            "/admin/**",
            ["/admin", "/admin/", "/admin/a", "/admin/a/b/"],
            ["/adminx", "/", "/Admin", "/a/admin"],
        ),
        ("/**", ["/", "/a", "/a/b/", "//a", "/.."], ["*"]),
        ("*", ["*"], ["/", "/a"]),
        ("/a+b.c(d)", ["/a+b.c(d)"], ["/aab.c(d)", "/a+bxc(d)"]),
        ("/caf%C3%A9", ["/caf%c3%a9"], ["/cafe"]),
        ("/%61", ["/a", "/%61"], ["/%2561"]),
        ("~ /v[0-9]+/.*", ["/v1/x", "/v22/x/"], ["/x/v1/x", "/v/x", "/v1"]),
        ("~/a|/b", ["/a", "/b", "/a/"], ["/ab", "/a/b", "/x/b"]),
    ],
)
def test_pattern_is_for_the_whole_path(pattern: str, good: list[str], bad: list[str]) -> None:
    assert [path for path in good if not fits(pattern, path)] == []
    assert [path for path in bad if PathPatterns([pattern]).find(path) == (0,)] == []


@pytest.mark.parametrize(
    "path",
    [
        "//admin",
        "/./admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2Fadmin",
        "/public%2F..%2Fadmin",
        "/public/.%2e/admin",
        "/admin;x",
        "/;x/admin",
        "/public/..;/admin",
        "/public\\..\\admin",
        "/public%5C..%5Cadmin",
        "/%61dmin",
        "/admin%2Fx",
        "/admin%00.png",
        "/admin%3Fx",
        "/admin%23",
        "/admin/%2e",
    ],
)
def test_no_spelling_leads_past_a_pattern(path: str) -> None:
    """In one of its readings, each of these is below /admin."""
    found = PathPatterns(["/admin/**", "/**"]).find(path)
    assert found is None or 0 in found


def test_first_pattern_counts() -> None:
    patterns = PathPatterns(["/a/b", "/a/*", "/**"])
    assert [patterns.find(path) for path in ("/a/b", "/a/c", "/a", "*")] == [(0,), (1,), (2,), (None,)]
    assert patterns.find("/a//b") == (2, 0)
    assert patterns.find("/a/../x/%2e/;y/%2F/\\%00") is None


def test_case_is_ignored_where_it_is_wanted() -> None:
    for pattern in ("/Admin/**", "~ /Admin(/.*)?"):
        assert fits(pattern, "/aDMIN/X", ignore_case=True)
        assert not fits(pattern, "/aDMIN/X")
    assert fits("/caf%C3%A9", "/CAF%c3%A9", ignore_case=True)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyrox.middleware.path_patterns._MAX_REMEMBERED", 3)
    patterns = PathPatterns(["/**"])
    for number in range(10):
        assert patterns.find(f"/{number}") == (0,)
        assert len(patterns._known) <= 3
    patterns.find("/" + "x" * 300)
    assert max(map(len, patterns._known)) < 300


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "is no path pattern"),
        ("admin", "is no path pattern"),
        ("/a b", "is no path pattern"),
        ("/a?b", "is no path pattern"),
        ("/a/**/b", "more than one star in a segment"),
        ("/a**", "more than one star in a segment"),
        ("/*a*", "more than one star in a segment"),
        ("~ /a(", r"^'/a\(' is no regular expression"),
        ("~ /a)|(?:.*", "is no regular expression"),  # or it would hold for more than whole paths
        (r"~ (a)\1", "RE2 has no back-references"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PathPatterns([pattern])


def test_expression_without_re2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    compile_regex.cache_clear()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"pip install 'pyrox\[regex\]'"):
        PathPatterns(["~ /never/seen/before"])
    assert fits("/a/*", "/a/b")


@pytest.mark.parametrize("pattern", ["/" + "/".join(["a*a"] * 8), "/*/*/*/*/*/*/*/x", "~ (/a+)+x"])
def test_hostile_path_takes_no_time(pattern: str) -> None:
    patterns = PathPatterns([pattern])
    started = time.process_time()
    for path in ("/" + "a" * 8000, "/a" * 4000, "/" + "/".join(["a" * 900] * 8) + "b"):
        patterns.find(path)
    assert time.process_time() - started < 5.0


def test_methods_are_written_in_upper_case() -> None:
    assert parse_methods("GET|POST | PURGE") == {"GET", "POST", "PURGE"}
    assert parse_methods("*") is None
    for text in ("get", "GET,POST", "GET|", ""):
        with pytest.raises(ValueError, match="is no method; write them as"):
            parse_methods(text)
