"""Steps: ``--users`` in five equal steps, each for a fifth of ``--run-time``."""

from __future__ import annotations

from locust import LoadTestShape

STEPS = 5


class Step(LoadTestShape):
    """Shows at which step something gives way; defaults: 500 users, 150 s."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options
        users, seconds = options.num_users or 500, options.run_time or 150
        step = int(self.get_run_time() / (seconds / STEPS)) + 1
        if step > STEPS:
            return None
        return max(1, users * step // STEPS), users / STEPS
