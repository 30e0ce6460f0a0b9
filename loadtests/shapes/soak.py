"""Soak: ``--users`` for ``--run-time``, waxing and waning as a day does, ten times."""

from __future__ import annotations

from math import cos, pi

from locust import LoadTestShape

DAYS = 10


class Soak(LoadTestShape):
    """Between a fifth of the users and all of them; defaults: 200 users, 1800 s."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options
        users, seconds = options.num_users or 200, options.run_time or 1800
        at = self.get_run_time() / seconds
        if at > 1:
            return None
        share = 0.6 - 0.4 * cos(2 * pi * DAYS * at)
        return max(1, round(users * share)), users / 10
