"""A head that is still arriving: refused as early as can be, and looked at cheaply each time."""

from __future__ import annotations

import re
from itertools import product
from time import process_time

import pytest

from pyrox.errors import ClientError
from pyrox.http.head import HeadLimits, check_partial_request_head

LIMITS = HeadLimits()
_bare = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)").search  # the rule, as one would write it down


@pytest.mark.parametrize("length", range(7))
def test_line_end_that_stands_alone_is_refused_and_nothing_else_is(length: int) -> None:
    for letters in product(b"\r\na", repeat=length):
        data = b"GET" + bytes(letters)
        if _bare(data) is None:
            check_partial_request_head(data, LIMITS)
        else:
            with pytest.raises(ClientError):
                check_partial_request_head(data, LIMITS)


def test_head_that_comes_byte_by_byte_is_not_searched_by_a_pattern_for_each_byte() -> None:
    """A client that sends 32 KiB in single bytes had 16 seconds of a worker's time for it."""
    head = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000

    def cost(check: object) -> float:
        started = process_time()
        for end in range(len(head) - 500, len(head)):
            check(head[:end])  # type: ignore[operator]
        return process_time() - started

    assert cost(lambda data: check_partial_request_head(data, LIMITS)) < cost(_bare) / 3
