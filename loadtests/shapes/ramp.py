"""Ramp: from nobody to ``--users`` in half of ``--run-time``, and stay."""

from __future__ import annotations

from locust import LoadTestShape


class Ramp(LoadTestShape):
    """Grows evenly; defaults: 200 users, 120 s."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options
        users, seconds = options.num_users or 200, options.run_time or 120
        elapsed = self.get_run_time()
        if elapsed > seconds:
            return None
        return max(1, round(users * min(1.0, elapsed / (seconds / 2)))), users
