"""Users of what middleware and old filters do; only for a proxy with loadtests/pyrox.ini.

locust -f loadtests/locustfile.py,loadtests/features.py --headless -u 100 -t 1m
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import proof
from locust import task
from users import PATIENCE, Verifying, thinking, wrong_unless

# The SHA-256 of each stands in pyrox.ini.
KEYS = {"ada": "load-test-key-of-ada", "bob": "load-test-key-of-bob", "eve": "load-test-key-of-eve"}
QUOTA = 5  # requests in a second, for each caller


class KeyUser(Verifying):
    """Shows an API key, and is told upstream by its own name and no other; spoofed names get nowhere."""

    weight = 3

    @task(3)
    def show_key(self) -> None:
        name = random.choice(list(KEYS))
        fields = {"X-API-Key": KEYS[name], "X-Auth-User": "root"}
        self.ask("GET", "/private/headers", "GET /private", lambda c: fault_of_name(c, name), headers=fields)

    @task(1)
    def show_none(self) -> None:
        self.ask("GET", "/private/headers", "GET /private, no key", lambda c: wrong_unless(bool(c)), 401)


def fault_of_name(content: bytes | None, name: str) -> str:
    """Judge the header lines that upstream saw: one identity, and the right one."""
    names = [line for line in json.loads(content or b"[]") if line.lower().startswith("x-auth-user:")]
    return "" if [line.partition(": ")[2] for line in names] == [name] else f"{names} instead of {name}"


class LimitedUser(Verifying):
    """Asks more often than it may: what it may passes, the rest is 429 and says when to come again."""

    weight = 2
    wait_time = thinking(3, 6)  # the window is over by then

    @task
    def exceed(self) -> None:
        caller, started, statuses = proof.new_token(), time.monotonic(), []
        for _ in range(QUOTA + 3):
            with self.client.get(
                "/limited/status/200", name="GET /limited", headers={"X-Caller": caller}, catch_response=True
            ) as answer:
                statuses.append(answer.status_code)
                if answer.status_code == 429 and int(answer.headers.get("retry-after", "0")) >= 1:
                    answer.success()
                elif answer.status_code != 200:
                    answer.failure(f"{answer.status_code}: {answer.error or answer.text[:80]}")
        admitted = statuses.count(200)
        # One that takes longer than the window gets a part of the next one, too.
        is_right = admitted == QUOTA or (admitted > QUOTA and time.monotonic() - started > 0.9)
        self.environment.events.request.fire(
            request_type="limit",
            name=f"{QUOTA} of {QUOTA + 3} pass",
            response_time=(time.monotonic() - started) * 1000,
            response_length=0,
            exception=None if is_right else AssertionError(f"{admitted} passed"),
            context={},
        )


class LegacyUser(Verifying):
    """Goes through a filter of Pyrox 0.4, which changes the path and marks both messages."""

    weight = 3

    @task
    def pass_the_filter(self) -> None:
        token = proof.new_token()
        with self.client.post(
            f"/legacy/echo?{token}", data=token, name="POST /legacy", catch_response=True, timeout=PATIENCE
        ) as answer:
            fault = proof.fault_of_echo(answer.content, f"/echo?{token}", token)
            if not fault and answer.headers.get("x-legacy") != token:
                fault = f"marked {answer.headers.get('x-legacy')} instead of {token}"
            if not fault and f"X-Legacy: {token}" not in answer.json()["headers"]:
                fault = "the filter did not mark the request"
            if fault:
                answer.failure(fault)
