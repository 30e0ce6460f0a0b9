"""Replacing in text that streams by: the same wherever it is cut, in linear time, whatever the bytes."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.middleware.replacing import LiteralRule, RegexRule, Replacer, Rule, replace_all


def in_pieces(rules: list[Rule], pieces: list[str]) -> str:
    replacer = Replacer(rules)
    return "".join([replacer.feed(piece) for piece in pieces]) + replacer.feed("", final=True)


RULES = {
    "literal": [LiteralRule("aab", "<é>")],
    "literals": [LiteralRule("é", "ee"), LiteralRule("eea", ""), LiteralRule("a", "aa")],
    "class": [RegexRule(r"[ab]{2,3}", r"<\0>", 4)],
    "greedy": [RegexRule(r"a.*b", r"[\0]", 5)],
    "lazy": [RegexRule(r"a(.*?)b", r"\1\g<1>\\", 5)],
    "edges": [RegexRule(r"(?m)^é|\ba\b|b$", "#", 4)],
    "mixed": [RegexRule(r"é+", "b", 4), LiteralRule("ab", "é")],
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@given(text=st.text("aabbé \n\udcff", max_size=60), data=st.data())
def test_cuts_do_not_matter(rules: list[Rule], text: str, data: st.DataObject) -> None:
    whole = replace_all(rules, text)
    assert in_pieces(rules, list(text)) == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert in_pieces(rules, pieces) == whole


@given(text=st.text("ab \n", max_size=60))
def test_matches_within_the_bound_are_those_of_the_whole_text(text: str) -> None:
    for pattern in (r"a{1,3}b?", r"(?m)^a|b$", r"\bab\b", "abba|ab"):
        assert replace_all([RegexRule(pattern, r"<\0>", 8)], text) == re.sub(pattern, r"<\g<0>>", text)
    assert replace_all([LiteralRule("ab", "x")], text) == text.replace("ab", "x")


def test_literal_holds_back_nothing_but_its_own_beginning() -> None:
    replacer = Replacer([LiteralRule("secret", "***")])
    assert [replacer.feed(piece) for piece in ("data: x\n\n", "se", "t", "sec", "ret.")] == [
        "data: x\n\n",
        "",
        "set",
        "",
        "***.",
    ]


def test_regex_holds_back_twice_its_longest_match() -> None:
    replacer = Replacer([RegexRule("x", "y", 10)])
    assert len(replacer.feed("a" * 1000)) >= 1000 - 30


def test_bytes_that_were_no_text_pass_and_never_match() -> None:
    rules: list[Rule] = [RegexRule(r"[^x]", "", 4), LiteralRule("b", "")]
    assert in_pieces(rules, list("a\udcc3\udca9b\udc80")) == replace_all(rules, "a\udcc3\udca9b\udc80")
    assert replace_all([LiteralRule("b", "c")], "\udcffb\udce2\udc82") == "\udcffc\udce2\udc82"


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*b", r"a.*z", r"(.*a){9}", r"a(.*z)?"])
def test_time_is_linear_whatever_the_text(pattern: str) -> None:
    text = "a" * 100_000
    result = in_pieces([RegexRule(pattern, "", 64)], [text[:50_000], text[50_000:]])  # or pytest's timeout
    assert len(result) <= len(text)


def test_large_texts_are_cut_where_the_network_cuts_them() -> None:
    noise = random.Random(1)
    text = "".join(noise.choices(["word ", "4111-1111-1111-1111 ", "naïve\n", "日本"], k=20_000))
    rules: list[Rule] = [RegexRule(r"\b\d{4}(-\d{4}){3}\b", "CARD", 32), LiteralRule("naïve", "x")]
    pieces = []
    at = 0
    while at < len(text):
        size = noise.randrange(1, 9000)
        pieces.append(text[at : at + size])
        at += size
    expected = re.sub(r"(?a)\b\d{4}(-\d{4}){3}\b", "CARD", text).replace("naïve", "x")
    assert in_pieces(rules, pieces) == expected


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: LiteralRule("", "x"), "nothing to look for"),
        (lambda: RegexRule("(", "", 9), "no regular expression"),
        (lambda: RegexRule(r"(a)\1", "", 9), "no back-references"),
        (lambda: RegexRule("(a)", r"\2", 9), "group 2, and there are 1"),
    ],
)
def test_rule_that_cannot_work_is_an_error(make, reason: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=reason):
        make()
