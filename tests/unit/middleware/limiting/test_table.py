"""Keys and their states in bounded memory."""

from __future__ import annotations

import hashlib

import pytest

from pyrox.middleware.limiting.table import Table
from pyrox.shared_memory import forget_own_memory


@pytest.fixture(autouse=True)
def own_memory() -> None:
    forget_own_memory()


def key(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def test_keys_keep_their_states_apart_even_in_one_bucket() -> None:
    table = Table("t", 16)  # a single bucket
    keys = [b"same" + bytes([n]) * 12 for n in range(1, 33)]
    for n, each in enumerate(keys):
        table.add(each, 0.0, 100.0, n, n + 1, n + 2)
    for n, each in enumerate(keys):
        assert table.read(table.find(each)) == (100.0, n, n + 1, n + 2)
    assert table.find(b"same" + bytes([33]) * 12) == -1


def test_key_that_lies_across_two_records_is_not_found() -> None:
    table = Table("t", 16)
    table.add(key(1), 0.0, 100.0, 1.0, 2.0, 3.0)
    found = table.find(key(1))
    across = bytes(table._memory[found * 8 + 8 : found * 8 + 24])
    other = across[:4]  # one bucket: any first bytes lead to it
    assert other
    assert table.find(across) == -1


def test_new_key_takes_the_place_of_one_whose_time_is_over() -> None:
    table = Table("t", 16)
    for n in range(32):
        table.add(key(n), 0.0, 10.0 + n, 0, 0, 0)
    table.add(key(99), 10.5, 50.0, 1, 2, 3)
    assert table.find(key(0)) == -1
    assert all(table.find(key(n)) >= 0 for n in (*range(1, 32), 99))
    assert table._report_at == 0.0  # nothing was put out before its time


def test_full_bucket_puts_out_the_key_that_is_over_first_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = Table("some table", 16)
    for n in range(32):
        table.add(key(n), 0.0, 100.0 - n, 0, 0, 0)
    for n in range(40, 45):
        table.add(key(n), 0.0, 200.0, 0, 0, 0)
    assert [n for n in range(32) if table.find(key(n)) < 0] == [27, 28, 29, 30, 31]
    assert [record.message for record in caplog.records] == [
        "some table: 1 keys put out before their time, for want of room; raise max_keys (16)"
    ]


def test_as_many_keys_as_wanted_fit_but_for_a_few_in_a_thousand() -> None:
    table = Table("t", 4096)
    for n in range(4096):
        table.add(key(n), 0.0, 1.0 + n, n, 0, 0)
    kept = sum(table.find(key(n)) >= 0 for n in range(4096))
    assert kept >= 4090


def test_removed_and_cleared_keys_are_gone() -> None:
    table = Table("t", 64)
    for n in range(10):
        table.add(key(n), 0.0, 100.0, n, 0, 0)
    table.remove(key(3))
    table.remove(key(77))
    assert [table.find(key(n)) >= 0 for n in range(10)] == [n != 3 for n in range(10)]
    table.clear()
    assert all(table.find(key(n)) < 0 for n in range(10))
