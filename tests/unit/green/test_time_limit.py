"""Blocks that take too long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import gevent
import pytest

from pyrox.green.time_limit import limit_time
from pyrox.time_limit import TimeIsUp, time_limit, use_limiter


@pytest.fixture
def limits() -> Iterator[None]:
    use_limiter(limit_time)
    yield
    use_limiter(None)


def test_without_an_engine_nothing_is_limited() -> None:
    with time_limit(0.0):
        gevent.sleep(0.01)


def test_block_that_takes_too_long_is_ended_whatever_it_catches(limits: None) -> None:
    is_caught = is_closed = False
    with pytest.raises(TimeIsUp, match=r"not at its end within 0\.01 s"), time_limit(0.01):
        try:
            gevent.sleep(3600)
        except Exception:
            is_caught = True
        finally:
            is_closed = True
    assert (is_caught, is_closed) == (False, True)


def test_no_time_at_all_is_too_little(limits: None) -> None:
    with pytest.raises(TimeIsUp), time_limit(-1.0):
        gevent.sleep(3600)


def test_block_that_ends_in_time_is_left_alone_and_so_is_what_follows(limits: None) -> None:
    with time_limit(0.01):
        pass
    gevent.sleep(0.02)


def test_what_others_throw_passes_by(limits: None) -> None:
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.01) as outer, time_limit(3600):
        gevent.sleep(3600)
    assert caught.value is outer
    with pytest.raises(KeyError), time_limit(3600):
        raise KeyError


def test_of_two_limits_the_shorter_one_says_so_where_it_was_set(limits: None) -> None:
    with time_limit(3600):
        with suppress(TimeIsUp), time_limit(0.01):
            gevent.sleep(3600)
        gevent.sleep(0)
    with pytest.raises(TimeIsUp, match=r"0\.01 s"), time_limit(0.01), time_limit(3600):
        gevent.sleep(3600)
