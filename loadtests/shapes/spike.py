"""Spikes: a tenth of ``--users``, and three times all of them at once for a tenth of ``--run-time``."""

from __future__ import annotations

from locust import LoadTestShape

SPIKES = (0.2, 0.5, 0.8)  # where in the run they begin
LENGTH = 0.1


class Spike(LoadTestShape):
    """Shows how it takes a crowd, and how it recovers; defaults: 500 users, 120 s."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options
        users, seconds = options.num_users or 500, options.run_time or 120
        at = self.get_run_time() / seconds
        if at > 1:
            return None
        is_spike = any(start <= at < start + LENGTH for start in SPIKES)
        return (users if is_spike else max(1, users // 10)), users
