"""What is remembered of servers that were found, and what is not."""

from __future__ import annotations

import json
import zlib
from random import Random

import pytest

from pyrox.shared_memory import Area, forget_own_memory, shared_area
from pyrox.upstreams.notebook import Notebook, encode_found
from pyrox.upstreams.resolver import Found, parse_found

SIZE = 1 << 25
DAY = 24 * 3600.0
SERVERS = frozenset(
    map(parse_found, ["http://a:8000 weight=3", "https://10.0.0.1#users.internal backup", "unix:/run/x"])
)


@pytest.fixture(autouse=True)
def area() -> Area:
    forget_own_memory()
    return shared_area("of these tests", SIZE)


def some(count: int) -> frozenset[Found]:
    """Servers whose names cannot be compressed well."""
    random = Random(count)
    return frozenset(parse_found(f"http://s{random.randbytes(4).hex()}.test") for _ in range(count))


def test_what_one_has_noted_another_recalls_with_its_age(area: Area) -> None:
    Notebook(area).note("users http://a", encode_found(SERVERS), 100.0)
    assert Notebook(area).recall("users http://a", 142.0) == (SERVERS, 42.0)
    assert Notebook(area).recall("users http://b", 142.0) is None


def test_a_later_note_takes_the_place_of_an_earlier_one(area: Area) -> None:
    book = Notebook(area)
    book.note("s", encode_found(SERVERS), 100.0)
    book.note("s", encode_found(some(1)), 200.0)
    assert book.recall("s", 200.0) == (some(1), 0.0)


def test_what_is_older_than_three_days_is_not_believed(area: Area) -> None:
    book = Notebook(area)
    book.note("s", encode_found(SERVERS), 0.0)
    assert book.recall("s", 3 * DAY) is not None
    assert book.recall("s", 3 * DAY + 1) is None


def test_what_another_notes_while_one_looks_is_recalled(area: Area) -> None:
    book = Notebook(area)
    book.note("s", encode_found(SERVERS), 100.001)
    assert book.recall("s", 100.0) == (SERVERS, 0.0)


def test_thousands_of_servers_are_remembered_and_too_many_are_forgotten_rather_than_cut(area: Area) -> None:
    book = Notebook(area)
    book.note("s", encode_found(some(3000)), 0.0)
    assert book.recall("s", 0.0) == (some(3000), 0.0)
    book.note("s", encode_found(some(20_000)), 0.0)
    assert book.recall("s", 0.0) is None


def test_more_sources_than_pages_cost_the_oldest_notes_and_never_mix(area: Area) -> None:
    book = Notebook(area)
    for number in range(2000):
        book.note(f"source {number}", encode_found([parse_found(f"http://s{number}")]), float(number))
    kept = 0
    for number in range(2000):
        recalled = book.recall(f"source {number}", 2000.0)
        if recalled is not None:
            assert [one.server.host for one in recalled[0]] == [f"s{number}"]
            kept += 1
    assert kept > 256
    assert book.recall("source 1999", 2000.0) is not None


def test_what_was_not_written_to_its_end_counts_as_nothing(area: Area) -> None:
    book = Notebook(area)
    content = encode_found(SERVERS)
    for cut in range(len(content)):
        book.note("s", content[:cut] + bytes(len(content) - cut), 0.0)
        assert book.recall("s", 0.0) is None, cut


def test_what_another_version_has_written_counts_as_nothing(area: Area) -> None:
    book = Notebook(area)
    for value in ([], [["http://a"]], [["u", "http", "a", 80, None, "", 0, False]], {"a": 1}, 7, [7]):
        book.note("s", zlib.compress(json.dumps(value).encode()), 0.0)
        assert book.recall("s", 0.0) is None, value


def test_area_is_that_of_all_workers_unless_told_otherwise() -> None:
    Notebook().note("s", encode_found(SERVERS), 1.0)
    assert Notebook().recall("s", 1.0) == (SERVERS, 0.0)
    forget_own_memory()
    assert Notebook().recall("s", 1.0) is None
