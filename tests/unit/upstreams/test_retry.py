"""What may be sent again, and after which pause."""

from __future__ import annotations

from random import Random

import pytest

from pyrox.http.message import Request, Response
from pyrox.upstreams.retry import RetryRules, may_send_again, retry_after

RULES = RetryRules(retries=5, failures=frozenset(("reset",)), pause=0.1, longest_pause=1.0)


def test_pauses_double_up_to_the_longest() -> None:
    assert [RULES.pause_before(retry, lambda: 1.0) for retry in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert RULES.pause_before(5000, lambda: 1.0) == 1.0


def test_pauses_are_anything_from_nothing_on() -> None:
    random = Random(1).random
    pauses = [RULES.pause_before(2, random) for _ in range(1000)]
    assert 0.0 <= min(pauses) < 0.01
    assert 0.19 < max(pauses) <= 0.2
    assert RULES.pause_before(3, lambda: 0.0) == 0.0


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (RULES, True),
        (RetryRules(retries=1, statuses=frozenset((503,))), True),
        (RetryRules(retries=0, failures=frozenset(("reset",))), False),
        (RetryRules(retries=1), False),
    ],
)
def test_rules_without_a_retry_or_a_reason_are_none(rules: RetryRules, says: bool) -> None:
    assert bool(rules) is says


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"])
def test_idempotent_methods_may_be_sent_again(method: str) -> None:
    assert may_send_again(Request(method, "/"))


@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE", "get", "CONNECT"])
def test_no_other_method_may(method: str) -> None:
    assert not may_send_again(Request(method, "/"))


def test_upgrade_may_not() -> None:
    request = Request("GET", "/")
    request.upgrade = "websocket"
    assert not may_send_again(request)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("-1", None),
        ("1.5", None),
        ("\xb2", None),
        ("9" * 5000, None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    response = Response(503)
    if value is not None:
        response.headers["Retry-After"] = value
    assert retry_after(response) == seconds
