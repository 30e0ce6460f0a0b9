"""What a client can take: Accept, Accept-Language and Accept-Encoding (RFC 9110 section 12).

All of them are lists of things with weights, so one parser reads them; what it means that a thing matches
differs, and is one function each. The fields are the client's to fill: however they are filled, reading one
takes time in proportion to its length, and choosing no more than 64 items for each thing on offer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from pyrox.http.headers import Field, Headers, is_token, make_field

T = TypeVar("T")

IDENTITY = "identity"

# Browsers send a dozen. What comes later cannot be meant, and is not looked at.
_MOST_ITEMS = 64
_MOST_TEXT = 1 << 13
_WORTH_REMEMBERING = 256  # there are few browsers, and each says the same every time
_LONGEST_RANGE = 64  # RFC 5646 4.4.1 finds 35 enough for a language tag

_is_weight = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch  # RFC 9110 12.4.2
# A separator outside of quotes: every step takes a run that the next cannot start with, so none backtracks.
_unquoted = {mark: re.compile(rf'(?:[^{mark}"]++|"(?:[^"\\]++|\\.?)*+(?:"|$))*+', re.DOTALL) for mark in ",;"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One item of such a field: in lower case, its ``weight`` (0.0 means "not that") apart."""

    name: str
    parameters: tuple[str, ...] = ()  # "name=value", each without its quotes
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type that is on offer, in lower case: ``application/json``, with its parameters."""

    name: str
    parameters: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> MediaType:
        """Read ``type/subtype;name=value``; raises ``ValueError`` for anything else, wildcards included."""
        name, *parameters = (part.strip() for part in _split(text.lower(), ";"))
        main, slash, sub = name.partition("/")
        if not slash or not is_token(main) or not is_token(sub) or "*" in name:
            raise ValueError(f"{text!r} is no media type; write it like application/json")
        return cls(name, frozenset(map(_unquote, filter(None, parameters))))


def field_value(headers: Headers, name: str) -> str | None:
    """Return all lines called ``name`` as one list; None when there is none."""
    lines = headers.get_all(name)
    return ", ".join(lines) if lines else None


def list_items(value: str) -> list[str]:
    """Return the items of a list without quotes in it (RFC 9110 5.6.1), such as that of Vary."""
    return [name for item in value.split(",") if (name := item.strip())]


def remembering(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return ``read``, which knows what it has made of a field's value before, unless that was long."""
    known = lru_cache(maxsize=1024)(read)
    return lambda value: known(value) if len(value) <= _WORTH_REMEMBERING else read(value)


def parse_choices(value: str | None) -> tuple[Choice, ...]:
    """Take a field's value apart, in its order; None and ``""`` have no items.

    A malformed weight counts as 0. An item may have quotes with separators in them.
    """
    return _choices(value or "")


def _parse(text: str) -> tuple[Choice, ...]:
    items = _split(text[:_MOST_TEXT].lower(), ",")
    return tuple(_choice(item) for item in items[:_MOST_ITEMS] if item and not item.isspace())


_choices = remembering(_parse)


def _choice(item: str) -> Choice:
    name, *rest = (part.strip() for part in _split(item, ";"))
    weight, parameters = 1.0, []
    for part in rest:
        if part[:2] == "q=":
            weight = float(part[2:]) if _is_weight(part[2:]) else 0.0
        elif part:
            parameters.append(_unquote(part))
    return Choice(name, tuple(parameters), weight)


def _split(text: str, mark: str) -> list[str]:
    if '"' not in text:
        return text.split(mark)
    parts, end = [], -1
    while end < len(text):
        found = _unquoted[mark].match(text, end + 1)
        assert found is not None  # it matches the empty text
        parts.append(found[0])
        end = found.end()
    return parts


def _unquote(parameter: str) -> str:
    name, _, value = (part.strip() for part in parameter.partition("="))
    if value[:1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:].removesuffix('"'))
    return f"{name}={value}"


def media_weight(accepted: Sequence[Choice], media: MediaType) -> float:
    """Return how much ``media`` is wanted, 0.0 to 1.0; 1.0 when ``accepted`` is empty: anything will do.

    Of the ranges that match the most specific one counts (RFC 9110 12.5.1).
    """
    if not accepted:
        return 1.0
    best, weight = 0, 0.0
    for choice in accepted:
        specificity = _specificity(choice, media)
        if specificity > best:
            best, weight = specificity, choice.weight
    return weight


def _specificity(choice: Choice, media: MediaType) -> int:
    """0: no match; 1 for ``*/*``, 2 for ``type/*``, from 3 on for the type itself, 1 more a parameter."""
    if choice.name == media.name:
        return 3 + len(choice.parameters) if media.parameters.issuperset(choice.parameters) else 0
    if choice.name == "*/*":
        return 1
    return 2 if choice.name[-2:] == "/*" and media.name.startswith(choice.name[:-1]) else 0


def choose_media(accepted: Sequence[Choice], offered: Sequence[MediaType]) -> int | None:
    """Return the place in ``offered`` of what is wanted most, the first of equals; None: nothing of it."""
    best, weight = None, 0.0
    for place, media in enumerate(offered):
        wanted = media_weight(accepted, media)
        if wanted > weight:
            best, weight = place, wanted
    return best


def choose_language(accepted: Sequence[Choice], offered: Sequence[str]) -> str | None:
    """Look up the tag of ``offered`` that fits best (RFC 4647 3.4); None when none does.

    Each range is shortened until a tag is found: ``zh-Hant-CN`` finds ``zh-Hant``, then ``zh``. ``*`` finds
    nothing, it is what the default is for. A range of weight 0 excludes its tag.
    """
    tags = {tag.lower(): tag for tag in reversed(offered)}
    for choice in accepted:
        if choice.weight == 0.0:
            tags.pop(choice.name, None)
    for choice in sorted(accepted, key=_by_weight):
        if choice.weight and len(choice.name) <= _LONGEST_RANGE:
            for shorter in _shortened(choice.name):
                if shorter in tags:
                    return tags[shorter]
    return None


def _by_weight(choice: Choice) -> float:
    return -choice.weight


def _shortened(language: str) -> Iterable[str]:
    parts = language.split("-")
    while parts:
        yield "-".join(parts)
        del parts[-1]
        # "single letter or digit subtags are also removed"
        if parts and len(parts[-1]) == 1:
            del parts[-1]


def choose_coding(accepted: Sequence[Choice], offered: Sequence[str]) -> str:
    """Return the content coding of ``offered`` that is wanted most, the first of equals.

    ``"identity"`` when none is wanted, and also when the client excludes that too: an uncoded body is the
    one thing that it can still read. A client that sends no Accept-Encoding gets it as well: the standard
    would allow any coding, but who does not ask can seldom decode.
    """
    # "x-gzip" is "gzip" (RFC 9110 8.4.1.3).
    weights = {choice.name.removeprefix("x-"): choice.weight for choice in reversed(accepted)}
    anything = weights.get("*", 0.0)
    best, weight = IDENTITY, 0.0
    for coding in offered:
        wanted = weights.get(coding, anything)
        if wanted > weight:
            best, weight = coding, wanted
    return best if weight >= weights.get(IDENTITY, 0.0) else IDENTITY


def add_vary(headers: Headers, *names: str) -> None:
    """Say that the response depends on these request fields too (RFC 9110 12.5.5)."""
    if not names:
        return
    present = [field[2].decode("latin-1") for field in headers.fields if field[0] == b"vary"]
    if not present:
        headers.fields.append(_vary_field(names))
        return
    listed = list_items(",".join(present))
    known = {name.lower() for name in listed}
    missing = [name for name in names if name.lower() not in known]
    if missing and "*" not in known:
        headers["Vary"] = ", ".join([*listed, *missing])


@lru_cache(maxsize=64)
def _vary_field(names: tuple[str, ...]) -> Field:
    return make_field("Vary", ", ".join(dict.fromkeys(names)))
